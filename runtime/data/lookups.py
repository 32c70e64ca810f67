"""Tokens and labels that a model has no entry for: found before the training, at their place in the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph, Value
from compiler.lookups import inputs_behind, lookups
from compiler.operators.source import Constant, Input, Source
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span
from runtime.data.examples import Examples

if TYPE_CHECKING:
    from compiler.types import Array


def check_lookups(graph: Graph, examples: Examples, span: Span | None) -> None:
    """Check all places that `graph`, a model with its loss, looks up: NablacError for the first one outside.

    They are computed as the model does, so that what it replaces, as a label `ignore`, does not count.
    """
    for lookup in lookups(graph, {}):
        names = [name for name in inputs_behind(lookup.places) if name in examples.arrays]
        if not lookup.stops or lookup.size <= 1 or len(names) != 1:
            continue
        (name,) = names
        array = examples.arrays[name]
        if not array.size or (array.min() >= 0 and array.max() < lookup.size):
            continue
        places = _computed(lookup.places, examples)
        if places is None:
            continue
        wrong = np.argwhere((places < 0) | (places >= lookup.size))
        if len(wrong):
            found, row = int(places[tuple(wrong[0])]), int(wrong[0][0])
            target = name in examples.targets
            raise (_no_class if target else _no_row)(
                name, found, row if len(places) == len(array) else None, lookup.size, examples, span
            )


def _computed(places: Value, examples: Examples) -> Array | None:
    """What a model makes of all examples; None where it is not of the data alone."""
    from runtime.numpy_executor import NumpyRunner

    graph = Graph({}, {"places": places})
    sources = [node for node in graph if isinstance(node.op, Source)]
    inputs = {node.op.label: node.result for node in sources if isinstance(node.op, Input)}
    if (
        any(not isinstance(node.op, (Input, Constant)) for node in sources)
        or not inputs.keys() <= examples.arrays.keys()
    ):
        return None
    made = NumpyRunner(Graph(inputs, graph.outputs), {}).run({name: examples.arrays[name] for name in inputs})
    return made["places"]


def _no_class(name: str, found: int, row: int | None, size: int, examples: Examples, span: Span | None) -> NablacError:
    columns = examples.columns.get(name, ())
    what = f"column `{columns[0]}`" if len(columns) == 1 and examples.lines is not None else f"`{name}`"
    message = f"{what} holds the label {found}, and the model tells the classes 0 to {size - 1} apart"
    hint = "labels count from 0" if found < 0 else f"the model needs {found + 1:,} classes, or the data others"
    if row is None or examples.lines is None:
        return NablacError(
            Diagnostic("E826", f"{message}" if row is None else f"{message}: example {row}", span, hint=hint)
        )
    return NablacError(Diagnostic("E826", message, place=f"{examples.place}:{examples.lines[row]}", hint=hint))


def _no_row(name: str, found: int, row: int | None, size: int, examples: Examples, span: Span | None) -> NablacError:
    largest = int(examples.arrays[name].max())
    if found < 0:
        return NablacError(Diagnostic("E851", f"`{name}` holds {found}, and rows of a table count from 0", span))
    message = f"`{name}` holds {largest:,}, and the model looks it up in a table of {size:,} rows"
    what = "vocabulary" if examples.tokenizer is not None else "table"
    needed = examples.tokenizer.size if examples.tokenizer is not None else largest + 1
    hint = f"the {what} needs {needed:,} rows, or the data fewer tokens: `tokens(most: {size})`"
    return NablacError(Diagnostic("E851", message, span, hint=hint))
