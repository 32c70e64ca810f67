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
from runtime.data.scaling import Scaling
from runtime.data.stored_rows import StoredRows, blocks, change_rows

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples


_SHOWN = 5  # classes that are listed in a message
_AT_ONCE = 1 << 16  # numbers that are scaled together, as many as a processor's cache has room for


def reshape(
    array: Array | StoredRows,
    assigned: Assigned,
    type: TensorType,
    examples: Examples,
    target: bool,
    span: Span | None,
) -> Array | StoredRows:
    """Reshape an array that differs from the type in axes of size 1, or make one-hot rows of labels for a float target.

    NablacError if it does not fit.
    """
    name, target_shape = assigned.name, type.shape[1:]
    texts = [column for column in assigned.columns if column in examples.classes]
    if target and type.dtype.is_float and are_labels(array, target_shape):
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
    if len(shape) != len(target_shape) and all(isinstance(size, int) for size in target_shape):
        if int(np.prod(shape)) == int(np.prod([int(size) for size in target_shape])):  # type: ignore[arg-type]
            array = change_rows(array, lambda rows: rows.reshape(len(rows), *target_shape))
            shape = array.shape[1:]
    fits = len(shape) == len(target_shape) and all(
        not isinstance(size, int) or size == actual for size, actual in zip(target_shape, shape, strict=True)
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


def cast(
    array: Array | StoredRows,
    assigned: Assigned,
    type: TensorType,
    examples: Examples,
    span: Span | None,
    scaling: Scaling | None = None,
) -> Array | StoredRows:
    """Scale, and convert to the type's dtype; NablacError with the line of the first number that does not fit."""
    dtype = type.dtype.numpy
    try:
        if not isinstance(array, StoredRows):
            return np.ascontiguousarray(convert(array, dtype)) if scaling is None else _scaled(array, scaling, dtype)
        stored = array if scaling is None else change_rows(array, scaling.apply)
        if isinstance(stored, StoredRows) and not np.can_cast(stored.dtype, dtype):
            _check_convertible(stored, dtype)
        return change_rows(stored, lambda rows: np.ascontiguousarray(convert(rows, dtype)))
    except CannotConvert as error:
        raise _unfit(assigned, type, examples, error, span) from None


def _scaled(array: Array, scaling: Scaling, dtype: np.dtype[np.generic]) -> Array:
    """Scaled examples in a dtype, some at a time, so that no copy of all of them is in f64."""
    whole = np.empty(array.shape, dtype)
    step = max(1, _AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), step):
        rows = slice(start, start + step)
        try:
            whole[rows] = convert(scaling.apply(array[rows]), dtype)
        except CannotConvert as error:
            if error.index is not None:
                error.index = (start + error.index[0], *error.index[1:])
            raise
    return whole


def _check_convertible(array: StoredRows, dtype: np.dtype[np.generic]) -> None:
    """CannotConvert for the first number that a dtype does not have."""
    for rows, block in blocks(array):
        try:
            convert(block, dtype)
        except CannotConvert as error:
            if error.index is not None:
                error.index = (int(rows[error.index[0]]), *error.index[1:])
            raise


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


def is_one_hot(array: Array | StoredRows) -> bool:
    """Whether each row has a single 1 and zeros otherwise: classes, which are not scaled."""
    if array.ndim < 2 or array.shape[-1] < 2:
        return False
    return all(
        bool(((block == 0) | (block == 1)).all() and (block.sum(axis=-1) == 1).all()) for _, block in blocks(array)
    )


def are_labels(array: Array | StoredRows, target_shape: tuple[object, ...]) -> bool:
    """Whether an array holds integers for a target with a last axis of several classes."""
    if not target_shape or not isinstance(target_shape[-1], int) or target_shape[-1] < 2:
        return False
    before = target_shape[:-1]
    shape = array.shape[1:]
    rows = shape[:-1] if len(shape) == len(target_shape) and shape[-1] == 1 else shape
    agree = len(rows) == len(before) and all(
        not isinstance(size, int) or size == actual for size, actual in zip(before, rows, strict=True)
    )
    if not agree or array.dtype.kind in "iub":
        return agree
    return all(np.array_equal(block, np.round(block)) for _, block in blocks(array))


def _one_hot(
    array: Array | StoredRows, examples: Examples, name: str, type: TensorType, span: Span | None
) -> Array | StoredRows:
    classes = int(type.shape[-1])  # type: ignore[arg-type]
    for rows, block in blocks(array):
        wrong = np.argwhere((block < 0) | (block >= classes))
        if not len(wrong):
            continue
        label, row = int(block[tuple(wrong[0])]), rows[wrong[0][0]]
        message = f"`{name}` has {classes} classes, 0 to {classes - 1}, and the data holds a label {label}"
        location = examples.location(int(row))
        if location is None:
            raise NablacError(Diagnostic(codes.E826, f"{message}: example {row}", span))
        raise NablacError(Diagnostic(codes.E826, message, place=location))
    ones = np.eye(classes, dtype=np.float32)
    shape = array.shape[1 : type.rank - 1]

    def one_hot_rows(labels: Array) -> Array:
        whole: Array = ones[labels.reshape(len(labels), *shape).astype(np.int64)]
        return whole

    return change_rows(array, one_hot_rows)
