"""Data stages: one function for each of `compiler.elaborate.data.STAGES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compiler.elaborate.data import listed_names
from compiler.model_spec import EXAMPLE_WEIGHT, WEIGHTS, DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.by_series import split_series
from runtime.data.calendar_features import Calendar, calendar_of
from runtime.data.categories import Categories
from runtime.data.coded_text import coded, coded_words, distinct_characters
from runtime.data.context import Context
from runtime.data.date_order import DateOrder
from runtime.data.example_weights import weights_of_rows, with_weights
from runtime.data.examples import Examples, Text, cuts, joined_parts, window_parts
from runtime.data.filled_examples import fill_examples
from runtime.data.filling import Fill
from runtime.data.lags import Lag
from runtime.data.large_tables import LargeRows
from runtime.data.merged_classes import check_categories, merge_rare
from runtime.data.numeric_classes import UnseenClasses
from runtime.data.read_rows import ReadRows
from runtime.data.rows import Rows
from runtime.data.scaling import Scale
from runtime.data.stage_arguments import check_kind, date_formats
from runtime.data.stored_rows import StoredRows, change_rows
from runtime.data.text_cells import rows_with_texts, text_inputs
from runtime.data.tokenized_examples import tokenize_examples
from runtime.data.tokens import known_tokenizer, tokens, windows_of
from runtime.data.windows import window
from runtime.text.tokenizers import ListTokenizer

if TYPE_CHECKING:
    from compiler.types import Array

Step = Callable[[Any, DataStage, Context], Any]


def by(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Tell several series in one table apart: no window spans two, and each is split into its own parts."""
    check_kind(data, Rows, stage)
    names = listed_names(stage.arguments["columns"])
    if isinstance(data, LargeRows):
        return data.split_by(tuple(names), context, stage.span)
    return split_series(data, names, context, stage.span)


