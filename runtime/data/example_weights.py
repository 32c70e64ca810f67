"""Weights of examples: of a column or an array, of their classes, or of both, which are then multiplied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import EXAMPLE_WEIGHT, DataStage, mask_name
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.model_arrays import is_one_hot
from runtime.data.read_rows import ReadRows
from runtime.data.stored_rows import StoredRows, blocks

if TYPE_CHECKING:
    from compiler.types import Array

_SHOWN = 5  # classes that a message lists


def weight_column(context: Context) -> list[str]:
    """The column of the weights, as the names to read; none where there is no such column."""
    column = str(context.weights.arguments["column"]) if context.weights is not None else ""
    return [column] if column else []


def with_weights(names: Sequence[str], context: Context) -> list[str]:
    """The columns of these names, and that of the weights after them where it is none of them."""
    return [*names, *(name for name in weight_column(context) if name not in names)]


def weights_of_rows(read: ReadRows, names: Sequence[str], path: str, context: Context) -> Array | None:
    """The weight of each row of the table `path` that was read with these `names`; None where no column holds them.

    NablacError for a column of texts, and for a cell that is missing or below 0.
    """
    for column in weight_column(context):
        if column in read.classes:
            message = f"column `{column}` holds texts, and the weights of examples are numbers"
            raise NablacError(Diagnostic(codes.E821, message, place=path))
        index = list(names).index(column)
        weights: Array = np.concatenate([rows[:, index] for _, rows in blocks(read.table)])
        row = _first_wrong(weights)
        if row is not None:
            raise NablacError(_not_a_weight(weights[row], f"column `{column}`", f"{path}:{read.lines[row]}"))
        return weights
    return None


def take_weights(examples: Examples, context: Context) -> tuple[Examples, Array | None]:
    """The examples without the array of their weights, and it: [examples], in f64; None where no column holds them.

    NablacError where it is not there, has another shape, or holds something else than numbers of at least 0.
    """
    arrays = dict(examples.arrays)
    if EXAMPLE_WEIGHT in arrays and weight_column(context) and examples.lines is not None:  # of the rows of a table
        return replace(examples, arrays=arrays), arrays.pop(EXAMPLE_WEIGHT)[:]
    for name in weight_column(context):
        assert context.weights is not None
        if name not in arrays:
            hint = did_you_mean(name, arrays) or f"the arrays are {', '.join(arrays)}"
            message = f"there is no array `{name}`, for the weights of examples"
            raise NablacError(Diagnostic(codes.E822, message, context.weights.span, hint=hint))
        weights = arrays.pop(name)
        if prod(weights.shape[1:]) != 1 or weights.dtype.kind not in "fiub":
            message = f"`{name}` is {weights.dtype}{list(weights.shape)}; weights of examples are one number each"
            raise NablacError(Diagnostic(codes.E824, message, context.weights.span))
        numbers: Array = weights[:].reshape(-1).astype(np.float64)
        row = _first_wrong(numbers)
        if row is not None:
            raise NablacError(_not_a_weight(numbers[row], f"`{name}`", f"example {row}"))
        return replace(examples, arrays=arrays), numbers
    return examples, None


def weighed(examples: Examples, weights: Array | None, context: Context, dtype: DType) -> Examples:
    """Finished examples with the array of their weights, in the type of the loss, and with what was fitted for them.

    `weights` are those of a column. NablacError for weights of classes where no target has a class for each example.
    """
    stage = context.weights
    assert stage is not None
    if examples.augmentations.get("mixup"):
        message = "`mixup` mixes pairs of examples, so that none has a weight of its own"
        raise NablacError(Diagnostic(codes.E825, message, stage.span, hint="leave out one of `weights` and `mixup`"))
    total = np.ones(len(examples)) if weights is None else weights
    by_class: tuple[float, ...] = ()
    if stage.arguments["classes"]:
        target, labels = _labels(examples, stage)
        known = context.fitted.class_weights if context.fitted is not None else ()
        by_class = known or _weights_of_classes(examples, target, labels, stage)
        table = np.array([*by_class, 1.0])  # the last is that of labels to ignore, or missing, and of classes not known
        total = total * table[np.where((labels < 0) | (labels >= len(by_class)), len(by_class), labels)]
    training = total[examples.parts["training"]]
    if len(training) and not training.any():
        message = "the weight of every example of the training part is 0: nothing would be learnt"
        raise NablacError(Diagnostic(codes.E823, message, stage.span))
    arrays = {**examples.arrays, EXAMPLE_WEIGHT: total.astype(dtype.numpy)}
    return replace(examples, arrays=arrays, class_weights=by_class)


def _labels(examples: Examples, stage: DataStage) -> tuple[str, Array]:
    """The target that has a class for each example, and its number; -1 where it is missing."""
    labels: dict[str, Array] = {}
    for name in examples.targets:
        array = examples.arrays[name]
        if is_one_hot(array):
            labels[name] = _by_blocks(array, lambda rows: rows.reshape(-1, rows.shape[-1]).argmax(axis=-1))
        elif prod(array.shape[1:]) == 1 and (array.dtype.kind in "iub" or _are_binary(array)):
            labels[name] = _by_blocks(array, lambda rows: rows.reshape(-1).astype(np.int64))
    single = {name: numbers for name, numbers in labels.items() if len(numbers) == len(examples)}
    if len(single) == 1:
        ((name, numbers),) = single.items()
        mask = examples.arrays.get(mask_name(name))
        if mask is not None:
            there = _by_blocks(mask, lambda rows: rows.reshape(len(rows), -1).max(axis=1))
            numbers = np.where(there > 0, numbers, -1)
        return name, numbers
    has = "no target has one class" if not single else f"{' and '.join(f'`{name}`' for name in single)} have a class"
    message = f"`weights(classes: ...)` weighs examples by their class, and {has} for each example"
    raise NablacError(
        Diagnostic(codes.E824, message, stage.span, hint="give each example its weight: `weights(column: ...)`")
    )


def _are_binary(array: Array | StoredRows) -> bool:
    return all(bool(np.isin(rows, (0, 1)).all()) for _, rows in blocks(array))


def _by_blocks(array: Array | StoredRows, of: Callable[[Array], Array]) -> Array:
    return np.concatenate([of(rows) for _, rows in blocks(array)])


def _weights_of_classes(examples: Examples, target: str, labels: Array, stage: DataStage) -> tuple[float, ...]:
    """The weight of each class by its number."""
    option, texts = stage.arguments["classes"], examples.texts_of(target)
    count = max(len(texts), int(labels.max(initial=-1)) + 1)
    if examples.arrays[target].dtype.kind not in "iub" and prod(examples.arrays[target].shape[1:]) > 1:
        count = max(count, examples.arrays[target].shape[-1])
    if option == "balanced":
        training = labels[examples.parts["training"]]
        counts = np.bincount(training[training >= 0], minlength=count)
        present = counts > 0
        return tuple(np.where(present, counts.sum() / np.maximum(counts * present.sum(), 1), 1.0).tolist())
    names = {text: number for number, text in enumerate(texts or map(str, range(count)))}
    shown = ", ".join(f"`{name}`" for name in list(names)[:_SHOWN]) + (", .." if len(names) > _SHOWN else "")
    if isinstance(option[0], list):
        return _weights_by_name({str(name): float(weight) for name, weight in option}, names, shown, target, stage)
    if len(option) < count:
        message = f"`{target}` has {count:,} classes, {shown}, and `weights` {len(option):,}"
        raise NablacError(Diagnostic(codes.E826, message, stage.span, hint="give each class its weight, in this order"))
    return tuple(map(float, option))


def _weights_by_name(
    weight_of: Mapping[str, float], names: Mapping[str, int], shown: str, target: str, stage: DataStage
) -> tuple[float, ...]:
    """The weights of classes by number, where they are by name; 1 for a class that is not named."""
    for name in weight_of:
        if name not in names:
            hint = did_you_mean(name, names) or f"the classes are {shown}"
            raise NablacError(Diagnostic(codes.E826, f"`{target}` has no class `{name}`", stage.span, hint=hint))
    return tuple(weight_of.get(name, 1.0) for name in names)


def _first_wrong(weights: Array) -> int | None:
    """The first of the weights that is not a number of at least 0."""
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    return int(wrong[0]) if len(wrong) else None


def _not_a_weight(number: float, what: str, location: str) -> Diagnostic:
    is_what = "is missing" if np.isnan(number) else f"is {number:g}"
    message = f"{what}: the weight of an example {is_what}, and must be a number of at least 0"
    return Diagnostic(codes.E821, message, place=location, hint="an example with a weight of 0 does not count")
