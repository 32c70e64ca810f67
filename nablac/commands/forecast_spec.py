"""A spec that forecasts a column of a user's table, for the series in it."""

from __future__ import annotations

from grammar.visible import shell_word
from nablac.commands.free_names import FreeNames
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


def forecast_remarks(table: UserTable, series: SeriesOfTable, target: Column, numbers: list[Column]) -> list[str]:
    """What the spec takes the table for, and why."""
    rhythm = series.rhythm()
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
    if gaps := [_named(column) for column in numbers if column.has_gaps]:
        remarks.append(f"missing cells take the last number before them: {', '.join(gaps)}")
    return remarks


def forecast_spec(
    table: UserTable,
    series: SeriesOfTable,
    target: Column,
    numbers: list[Column],
    name: str,
    names: FreeNames,
    notes: str,
) -> str:
    """The text of the spec: it reads the columns `numbers`, with the target first, and what the dates say.

    Its model has this name, and `names` are those that are free beside it.
    """
    rhythm = series.rhythm()
    scaled = [column.name for column in numbers]
    features = _features(rhythm.features, series.dates, table)
    calendar = [added for added in Calendar(series.dates, features, "").names if added.endswith(("_sin", "_cos"))]
    columns = [*scaled, *calendar]
    stages = [table.source]
    if series.keys:
        stages.append(f"by({_list(series.keys)})")
    if series.missing:
        stages.append(f'fill("forward", rows: {quoted(series.dates)})')
    elif any(column.has_gaps for column in numbers):
        stages.append('fill("forward")')
    if calendar:
        format = f", format: {quoted(series.format)}" if series.format else ""
        stages.append(f"calendar({quoted(series.dates)}, features: {_list(features, always=True)}{format})")
    stages.append(f"standardize({_list(scaled)})")
    window = f"length: {rhythm.length}, horizon: {rhythm.horizon}, target: {quoted(target.name)}"
    stages.append(f"window({_list(columns)},\n{' ' * 22}{window})")
    data = f"\n{' ' * 12}-> ".join(stages)
    file, model = shell_word(in_comment([table.path.name])), in_comment([spec_path(table.path).name])
    rows = f"{rhythm.horizon} rows" if rhythm.horizon > 1 else "row"
    of_each = " of each series" if series.keys else ""
    past = names.take("past", but=table.cells)  # an input with the name of a column would take that column alone
    return f"""# Forecasts {in_comment([target.name])} in {in_comment([table.path.name])}: the next {rows}{of_each}.
#
#   nablac train {shell_word(model)}
#   nablac eval runs/{name.lower()}/1
#   nablac predict runs/{name.lower()}/1 {file}
#
{notes}
model {name}(units = 32) {{
    \"\"\"A recurrent layer over {rhythm.length} rows; its last state is the forecast.\"\"\"
    input {past}: [batch, time, {len(columns)}]

    output y = {past} -> GRU(units) -> Dense({rhythm.horizon}) -> unsqueeze(-1)
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
