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
from nablac.commands.epoch_dates import remarks_on_epochs
from nablac.commands.forecast_spec import forecast_remarks, forecast_spec, possible_keys, rows_to_predict
from nablac.commands.free_names import FreeNames
from nablac.commands.input_columns import InputColumns, is_misnamed, is_text, listed
from nablac.commands.table_columns import (
    BrokenDate,
    Column,
    UserTable,
    broken_date,
    format_of_dates,
    in_comment,
    quoted,
    read_user_table,
    spec_path,
    unread_dates,
)
from nablac.commands.table_dialect import two_readings
from nablac.commands.table_series import (
    LEAST_ROWS,
    SeriesOfTable,
    date_columns,
    few_dates,
    first_step_back,
    series_of,
)
from runtime.data.csv_file import Format


@dataclass(frozen=True)
class FirstSpec:
    """The text of a spec, and what it takes the table for, and leaves out."""

    text: str
    remarks: tuple[str, ...]


def spec_for_table(path: Path, target: str | None, format: Format, *, forecasts: bool | None = None) -> FirstSpec:
    """A spec that predicts the column `target`, or the last one of numbers or classes.

    Where the table has series in time, as `series_of` finds them, it forecasts the next rows, and else predicts the
    column from the others in the same row; `forecasts` chooses between them. Missing numbers are filled. Columns of
    other texts than classes and sentences, or that number the rows, are left out, and named in a comment; what numbers
    the rows is kept if it is all there is to predict from. NablacError if nothing is left, or if there are no series to
    forecast.
    """
    table = read_user_table(path, format)
    series = series_of(table.cells, possible_keys(table)) if forecasts is not False else None
    if series is None and forecasts:
        message = f"{path} has no column of dates that go forward, in all rows or in each of several series"
        sort = "sort the rows by date; series are told apart by a column with the same cell in all rows of each"
        epochs, dates = remarks_on_epochs(table), date_columns(table.cells)
        hint = sort if dates or not epochs else None  # the remarks say what to do
        unread = next(iter(unread_dates(table.columns)), None)
        broken = broken_date(table)
        if unread is not None and not dates:
            message = f"the dates in column `{unread.name}` of {path} are in a form that `init` does not read"
            message = f"{message}: `{table.cells[unread.name][0].strip():.40}`"
            hint = f"write a spec of your own, and say how they are written: {format_of_dates(unread)}"
        for name, count in few_dates(table.cells).items():
            message = (
                f"{path} has {_dates(count)} in column `{name}`, and a series to forecast has {LEAST_ROWS} rows or more"
            )
            hint = f"add rows, or take each row for an example: `nablac init {shell_word(path)}`"
        steps = [(name, step) for name in dates if (step := _step_back(table, name)) is not None]
        notes = [*(f"`{in_comment([name])}`, {step}" for name, step in steps), *epochs]
        fault = Diagnostic(codes.E823, message, place=str(path), note="; ".join(notes) or None, hint=hint)
        raise NablacError(fault if broken is None else _broken(broken, path))
    if series is not None:
        numbers = [column for column in table.columns if column.is_numeric and column.name not in series.keys]
        if forecasts or any(not column.numbers_rows for column in numbers):
            text, remarks = _of_series(table, series, numbers, target)
        else:
            series = None
    if series is None:
        text, remarks = _of_rows(table, target, forecasts=forecasts is not False)
    return FirstSpec(print_file(parse(Source(str(spec_path(path)), text))), tuple(remarks))


def _broken(date: BrokenDate, path: Path) -> Diagnostic:
    """The error for a cell that is no date, where a spec would need it."""
    hint = "correct the cell, or remove the row"
    return Diagnostic(codes.E823, f"column {date}", place=f"{path}:{date.line}", hint=hint)


