"""Converting arrays of data to the shapes and dtypes of a model's inputs and targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span
from runtime.conversion import CannotConvert, check_numbers, convert
from runtime.data.assignment import Assigned, example_type
from runtime.data.categories import UNSEEN

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples


_SHOWN = 5  # classes that are listed in a message


def reshape(
    array: Array, assigned: Assigned, type: TensorType, examples: Examples, target: bool, span: Span | None
) -> Array:
    """Reshape an array that differs from the type in axes of size 1, or make one-hot rows of labels for a float target.

    NablacError if it does not fit.
    """
    name, wanted = assigned.name, type.shape[1:]
    texts = [column for column in assigned.columns if column in examples.classes]
    if target and type.dtype.is_float and are_labels(array, wanted):
        width = int(type.shape[-1])  # type: ignore[arg-type]  # as `are_labels` has it
        if texts and len(examples.classes[texts[0]]) > width:
            raise too_many_texts(texts[0], examples, f"the model's `{name}` is {type}", codes.E826, span)
        return _one_hot(array, examples, name, type, span)
    if texts and (type.dtype.is_float or len(assigned.columns) > 1):
        classes = examples.classes[texts[0]]
        several = f"{len(classes)} classes, as `{classes[-1]}`" if UNSEEN in classes else _several(classes)
        message = f"column `{texts[0]}` holds texts, {several}, and the model's `{name}` is {type}"
        kind = f"or `f32[batch, {len(classes)}]` of one-hot rows" if target else "for an `Embedding`"
        raise NablacError(Diagnostic(codes.E824, message, span, hint=f"declare `{texts[0]}: i64[batch]`, {kind}"))
    shape = array.shape[1:]
    if len(shape) != len(wanted) and all(isinstance(size, int) for size in wanted):
        if int(np.prod(shape)) == int(np.prod([int(size) for size in wanted])):  # type: ignore[arg-type]
            array = array.reshape(len(array), *wanted)
            shape = array.shape[1:]
    fits = len(shape) == len(wanted) and all(
        not isinstance(size, int) or size == actual for size, actual in zip(wanted, shape, strict=True)
    )
    if not fits:
        message = f"the model's `{name}`: expected {type}, got examples of {example_type(array)}"
        raise NablacError(Diagnostic(codes.E824, message, span))
    return array


def _several(classes: Sequence[str]) -> str:
    return f"{len(classes)} classes, as `{classes[0]}`" if len(classes) > 1 else f"one class, `{classes[0]}`"


def check_kind(assigned: Assigned, type: TensorType, examples: Examples, span: Span | None) -> None:
    """NablacError for an array of anything but real numbers and booleans."""
    try:
        check_numbers(assigned.array)
    except CannotConvert as error:
        raise _unfit(assigned, type, examples, error, span) from None


def cast(array: Array, assigned: Assigned, type: TensorType, examples: Examples, span: Span | None) -> Array:
    """Convert to the type's dtype; NablacError with the line of the first number that does not fit."""
    try:
        return np.ascontiguousarray(convert(array, type.dtype.numpy))
    except CannotConvert as error:
        raise _unfit(assigned, type, examples, error, span) from None


def _unfit(
    assigned: Assigned, type: TensorType, examples: Examples, error: CannotConvert, span: Span | None
) -> NablacError:
    """The error for a number that a dtype does not have, at its line in the file, else with its example's number."""
    message, columns = f"the model's `{assigned.name}` is {type}, and {error.reason}", assigned.columns
    if error.index is None:
        return NablacError(Diagnostic(codes.E824, message, span, hint=error.hint))
    row, *others = error.index
    if columns:
        column = columns[others[-1]] if others and others[-1] < len(columns) else columns[0]
        message = f"column `{column}`: {message}"
    location = examples.location(row)
    if location is not None:
        return NablacError(Diagnostic(codes.E824, message, place=location, hint=error.hint))
    return NablacError(Diagnostic(codes.E824, f"{message}: example {row}", span, hint=error.hint))


def too_many_texts(column: str, examples: Examples, model: str, code: codes.Code, span: Span | None) -> NablacError:
    """The error for more classes than the model has; it is about no single line of the file."""
    texts = [text or "(unseen)" for text in examples.classes[column]]
    shown = ", ".join(f"`{text}`" for text in texts[:_SHOWN]) + (", .." if len(texts) > _SHOWN else "")
    message = f"`{column}` holds {len(texts):,} classes, {shown}, and {model}"
    note = f"read from {examples.path}" if examples.path else None
    hint = f"the model needs {len(texts):,}, or the data fewer texts"
    return NablacError(Diagnostic(code, message, span, note=note, hint=hint))


def is_one_hot(array: Array) -> bool:
    """Whether each row has a single 1 and zeros otherwise: classes, which are not scaled."""
    if array.ndim < 2 or array.shape[-1] < 2:
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=-1) == 1).all())


def are_labels(array: Array, wanted: tuple[object, ...]) -> bool:
    """Whether an array holds integers for a target with a last axis of several classes."""
    if not wanted or not isinstance(wanted[-1], int) or wanted[-1] < 2:
        return False
    before = wanted[:-1]
    shape = array.shape[1:]
    rows = shape[:-1] if len(shape) == len(wanted) and shape[-1] == 1 else shape
    agree = len(rows) == len(before) and all(
        not isinstance(size, int) or size == actual for size, actual in zip(before, rows, strict=True)
    )
    return agree and (array.dtype.kind in "iub" or np.array_equal(array, np.round(array)))


def _one_hot(array: Array, examples: Examples, name: str, type: TensorType, span: Span | None) -> Array:
    labels, classes = array.reshape(array.shape[: type.rank - 1]), int(type.shape[-1])  # type: ignore[arg-type]
    wrong = np.argwhere((labels < 0) | (labels >= classes))
    if len(wrong):
        label, row = int(labels[tuple(wrong[0])]), wrong[0][0]
        message = f"`{name}` has {classes} classes, 0 to {classes - 1}, and the data holds a label {label}"
        location = examples.location(int(row))
        if location is None:
            raise NablacError(Diagnostic(codes.E826, f"{message}: example {row}", span))
        raise NablacError(Diagnostic(codes.E826, message, place=location))
    labels = labels.astype(np.int64)
    rows_of_ones: Array = np.eye(classes, dtype=np.float32)[labels]
    return rows_of_ones
