"""A spec that trains on a user's table: which columns it reads, and what it predicts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.parser import parse
from grammar.printer import print_file
from grammar.source import Source
from grammar.visible import shell_word
from nablac.commands.forecast_spec import forecast_remarks, forecast_spec, possible_keys
from nablac.commands.input_columns import InputColumns, is_input, is_text, listed
from nablac.commands.table_columns import (
    Column,
    UserTable,
    format_of_dates,
    in_comment,
    quoted,
    read_user_table,
    spec_path,
    unread_dates,
)
from nablac.commands.table_series import LEAST_ROWS, SeriesOfTable, date_columns, few_dates, series_of
from runtime.data.csv_file import Format


@dataclass(frozen=True)
class FirstSpec:
    """The text of a spec, and what it takes the table for, and leaves out."""

    text: str
    remarks: tuple[str, ...]


def spec_for_table(
    path: Path, target: str | None, content: bytes, format: Format, *, forecasts: bool | None = None
) -> FirstSpec:
    """A spec that predicts the column `target`, or the last one of numbers or classes.

    Where the table has series in time, as `series_of` finds them, it forecasts the next rows, and else predicts the
    column from the others in the same row; `forecasts` chooses between them. Missing numbers are filled. Columns of
    other texts than classes and sentences, or that number the rows, are left out, and named in a comment; what numbers
    the rows is kept if it is all there is to predict from. NablacError if nothing is left, or if there are no series to
    forecast.
    """
    table = read_user_table(path, content, format)
    series = series_of(table.cells, possible_keys(table)) if forecasts is not False else None
    if series is None and forecasts:
        message = f"{path} has no column of dates that go forward, in all rows or in each of several series"
        hint = "sort the rows by date; series are told apart by a column with the same cell in all rows of each"
        unread = next(iter(unread_dates(table.columns)), None)
        if unread is not None and not date_columns(table.cells):
            message = f"the dates in column `{unread.name}` of {path} are in a form that `init` does not read"
            message = f"{message}: `{table.cells[unread.name][0].strip():.40}`"
            hint = f"write a spec of your own, and say how they are written: {format_of_dates(unread)}"
        for name, count in few_dates(table.cells).items():
            message = (
                f"{path} has {_dates(count)} in column `{name}`, and a series to forecast has {LEAST_ROWS} rows or more"
            )
            hint = f"add rows, or take each row for an example: `nablac init {shell_word(path)}`"
        raise NablacError(Diagnostic(codes.E823, message, place=str(path), hint=hint))
    if series is not None:
        numbers = [column for column in table.columns if column.is_numeric and column.name not in series.keys]
        if forecasts or any(not column.numbers_rows for column in numbers):
            text, remarks = _of_series(table, series, numbers, target)
        else:
            series = None
    if series is None:
        text, remarks = _of_rows(table, target, forecasts=forecasts is not False)
    return FirstSpec(print_file(parse(Source(str(spec_path(path)), text))), tuple(remarks))


def _of_series(
    table: UserTable, series: SeriesOfTable, numbers: list[Column], target: str | None
) -> tuple[str, list[str]]:
    """A spec that forecasts, and remarks."""
    chosen = _target(table, numbers, target)
    read = [chosen, *(column for column in numbers if column is not chosen and not column.numbers_rows)]
    known = {series.dates, *series.keys, *(column.name for column in read)}
    others = [column for column in table.columns if column.name not in known]
    remarks = [*forecast_remarks(table, series, chosen, read), *_left_out(table, others)]
    return forecast_spec(table, series, chosen, read, _model_name(table.path), _comments(remarks)), remarks


def _of_rows(table: UserTable, target: str | None, *, forecasts: bool) -> tuple[str, list[str]]:
    """A spec that predicts a column from the others in its row, and remarks; without `forecasts` none on dates."""
    path = table.path
    usable = [column for column in table.columns if column.is_usable]
    chosen = _target(table, usable, target)
    numeric = [column for column in usable if column is not chosen and column.is_numeric]
    others = [column for column in table.columns if column is not chosen]
    classes = [column for column in others if column.is_usable and not column.is_numeric and is_input(column)]
    texts = [column for column in others if is_text(column)]
    inputs = [column for column in numeric if not column.numbers_rows]
    inputs += [] if inputs or classes or texts else numeric
    inputs += [*classes, *texts]
    if not inputs:
        message = f"{path} has no column of numbers, classes or texts to predict `{chosen.name}` from"
        raise NablacError(Diagnostic(codes.E823, message, place=str(path), hint="`--target` chooses another column"))
    why = "does not go forward in all rows, nor within several series: each row is taken for an example"
    dates = date_columns(table.cells) if forecasts else []
    remarks = [f"`{in_comment([name])}` {why}" for name in dates]
    for column in unread_dates(table.columns) if forecasts and not dates else ():
        cell, how = in_comment([table.cells[column.name][0][:40]]), format_of_dates(column)
        remarks.append(f"if `{in_comment([column.name])}` holds dates (`{cell}`), say how they are written: {how}")
    for name, count in few_dates(table.cells).items() if forecasts else ():
        remarks.append(
            f"`{in_comment([name])}` has {_dates(count)}, too few to forecast: each row is taken for an example"
        )
    remarks += _left_out(table, [column for column in others if column not in inputs])
    if gaps := [f"`{in_comment([column.name])}`" for column in inputs if column.has_gaps]:
        remarks.append(f"missing cells take the mean of their column: {', '.join(gaps)}")
    if chosen.has_gaps:
        remarks.append(f"rows without `{in_comment([chosen.name])}` are left out")
    return _spec(table, chosen, inputs, remarks), remarks


def _dates(count: int) -> str:
    return f"{count} different dates" if count > 1 else "1 date"


def _left_out(table: UserTable, columns: list[Column]) -> list[str]:
    counting = [column.name for column in columns if column.is_numeric and column.numbers_rows]
    others = [column.name for column in columns if column.name not in counting and not column.misfit]
    cells = {name: table.cells[name] for name in others}
    dates = {*date_columns(cells), *few_dates(cells)}
    reasons = {
        "it numbers the rows": counting,
        "dates": [name for name in others if name in dates],
        "texts or empty": [name for name in others if name not in dates],
    }
    remarks = [f"left out ({reason}): {in_comment(names)}" for reason, names in reasons.items() if names]
    remarks += [f"left out (without a name): column {', '.join(map(str, table.nameless))}"] if table.nameless else []
    misfits = [column for column in columns if column.misfit]
    return [*remarks, *(f"left out: {in_comment([column.name])}, for {column.misfit}" for column in misfits)]


def _target(table: UserTable, usable: list[Column], target: str | None) -> Column:
    """The column to predict; NablacError if it is not there, or cannot be predicted."""
    path, names = table.path, {column.name: column for column in table.columns}
    if target is None:
        if usable:
            return next((column for column in reversed(usable) if not column.numbers_rows), usable[-1])
        message = f"{path} has no column that could be predicted: all have texts that differ, or missing classes"
        raise NablacError(Diagnostic(codes.E823, message, place=str(path)))
    if target not in names:
        hint = did_you_mean(target, names) or f"its columns are {', '.join(f'`{name}`' for name in names)}"
        raise NablacError(Diagnostic(codes.E822, f"{path} has no column `{target}`", place=str(path), hint=hint))
    column = names[target]
    if column not in usable:
        why = "has missing cells" if column.has_gaps else "has more than 20 different texts"
        if column.is_usable:
            why = "is of texts, or tells the series apart: a forecast is of numbers"
        message = f"the column `{target}` of {path} {why}"
        advice = "`--rows` takes each row for an example" if column.is_usable else None
        raise NablacError(Diagnostic(codes.E823, message, place=str(path), hint=advice))
    return column


def _model_name(path: Path) -> str:
    stem = unicodedata.normalize("NFC", spec_path(path).stem)  # macOS has accents as characters of their own
    name = "".join(word.capitalize() for word in re.findall(r"[^\W_]+", stem)) or "Table"
    return name if name[0].isalpha() else f"Table{name}"


def _comments(remarks: list[str]) -> str:
    return "".join(f"# {remark[0].upper()}{remark[1:]}.\n" for remark in remarks)


def _spec(table: UserTable, target: Column, inputs: list[Column], remarks: list[str]) -> str:
    path, name, count = table.path, _model_name(table.path), len(inputs)
    model, file = in_comment([spec_path(path).name]), in_comment([path.name])
    read = InputColumns.of(inputs)
    columns = f"inputs: {listed(inputs)}, targets: [{quoted(target.name)}]"
    fill = ' -> fill("mean")' if any(column.has_gaps for column in (*inputs, target)) else ""
    what = " of numbers" if all(column.is_numeric for column in inputs) else ""
    others = f"the {count} columns" if count > 1 else "the column"
    missing = f"#\n{_comments(remarks)}" if remarks else ""
    if target.is_classes:
        size = len(target.values)
        output = f"Dense({size})\n    output logits\n    output probability = softmax(logits, axis: -1)"
        result, declared = "logits", "target label: i64[batch]"
        loss, metric, after = "cross_entropy(logits, label)", "accuracy(logits, label)", f"  # one of {size} classes"
    else:
        output, result, declared = "Dense(1)\n    output y", "y", "target value: [batch, 1]"
        loss, metric, after = "mse(y, value)", "mae(y, value)", ""
    return f"""# Predicts {in_comment([target.name])} from {others}{what} in {file}.
#
#   nablac train {shell_word(model)}
#   nablac eval runs/{name.lower()}/1
#   nablac predict runs/{name.lower()}/1 {shell_word(file)}
{missing}
model {name}(hidden = 32, rate = 0.1) {{
    \"\"\"Two layers of `hidden` units.\"\"\"
    input {read.declared}

{read.equations}    {result} = {read.joined} -> Dense(hidden, relu) -> Dropout(rate) -> Dense(hidden, relu) -> {output}
}}

train {name} {{
    {declared}{after}
    loss {loss}
    metric {metric}
    optimizer adam(lr: 1e-3)
    epochs 100
    patience 20  # epochs without improvement, after which it stops
    batch 32
    validation 0.2
    data csv({quoted(path.name)}{table.options}){fill}{read.stages} -> standardize() -> columns({columns})
}}
"""
