"""A spec that forecasts a column of a user's table, for the series in it."""

from __future__ import annotations

from grammar.visible import shell_word
from nablac.commands.free_names import FreeNames
from nablac.commands.future_rows import FutureRows, future_rows
from nablac.commands.table_columns import Column, UserTable, in_comment, quoted, spec_path
from nablac.commands.table_series import SeriesOfTable
from runtime.data.calendar_features import Calendar


def possible_keys(table: UserTable) -> list[str]:
    """Columns that may tell series apart: texts first, then whole numbers."""
    rows = len(next(iter(table.cells.values())))
    keys = [
        column
        for column in table.columns
        if not column.has_gaps
        and 2 <= len(set(table.cells[column.name])) <= rows / 8
        and (not column.is_numeric or all(value.isdigit() for value in column.values))
    ]
    return [column.name for column in sorted(keys, key=lambda column: column.is_numeric)]


def forecast_remarks(
    series: SeriesOfTable, target: Column, numbers: list[Column], future: FutureRows | None
) -> list[str]:
    """What the spec takes the table for, and why."""
    rhythm = future.rhythm if future is not None else series.rhythm()
    rows = f"{rhythm.horizon} rows" if rhythm.horizon > 1 else "row"
    remarks = [
        f"forecasts the next {rows} of {_named(target)}: the dates in {_named(series.dates)} go forward, "
        f"by {series.step_text}"
    ]
    if series.format:
        remarks.append(f"the dates may be read in two ways; `{series.format}` is the more regular one")
    if series.keys:
        by = " and ".join(_named(key) for key in series.keys)
        remarks.append(f"there are {series.count:,} series, by {by}: dates go forward within each")
    if series.missing:
        rows_are = "1 row is" if series.missing == 1 else f"{series.missing:,} rows are"
        remarks.append(f"{rows_are} missing, by the dates: inserted, with the last numbers before them")
    if future is not None:
        if series.keys and future.total == future.count * series.count:
            of_each = f"at the end of each of {series.count:,} series"
            last = f"1 row {of_each} lacks" if future.count == 1 else f"{future.count:,} rows {of_each} lack"
        elif series.keys:
            last = f"{future.total:,} rows at the ends of {series.count:,} series lack"
        else:
            last = "the last row lacks" if future.total == 1 else f"the last {future.total:,} rows lack"
        at_once = f"; it predicts {rhythm.horizon} rows ahead" if rhythm.horizon < future.count else ""
        listed = ", ".join(map(_named, (series.dates, *future.known)))
        remarks.append(f"{last} {_named(target)}: to be predicted by {listed}{at_once}")
    if gaps := [_named(column) for column in numbers if has_gaps(column, future)]:
        remarks.append(f"missing cells take the last number before them: {', '.join(gaps)}")
    return remarks


