"""A data description carried out, and its arrays fitted to the inputs and targets of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import Stage
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span
from runtime.data.examples import PARTS, Context, Examples
from runtime.data.sources import SOURCES
from runtime.data.stages import STAGES

if TYPE_CHECKING:
    from compiler.types import Array


def load_examples(
    stages: Sequence[Stage], context: Context, inputs: Mapping[str, TensorType], targets: Mapping[str, TensorType]
) -> Examples:
    """The examples that a train block describes, by the names of the model's inputs and targets.

    NablacError for a file that is missing or broken, and for data that does not fit the model.
    """
    if not stages:
        raise NablacError(
            Diagnostic("E824", "the train block names no data", hint='as in `data csv("series.csv") -> window(...)`')
        )
    first, *rest = stages
    if first.name not in SOURCES:
        raise NablacError(Diagnostic("E824", f"`{first.name}` needs arrays given from Python", first.span))
    data: Any = SOURCES[first.name](first, context)
    for stage in rest:
        data = STAGES[stage.name](data, stage, context)
    if not isinstance(data, Examples):
        raise NablacError(
            Diagnostic(
                "E824",
                "this makes no examples yet",
                stages[-1].span,
                hint="cut a table with `columns(...)` or `window(...)`, a text with `characters(...)`",
            )
        )
    return fitted(data.split(context), inputs, targets, stages[-1].span)


def fitted(
    examples: Examples, inputs: Mapping[str, TensorType], targets: Mapping[str, TensorType], span: Span | None
) -> Examples:
    """`examples` by the model's own names and in its types: by name where one agrees, in order otherwise."""
    arrays: dict[str, Array] = {}
    scalings = {}
    for wanted, given in ((inputs, examples.inputs), (targets, examples.targets)):
        spare = [name for name in given or examples.arrays if name not in inputs and name not in targets]
        for name, type in wanted.items():
            source = name if name in examples.arrays else spare.pop(0) if spare else None
            if source is None:
                known = ", ".join(f"`{each}` {_shape(array)}" for each, array in examples.arrays.items())
                raise NablacError(
                    Diagnostic(
                        "E824",
                        f"the model needs `{name}`: {type}, and the data has {known}",
                        span,
                    )
                )
            arrays[name] = _cast(examples.arrays[source], name, type, span)
            if source in examples.scalings:
                scalings[name] = examples.scalings[source]
    if not len(examples.parts["training"]):
        raise NablacError(Diagnostic("E823", "no example is left to train on", span))
    return replace(examples, arrays=arrays, scalings=scalings, inputs=tuple(inputs), targets=tuple(targets))


def _cast(array: Array, name: str, type: TensorType, span: Span | None) -> Array:
    """In the type's dtype, and its rank where only axes of length 1 differ; NablacError where it does not fit."""
    wanted = type.shape[1:]
    shape = array.shape[1:]
    if len(shape) != len(wanted) and all(isinstance(size, int) for size in wanted):
        if int(np.prod(shape)) == int(np.prod([int(size) for size in wanted])):  # type: ignore[arg-type]
            array = array.reshape(len(array), *wanted)
            shape = array.shape[1:]
    fits = len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == found for size, found in zip(wanted, shape, strict=True)
    )
    if not fits:
        message = f"the model's `{name}` is {type}, and an example of the data is {_shape(array)}"
        raise NablacError(Diagnostic("E824", message, span))
    if array.dtype.kind == "f" and not type.dtype.is_float and not np.array_equal(array, np.round(array)):
        message = f"the model's `{name}` is {type}, and the data holds fractions"
        raise NablacError(Diagnostic("E824", message, span))
    return np.ascontiguousarray(array.astype(type.dtype.numpy, copy=False))


def _shape(array: Array) -> str:
    return f"{array.dtype}[{', '.join(map(str, array.shape[1:]))}]"


def counts(examples: Examples) -> dict[str, int]:
    """How many examples each part has."""
    return {name: len(examples.parts.get(name, ())) for name in PARTS}
