"""Data stages: one function for each of `compiler.elaborate.data.STAGES`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.by_series import split_series
from runtime.data.calendar_features import Calendar, calendar_of, format_of
from runtime.data.context import Context
from runtime.data.date_order import check_order
from runtime.data.examples import Examples, Series, Text, cuts, window_parts
from runtime.data.filled_examples import fill_examples
from runtime.data.filling import Fill, filled, gaps_of, interpolated, means_of
from runtime.data.lags import Lag
from runtime.data.rows import Rows
from runtime.data.scaling import Scale
from runtime.data.tokens import known_tokenizer, tokens, windows_of
from runtime.text.tokenizers import ListTokenizer
from runtime.text.words import pieces

if TYPE_CHECKING:
    from compiler.types import Array

Step = Callable[[Any, DataStage, Context], Any]


def by(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Tell several series in one table apart: no window spans two, and each is split into its own parts."""
    _check_kind(data, Rows, stage)
    return split_series(data, _names(stage.arguments["columns"]), context, stage.span)


def fill(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Request that missing cells are filled; see `runtime.data.filling`."""
    _check_kind(data, Rows, stage)
    request = Fill.of(stage.arguments, stage.span)
    for name in request.columns:
        data.texts_of(name, stage.span)
    return replace(data, fills=(*data.fills, request))


def calendar(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Add columns of features of dates; see `runtime.data.calendar_features`."""
    _check_kind(data, Rows, stage)
    column, known = stage.arguments["column"], context.fitted.dates if context.fitted is not None else {}
    cells = data.date_texts(column, stage.span)
    format = known.get(column) or stage.arguments["format"] or format_of(cells, column, data.path, stage.span)
    request = Calendar.of(stage.arguments, format)
    twice = next((name for name in request.names if name in data.cells or calendar_of(data.calendars, name)), None)
    if twice is not None:
        message = f"`calendar` adds a column `{twice}`, and there is one of this name"
        raise NablacError(Diagnostic(codes.E823, message, stage.span, hint="give that in the file another name"))
    return replace(data, calendars=(*data.calendars, request))


def lag(data: Rows, stage: DataStage, context: Context) -> Rows:
    """Request columns of earlier rows, for `columns`; see `runtime.data.lags`."""
    _check_kind(data, Rows, stage)
    request = Lag.of(stage.arguments, stage.span)
    for name, _ in request.sources.values():
        data.texts_of(name, stage.span)
    twice = next((name for name in request.sources if name in data.cells), None)
    if twice is not None:
        message = f"`lag` adds a column `{twice}`, and there is one of this name"
        raise NablacError(Diagnostic(codes.E823, message, stage.span, hint="give that in the file another name"))
    return replace(data, lags=(*data.lags, request))


def _formats(data: Rows) -> dict[str, str]:
    """How dates are written that features are made of, by column."""
    return {request.column: request.format for request in data.calendars}


def columns(data: Rows, stage: DataStage, context: Context) -> Examples:
    """Make each row an example: `inputs` and `targets` are names of columns; a column of texts holds classes.

    There may be no `targets`, as for an autoencoder, whose loss compares an output with the inputs.
    """
    _check_kind(data, Rows, stage)
    inputs, targets = _names(stage.arguments["inputs"]), _names(stage.arguments["targets"])
    for name in targets:
        if name in inputs:  # usually a mistake: the model is fed the answer
            context.notes.setdefault(f"column `{name}` is a target and an input too", [str(stage.span)])
    known = context.fitted.classes if context.fitted is not None else {}
    table = data.read_columns([*inputs, *targets], context, stage.span, known)
    arrays, names = {"input": table.numbers[:, : len(inputs)]}, {"input": tuple(inputs)}
    if targets:
        arrays["target"], names["target"] = table.numbers[:, len(inputs) :], tuple(targets)
    examples = Examples(
        arrays,
        ("input",),
        ("target",) if targets else (),
        columns=names,
        scales=data.scales,
        classes=table.classes,
        path=data.path,
        lines=np.array(data.lines)[table.kept],
        parts=_parts_in_time(data, table.kept, context, stage) if data.lags else {},
        dates=_formats(data),
    )
    return fill_examples(examples, data, context, stage.span) if data.fills else examples


def _parts_in_time(data: Rows, kept: Array, context: Context, stage: DataStage) -> dict[str, Array]:
    """The last rows of each series for validation and test; empty where the parts are to be random."""
    spans = data.spans(kept)
    check_order(data, kept, spans, context)
    counts = [end - first for first, end in spans]
    split = [window_parts(np.arange(count), np.arange(count) + 1, count, False, context, stage) for count in counts]
    return _joined_parts(split, counts)


def window(data: Rows, stage: DataStage, context: Context) -> Examples:
    """Cut windows: `length` rows as the input, and the `horizon` rows after them as the target.

    With `shift` the target is the input's own columns `shift` rows later, for models with an output at every step.
    `target` names other columns to predict. Examples whose target is in the validation or test rows belong to these
    parts, and scalings are fitted to the training rows alone. No window spans a skipped row.
    """
    _check_kind(data, Rows, stage)
    if data.lags:
        message = "a window holds earlier rows itself, and `lag` is for `columns(...)`"
        hint = "a longer `length` reaches further back"
        raise NablacError(Diagnostic(codes.E823, message, data.lags[0].span, hint=hint))
    arguments = stage.arguments
    inputs = _names(arguments["columns"])
    targets = _names(arguments["target"]) or inputs
    names = list(dict.fromkeys([*inputs, *targets]))
    read = data.read_columns(names, context, stage.span)
    table, numbers = read.numbers, np.array(data.numbers)[read.kept]
    length, horizon, shift, stride = arguments["length"], arguments["horizon"], arguments["shift"], arguments["stride"]
    begin = shift or length  # of the target, counted from the window's start
    rows = max(length, begin + horizon)
    spans = data.spans(read.kept)
    check_order(data, read.kept, spans, context)
    whole = table
    means: Mapping[str, float] = {}
    if data.fills:
        means = (
            context.fitted.fills
            if context.fitted is not None
            else means_of(_training_rows(table, spans, context), names, data.fills, data.path)
        )
        whole = np.concatenate([filled(table[first:end], names, data.fills, means) for first, end in spans])
    take_in = [names.index(name) for name in inputs]
    take_out = [names.index(name) for name in targets]
    by_series = [_starts(numbers, first, end, rows, stride) for first, end in spans]
    if data.fills:
        by_series = _with_targets(by_series, table[:, take_out], begin, horizon, data.path, context)
    starts = np.concatenate(by_series) if by_series else np.zeros(0, int)
    if not len(starts):
        rows_are = "1 row is" if len(table) == 1 else f"{len(table)} rows are"
        raise NablacError(
            Diagnostic(
                codes.E823,
                f"{rows_are} too few for windows of {length} and a horizon of {horizon}",
                stage.span,
                hint="use a shorter window or more data",
            )
        )
    at = starts[:, None] + np.arange(length)
    x = whole[at][:, :, take_in]
    gaps = gaps_of(table, names, data.fills) if data.fills else None
    if gaps is not None:
        x = interpolated(x, gaps[at][:, :, take_in])
    y = table[starts[:, None] + begin + np.arange(horizon)][:, :, take_out]
    _note_short(data, read.kept, spans, by_series, rows, context)
    split = [
        window_parts(here + begin - first, here + begin + horizon - first, end - first, stride < rows, context, stage)
        for here, (first, end) in zip(by_series, spans, strict=True)
    ]
    parts = _joined_parts(split, [len(here) for here in by_series])
    training = _training_rows(whole, spans, context)
    lines = np.array(data.lines)[read.kept]
    borders = tuple(int(numbers[first]) for first, _ in spans[1:])
    keys = () if data.series is None else tuple(data.keys[data.series[read.kept[first]]] for first, _ in spans)
    return Examples(
        {"input": x, "target": y},
        ("input",),
        ("target",),
        ordered=True,
        parts=parts,
        columns={"input": tuple(inputs), "target": tuple(targets)},
        scales=data.scales,
        samples={"input": training[:, take_in], "target": training[:, take_out]} if parts else {},
        path=data.path,
        lines=lines[starts],
        series=Series(tuple(names), table, numbers, lines, _beside(data, names, read.kept), borders, whole, keys, gaps)
        if context.keeps_raw
        else None,
        starts=numbers[starts],
        fills=means,
        dates=_formats(data),
    )


def _training_rows(table: Array, spans: list[tuple[int, int]], context: Context) -> Array:
    """The rows of the training parts of all series."""
    return np.concatenate([table[first : first + cuts(end - first, context)[0]] for first, end in spans])


def _with_targets(
    starts: list[Array], targets: Array, begin: int, horizon: int, path: str, context: Context
) -> list[Array]:
    """The windows none of whose targets is missing: nothing is learnt from filled numbers, or judged by them."""
    missing = np.asarray(np.isnan(targets).any(axis=1))
    whole = [here[~missing[here[:, None] + begin + np.arange(horizon)].any(axis=1)] for here in starts]
    count = sum(map(len, starts)) - sum(map(len, whole))
    if count:
        windows = "1 window is" if count == 1 else f"{count:,} windows are"
        context.note(path, f"{windows} left out, since targets in them are missing")
    return whole


def _starts(numbers: Array, first: int, end: int, rows: int, stride: int) -> Array:
    """Where the windows of a series begin, whose rows are those from `first` to `end`; none spans a skipped row."""
    starts = np.arange(first, end - rows + 1, stride)
    return np.asarray(starts[numbers[starts + rows - 1] - numbers[starts] == rows - 1])


def _note_short(
    data: Rows, kept: Array, spans: list[tuple[int, int]], starts: list[Array], rows: int, context: Context
) -> None:
    """Note the series that have no window."""
    for here, (first, _) in zip(starts, spans, strict=True):
        if not len(here) and data.series is not None:
            key = data.keys[int(data.series[kept[first]])]
            context.note(f"{data.path}: {key}", f"a series without {rows} rows in a row, for a window, is left out")


def _joined_parts(split: list[dict[str, Array]], counts: list[int]) -> dict[str, Array]:
    """The examples of each part of all series, one after the other; empty where the parts are to be random."""
    offsets = np.cumsum([0, *counts[:-1]])
    return {
        part: np.concatenate([parts[part] + offset for parts, offset in zip(split, offsets, strict=True)])
        for part in (split[0] if split else ())
    }


def _beside(data: Rows, names: list[str], kept: Array) -> dict[str, list[str]]:
    """The cells of all other columns than those of these names, in the rows that are kept."""
    chosen = kept.tolist()
    return {name: [cells[row] for row in chosen] for name, cells in data.cells.items() if name not in names and cells}


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
        _check_kind(data, Examples, stage)
    scale = Scale(kind, low, high, tuple(_names(stage.arguments["columns"])), stage.span)
    return replace(data, scales=(*data.scales, scale))


def split(data: Any, stage: DataStage, context: Context) -> Any:
    """Fractions for validation and test, which `apply_split` has put in the context before."""
    return data


def apply_split(context: Context, stages: Iterable[DataStage]) -> Context:
    """The context with the fractions of a `split` anywhere among the stages: every stage needs the training part."""
    for stage in stages:
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
    _check_kind(data, Text, stage)
    length, stride = stage.arguments["length"], stage.arguments["stride"] or stage.arguments["length"]
    first, _ = cuts(len(data.text), context)
    tokenizer = known_tokenizer(context) or ListTokenizer("characters", tuple(sorted(set(data.text[:first]))), UNSEEN)
    return windows_of(data.text, tokenizer, length, stride, context, stage)


def words(data: Text, stage: DataStage, context: Context) -> Examples:
    """Like `characters`, for words and punctuation: the `most` frequent ones of the training part."""
    from collections import Counter

    _check_kind(data, Text, stage)
    tokens = pieces(data.text, "words")
    first, _ = cuts(len(tokens), context)
    counted = Counter(tokens[:first]).most_common(stage.arguments["most"])
    length, stride = stage.arguments["length"], stage.arguments["stride"] or stage.arguments["length"]
    tokenizer = known_tokenizer(context) or ListTokenizer("words", tuple(word for word, _ in counted), UNSEEN)
    return windows_of(data.text, tokenizer, length, stride, context, stage)


UNSEEN = ("\N{REPLACEMENT CHARACTER}",)  # the only special token of these two


def augment(data: Examples, stage: DataStage, context: Context) -> Examples:
    """Request changes to training batches; see `runtime.data.augmentation`."""
    _check_kind(data, Examples, stage)
    chosen = {name: value for name, value in stage.arguments.items() if value}
    return replace(data, augmentations={**data.augmentations, **chosen})


def _names(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _check_kind(data: Any, kind: type, stage: DataStage) -> None:
    if not isinstance(data, kind):
        words = {Rows: "rows of a table", Examples: "examples", Text: "a text"}
        raise NablacError(
            Diagnostic(
                codes.E823,
                f"`{stage.name}`: expected {words[kind]}, got {words.get(type(data), 'something else')}",
                stage.span,
            )
        )


STAGES: dict[str, Step] = {
    "by": by,
    "fill": fill,
    "calendar": calendar,
    "lag": lag,
    "columns": columns,
    "window": window,
    "standardize": standardize,
    "min_max": min_max,
    "split": split,
    "augment": augment,
    "characters": characters,
    "words": words,
    "tokens": tokens,
}