def forecast_spec(
    table: UserTable,
    series: SeriesOfTable,
    target: Column,
    numbers: list[Column],
    future: FutureRows | None,
    name: str,
    names: FreeNames,
    notes: str,
) -> str:
    """The text of the spec: it reads the columns `numbers`, with the target first, and what the dates say.

    Where the table has rows to predict, it also reads what is known of them.

    Its model has this name, and `names` are those that are free beside it.
    """
    rhythm = future.rhythm if future is not None else series.rhythm()
    scaled = [column.name for column in numbers]
    features, calendar = _calendar(table, series)
    columns = [*scaled, *calendar]
    stages = [table.source]
    if series.keys:
        stages.append(f"by({_list(series.keys)})")
    if series.missing:
        stages.append(f'fill("forward", rows: {quoted(series.dates)})')
    elif any(has_gaps(column, future) for column in numbers):
        stages.append('fill("forward")')
    if calendar:
        format = f", format: {quoted(series.format)}" if series.format else ""
        stages.append(f"calendar({quoted(series.dates)}, features: {_list(features, always=True)}{format})")
    stages.append(f"standardize({_list(scaled)})")
    window = f"length: {rhythm.length}, horizon: {rhythm.horizon}, target: {quoted(target.name)}"
    known = [*future.known, *calendar] if future is not None else []
    window += f", known: {_list(known, always=True)}" if known else ""
    stages.append(f"window({_list(columns)},\n{' ' * 22}{window})")
    data = f"\n{' ' * 12}-> ".join(stages)
    file, model = shell_word(in_comment([table.path.name])), in_comment([spec_path(table.path).name])
    rows = f"{rhythm.horizon} rows" if rhythm.horizon > 1 else "row"
    of_each = " of each series" if series.keys else ""
    past = names.take("past", but=table.cells)  # an input with the name of a column would take that column alone
    body = f"""\"\"\"A recurrent layer over {rhythm.length} rows; its last state is the forecast.\"\"\"
    input {past}: [batch, time, {len(columns)}]

    output y = {past} -> GRU(units) -> Dense({rhythm.horizon}) -> unsqueeze(-1)"""
    if known:
        ahead = names.take("future", but=table.cells)
        body = f"""\"\"\"A recurrent layer over {rhythm.length} rows, then one over what is known of those ahead.\"\"\"
    input {past}: [batch, time, {len(columns)}], {ahead}: [batch, {rhythm.horizon}, {len(known)}]

    context = {past} -> GRU(units) -> Dense({rhythm.horizon}) -> unsqueeze(-1)  # a number for each row ahead
    output y = concat([context, {ahead}], axis: -1) -> GRU(units, sequences: true) -> Dense(1)"""
    return f"""# Forecasts {in_comment([target.name])} in {in_comment([table.path.name])}: the next {rows}{of_each}.
#
#   nablac train {shell_word(model)}
#   nablac eval runs/{name.lower()}/1
#   nablac predict runs/{name.lower()}/1 {file}
#
{notes}
model {name}(units = 32) {{
    {body}
}}

train {name} {{
    target next: [batch, {rhythm.horizon}, 1]
    loss mse(y, next)
    metric mae(y, next)
    optimizer adam(lr: 3e-3)
    epochs 50
    patience 8  # epochs without improvement, after which it stops
    batch 32
    validation 0.2  # the last rows{of_each}
    data {data}
}}
"""


def rows_to_predict(
    table: UserTable, series: SeriesOfTable, target: Column, numbers: list[Column]
) -> FutureRows | None:
    """The rows at the end that lack the target, where something is known of them: other `numbers`, or their dates."""
    others = [column.name for column in numbers if column is not target]
    future = future_rows(table.cells, series, target.name, others)
    return future if future is not None and (future.known or _calendar(table, series)[1]) else None


def _calendar(table: UserTable, series: SeriesOfTable) -> tuple[tuple[str, ...], list[str]]:
    """The features of the dates that the spec reads, and their columns."""
    features = _features(series.rhythm().features, series.dates, table)
    return features, [name for name in Calendar(series.dates, features, "").names if name.endswith(("_sin", "_cos"))]


def has_gaps(column: Column, future: FutureRows | None) -> bool:
    """Whether a column has missing cells in rows that are past."""
    return column.name in future.with_gaps if future is not None else column.has_gaps


def _features(usual: tuple[str, ...], dates: str, table: UserTable) -> tuple[str, ...]:
    """Those of the features whose columns the table does not have already; for the month the day of the year."""
    free = [name for name in usual if not table.cells.keys() & set(Calendar(dates, (name,), "").names)]
    if not free and usual and usual != ("yearday",):
        return _features(("yearday",), dates, table)
    return tuple(free)


def _named(column: Column | str) -> str:
    return f"`{in_comment([column if isinstance(column, str) else column.name])}`"


def _list(names: tuple[str, ...] | list[str], *, always: bool = False) -> str:
    shown = ", ".join(map(quoted, names))
    return f"[{shown}]" if always or len(names) > 1 else shown
