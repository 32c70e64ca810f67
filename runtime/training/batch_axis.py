"""Axis 0 of every input and target is the batch axis: it counts the examples, which batches split and shuffle."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.dims import Dim, symbols
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span


def check_example_axis(types: Mapping[str, TensorType], span: Span | None, whole: bool) -> None:
    """NablacError for types without a common batch axis; a `whole` part in one batch, in order, needs none."""
    hint = "axis 0 counts the examples; a value that they all share cannot be an input of a model that is trained"
    for name, type in types.items():
        if not type.rank:
            raise NablacError(
                Diagnostic(codes.E624, f"`{name}` is {type}, which has no axis of examples", span, hint=hint)
            )
    if whole or not types:
        return
    (first, kind), *others = types.items()
    for name, type in others:
        if type.shape[0] != kind.shape[0]:
            message = (
                f"axis 0 is `{kind.shape[0]}` in `{first}` and `{type.shape[0]}` in `{name}`: both must count examples"
            )
            raise NablacError(Diagnostic(codes.E624, message, span, hint=hint))
    examples = kind.shape[0]
    for name, type in types.items():
        for axis, size in enumerate(type.shape[1:], 1):
            if isinstance(size, Dim) and isinstance(examples, Dim) and symbols(size) & symbols(examples):
                message = f"`{name}` is {type}: `{examples}` counts the examples, but is also the size of axis {axis}"
                hint = (
                    "give each example axes of its own, as in `[batch, n, n]`; or train on all of them at once, "
                    "with `shuffle false`, no validation and `batch` set to their number"
                )
                raise NablacError(Diagnostic(codes.E624, message, span, hint=hint))