def _of_series(
    table: UserTable, series: SeriesOfTable, numbers: list[Column], target: str | None
) -> tuple[str, list[str]]:
    """A spec that forecasts, and remarks."""
    chosen = _target(table, numbers, target)
    read = [chosen, *(column for column in numbers if column is not chosen and not column.numbers_rows)]
    known = {series.dates, *series.keys, *(column.name for column in read)}
    others = [column for column in table.columns if column.name not in known]
    future = rows_to_predict(table, series, chosen, read)
    ambiguous = two_readings({column.name: table.cells[column.name] for column in read}, table.format)
    remarks = [
        *forecast_remarks(series, chosen, read, future),
        *ambiguous,
        *remarks_on_epochs(table),
        *_left_out(table, others),
    ]
    names = FreeNames(())
    name = _model_name(table.path, names)
    return forecast_spec(table, series, chosen, read, future, name, names, _comments(remarks)), remarks


def _of_rows(table: UserTable, target: str | None, *, forecasts: bool) -> tuple[str, list[str]]:
    """A spec that predicts a column from the others in its row, and remarks; without `forecasts` none on dates."""
    path = table.path
    usable = [column for column in table.columns if column.is_usable]
    chosen = _target(table, usable, target)
    numeric = [column for column in usable if column is not chosen and column.is_numeric]
    others = [column for column in table.columns if column is not chosen]
    dates = date_columns(table.cells) if forecasts else []
    broken = broken_date(table) if not dates else None
    read = [column for column in others if broken is None or column.name != broken.column]
    named = [column for column in read if not is_misnamed(column)]
    classes = [column for column in named if column.is_usable and not column.is_numeric]
    texts = [column for column in named if is_text(column)]
    inputs = [column for column in numeric if not column.numbers_rows]
    inputs += [] if inputs or classes or texts else numeric
    inputs += [*classes, *texts]
    if not inputs:
        message = f"{path} has no column of numbers, classes or texts to predict `{chosen.name}` from"
        misfits = "; ".join(f"`{in_comment([column.name])}`: {column.misfit}" for column in others if column.misfit)
        hint = "`--target` chooses another column"
        fault = Diagnostic(codes.E823, message, place=str(path), note=misfits or None, hint=hint)
        raise NablacError(fault if broken is None else _broken(broken, path))
    why = "does not go forward in all rows, nor within several series"
    steps = [(name, step) for name in dates if (step := _step_back(table, name)) is not None]
    remarks = [f"`{in_comment([name])}` {why} ({step}): each row is taken for an example" for name, step in steps]
    if broken is not None and forecasts:
        remarks.append(f"{broken}: with a date there, `nablac init forecast` reads them")
    for column in unread_dates(table.columns) if forecasts and not dates and broken is None else ():
        cell, how = in_comment([table.cells[column.name][0][:40]]), format_of_dates(column)
        remarks.append(f"if `{in_comment([column.name])}` holds dates (`{cell}`), say how they are written: {how}")
    for name, count in few_dates(table.cells).items() if forecasts else ():
        remarks.append(
            f"`{in_comment([name])}` has {_dates(count)}, too few to forecast: each row is taken for an example"
        )
    numbers = {column.name: table.cells[column.name] for column in (*inputs, chosen) if column.is_numeric}
    remarks += [*two_readings(numbers, table.format), *remarks_on_epochs(table)]
    remarks += _left_out(table, [column for column in others if column not in inputs])
    if gaps := [f"`{in_comment([column.name])}`" for column in inputs if column.has_gaps]:
        remarks.append(f"missing cells take the mean of their column: {', '.join(gaps)}")
    if chosen.has_gaps:
        remarks.append(f"rows without `{in_comment([chosen.name])}` are left out")
    return _spec(table, chosen, inputs, remarks), remarks


def _step_back(table: UserTable, name: str) -> str | None:
    """Where dates do not go forward; None where they do."""
    row, cells = first_step_back(table.cells[name]), table.cells[name]
    if row is None:
        return None
    before, after = in_comment([cells[row - 1]]), in_comment([cells[row]])
    return f"line {table.lines[row]}: `{after}` follows `{before}`"