def fill(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Request that missing cells are filled; see `runtime.data.filling`."""
    check_kind(data, Rows, stage)
    request = Fill.of(stage.arguments, stage.span)
    data.require(request.columns, stage.span)
    if request.rows:
        data.date_texts(request.rows, stage.span)
    return replace(data, fills=(*data.fills, request))


def calendar(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Add columns of features of dates; see `runtime.data.calendar_features`."""
    check_kind(data, Rows, stage)
    column, known = stage.arguments["column"], context.fitted.dates if context.fitted is not None else {}
    data.date_texts(column, stage.span)
    format = known.get(column) or stage.arguments["format"] or data.date_format(column, stage.span)
    request = Calendar.of(stage.arguments, format)
    twice = next((name for name in request.names if name in data.cells or calendar_of(data.calendars, name)), None)
    _check_free(twice, stage)
    return replace(data, calendars=(*data.calendars, request))


def lag(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Request columns of earlier rows, for `columns`; see `runtime.data.lags`."""
    check_kind(data, Rows, stage)
    request = Lag.of(stage.arguments, stage.span)
    data.require((name for name, _ in request.sources.values()), stage.span)
    twice = next((name for name in request.sources if name in data.cells), None)
    _check_free(twice, stage)
    return replace(data, lags=(*data.lags, request))


def _check_free(twice: str | None, stage: DataStage) -> None:
    """NablacError for a column that a stage adds although there is one of its name."""
    if twice is not None:
        message = f"`{stage.name}` adds a column `{twice}`, and there is one of this name"
        raise NablacError(Diagnostic(codes.E823, message, stage.span, hint="give that in the file another name"))


def categories(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Request an entry for unseen classes of columns, for `columns`; see `runtime.data.categories`."""
    check_kind(data, Rows, stage)
    request = Categories.of(stage.arguments, stage.span)
    data.require(request.columns, stage.span)
    return replace(data, categories=(*data.categories, request))


def columns(data: Rows, stage: DataStage, context: Context) -> Examples:
    """Make each row an example: `inputs` and `targets` are names of columns; a column of texts holds classes.

    There may be no `targets`, as for an autoencoder, whose loss compares an output with the inputs.
    """
    check_kind(data, Rows, stage)
    inputs, targets = listed_names(stage.arguments["inputs"]), listed_names(stage.arguments["targets"])
    texts = text_inputs(data, inputs, targets, stage.span)
    check_categories(data, targets, stage.span)
    for name in targets:
        if name in inputs:  # usually a mistake: the model is fed the answer
            context.notes.setdefault(f"column `{name}` is a target and an input too", [str(stage.span)])
    known = context.fitted.known_classes if context.fitted is not None else {}
    order = DateOrder(context) if data.lags else None
    numbers = [name for name in inputs if name not in texts]
    names_read = with_weights([*numbers, *targets], context)
    unseen = UnseenClasses() if context.fitted is not None and context.keeps_raw else None
    read = replace(data, unseen=unseen).read(names_read, context, stage.span, known, order, inputs=numbers, texts=texts)
    if unseen is not None:
        unseen.report(context)
    arrays: dict[str, Array | StoredRows] = {}
    if texts:
        there = rows_with_texts(read.texts, data.texts, read.lines, data.path, context)
        read = read if there.all() else read.take(np.flatnonzero(there))
        arrays |= dict.fromkeys(texts, np.arange(len(read.table)))
    names: dict[str, tuple[str, ...]] = {}
    of_inputs, of_targets = (_free_name(name, [*inputs, *targets]) for name in ("input", "target"))
    if numbers:
        arrays[of_inputs] = change_rows(read.table, lambda rows: rows[:, : len(numbers)])
        names[of_inputs] = tuple(numbers)
    if targets:
        arrays[of_targets] = change_rows(read.table, lambda rows: rows[:, len(numbers) : len(numbers) + len(targets)])
        names[of_targets] = tuple(targets)
    examples = Examples(
        arrays,
        (*((of_inputs,) if numbers else ()), *texts),
        (of_targets,) if targets else (),
        columns=names,
        scales=data.scales,
        classes=dict(read.classes),
        path=data.path,
        lines=read.lines,
        parts=_parts_in_time(read, context, stage) if data.lags else {},
        dates=date_formats(data),
    )
    weight = weights_of_rows(read, names_read, data.path, context)
    if weight is not None:
        examples = replace(examples, arrays={**examples.arrays, EXAMPLE_WEIGHT: weight})
    if data.fills:
        examples = fill_examples(examples, data, context, stage.span)
    return tokenize_examples(merge_rare(examples, data, context), data, read, context)


def _free_name(name: str, taken: Sequence[str]) -> str:
    """The name of an array, beside those of columns of texts."""
    return name if name not in taken else _free_name(f"{name}_", taken)


def _parts_in_time(read: ReadRows, context: Context, stage: DataStage) -> dict[str, Array]:
    """The last rows of each series for validation and test; empty where the parts are to be random."""
    counts = [end - first for first, end in read.spans]
    split = [window_parts(np.arange(count), np.arange(count) + 1, count, False, context, stage) for count in counts]
    return joined_parts(split, counts)


def standardize(data: Rows | Examples, stage: DataStage, context: Context) -> Rows | Examples:
    """Scale to mean 0 and standard deviation 1 on the training part."""
    return _add_scale(data, "standardize", 0.0, 1.0, stage)


def min_max(data: Rows | Examples, stage: DataStage, context: Context) -> Rows | Examples:
    """Scale the range of the training part to `low` to `high`."""
    return _add_scale(data, "min_max", stage.arguments["low"], stage.arguments["high"], stage)


def _add_scale(
    data: Rows | Examples, kind: Literal["standardize", "min_max"], low: float, high: float, stage: DataStage
) -> Rows | Examples:
    """Request a scaling; it is fitted when the training part and the model's types are known."""
    if isinstance(data, Text):
        check_kind(data, Examples, stage)
    scale = Scale(kind, low, high, tuple(listed_names(stage.arguments["columns"])), stage.span)
    return replace(data, scales=(*data.scales, scale))


def split(data: Any, stage: DataStage, context: Context) -> Any:
    """Fractions for validation and test, which `apply_split` has put in the context before."""
    return data


def weights(data: Any, stage: DataStage, context: Context) -> Any:
    """Weights of examples, which `apply_split` has put in the context before; see `runtime.data.example_weights`."""
    return data


def apply_split(context: Context, stages: Iterable[DataStage]) -> Context:
    """The context with what stages say wherever they stand: the fractions of a `split`, and the weights of examples.

    Every stage needs the training part, and the column of the weights is read with the others.
    """
    for stage in stages:
        if stage.name == WEIGHTS:
            context = replace(context, weights=stage)
        if stage.name == "split":
            arguments = stage.arguments
            asked = (name for name in ("validation", "test") if name not in context.fixed)
            shares = {name: arguments[name] for name in asked if arguments[name] is not None}
            context = replace(context, order=arguments["order"], **shares)
            if context.validation + context.test >= 1:
                raise NablacError(
                    Diagnostic(codes.E823, "`validation` and `test` must add up to less than 1", stage.span)
                )
    return context


def characters(data: Text, stage: DataStage, context: Context) -> Examples:
    """Windows of `length` characters, whose targets are the same windows one character later.

    The vocabulary is that of the training part, after an entry for unknown characters.
    """
    check_kind(data, Text, stage)
    length, stride = stage.arguments["length"], stage.arguments["stride"] or stage.arguments["length"]
    first, _ = cuts(data.content.size, context)
    tokenizer = known_tokenizer(context)
    if tokenizer is None:
        tokenizer = ListTokenizer("characters", distinct_characters(data.content, first), UNSEEN)
    return windows_of(coded(data.content, tokenizer), tokenizer, length, stride, context, stage)


def words(data: Text, stage: DataStage, context: Context) -> Examples:
    """Like `characters`, for words and punctuation: the `most` frequent ones of the training part."""
    check_kind(data, Text, stage)
    length, stride = stage.arguments["length"], stage.arguments["stride"] or stage.arguments["length"]
    tokenizer = known_tokenizer(context)
    if tokenizer is not None:
        return windows_of(coded(data.content, tokenizer), tokenizer, length, stride, context, stage)
    most = stage.arguments["most"]
    learnt, numbers = coded_words(data.content, lambda count: cuts(count, context)[0], most, UNSEEN)
    return windows_of(numbers, learnt, length, stride, context, stage)


UNSEEN = ("\N{REPLACEMENT CHARACTER}",)  # the only special token of these two


def augment(data: Examples, stage: DataStage, context: Context) -> Examples:
    """Request changes to training batches; see `runtime.data.augmentation`."""
    check_kind(data, Examples, stage)
    chosen = {name: value for name, value in stage.arguments.items() if value}
    return replace(data, augmentations={**data.augmentations, **chosen})


STAGES: dict[str, Step] = {
    "by": by,
    "fill": fill,
    "calendar": calendar,
    "lag": lag,
    "categories": categories,
    "columns": columns,
    "window": window,
    "standardize": standardize,
    "min_max": min_max,
    "split": split,
    "augment": augment,
    "weights": weights,
    "characters": characters,
    "words": words,
    "tokens": tokens,
}