def _dates(count: int) -> str:
    return f"{count} different dates" if count > 1 else "1 date"


def _left_out(table: UserTable, columns: list[Column]) -> list[str]:
    counting = [column.name for column in columns if column.is_numeric and column.numbers_rows]
    others = [
        column.name
        for column in columns
        if column.name not in counting and not column.misfit and not is_misnamed(column)
    ]
    cells = {name: table.cells[name] for name in others}
    dates = {*date_columns(cells), *few_dates(cells)}
    reasons = {
        "it numbers the rows": counting,
        "an input cannot have the name": [column.name for column in columns if is_misnamed(column)],
        "dates": [name for name in others if name in dates],
        "texts or empty": [name for name in others if name not in dates],
    }
    remarks = [f"left out ({reason}): {in_comment(names)}" for reason, names in reasons.items() if names]
    remarks += [f"left out (without a name): column {', '.join(map(str, table.nameless))}"] if table.nameless else []
    remarks += [f"left out (lists or objects): {in_comment(list(table.unread))}"] if table.unread else []
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


def _model_name(path: Path, names: FreeNames) -> str:
    """The name of the file in capitals; that of a layer would hide it."""
    stem = unicodedata.normalize("NFC", spec_path(path).stem)  # macOS has accents as characters of their own
    name = "".join(word.capitalize() for word in re.findall(r"[^\W_]+", stem)) or "Table"
    name = name if name[0].isalpha() else f"Table{name}"
    free = names.take(name)
    return free if free == name else names.take(f"{name}Model")


def _comments(remarks: list[str]) -> str:
    return "".join(f"# {remark[0].upper()}{remark[1:]}.\n" for remark in remarks)


def _spec(table: UserTable, target: Column, inputs: list[Column], remarks: list[str]) -> str:
    path, count = table.path, len(inputs)
    names = FreeNames(column.name for column in inputs if not column.is_numeric)
    name = _model_name(path, names)
    model, file = in_comment([spec_path(path).name]), in_comment([path.name])
    read = InputColumns.of(inputs, names)
    hidden, rate = names.take("hidden"), names.take("rate")
    layers = f"Dense({hidden}, relu) -> Dropout({rate}) -> Dense({hidden}, relu)"
    columns = f"inputs: {listed(inputs)}, targets: [{quoted(target.name)}]"
    fill = ' -> fill("mean")' if any(column.has_gaps for column in (*inputs, target)) else ""
    what = " of numbers" if all(column.is_numeric for column in inputs) else ""
    others = f"the {count} columns" if count > 1 else "the column"
    missing = f"#\n{_comments(remarks)}" if remarks else ""
    if target.is_classes:
        size = len(target.values)
        result, label, probability = names.take("logits"), names.take("label"), names.take("probability")
        output = f"Dense({size})\n    output {result}\n    output {probability} = softmax({result}, axis: -1)"
        declared, after = f"target {label}: i64[batch]", f"  # one of {size} classes"
        loss, metric = f"cross_entropy({result}, {label})", f"accuracy({result}, {label})"
    else:
        result, value = names.take("y"), names.take("value")
        output, declared, after = f"Dense(1)\n    output {result}", f"target {value}: [batch, 1]", ""
        loss, metric = f"mse({result}, {value})", f"mae({result}, {value})"
    return f"""# Predicts {in_comment([target.name])} from {others}{what} in {file}.
#
#   nablac train {shell_word(model)}
#   nablac eval runs/{name.lower()}/1
#   nablac predict runs/{name.lower()}/1 {shell_word(file)}
{missing}
model {name}({hidden} = 32, {rate} = 0.1) {{
    \"\"\"Two layers of `{hidden}` units.\"\"\"
    input {read.declared}

{read.equations}    {result} = {read.joined} -> {layers} -> {output}
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
    data {table.source}{fill}{read.stages} -> standardize() -> columns({columns})
}}
"""
