"""Rows that are missing from series altogether: inserted by the dates, filled as missing cells are, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from compiler.model_spec import mask_name
from grammar.diagnostics import NablacError
from runtime.data import filling, stored_rows, table_blocks
from runtime.data.examples import fitted_to
from runtime.data.file_rows import VARIABLE
from runtime.data.fitted import facts_of, parse_facts
from tests.runtime.data.descriptions import load, refused

FIRST = datetime(2024, 1, 1)
# The hours that are missing of each series: after the first, some within, of the last window, and before the first
GAPS = {"a": {1, 2, 20, 30, 31, 32, 58}, "b": {25, 26, 57}, "c": {0}}
COUNT, LENGTH = 60, 5


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on a table is read 37 rows at a time, and its numbers from a scratch file, a few at a time."""
    monkeypatch.setattr(filling, "_AT_ONCE", 16)

    def limit() -> None:
        monkeypatch.setenv(VARIABLE, "1")
        monkeypatch.setattr(stored_rows, "_AT_ONCE", 1000)
        monkeypatch.setattr(table_blocks, "_AT_ONCE", 37)

    return limit


def value(name: str, hour: int) -> float:
    return float(100 * "abc".index(name) + hour * hour % 17)


def hour_of(text: str) -> str:
    return (FIRST + timedelta(hours=int(text))).strftime("%Y-%m-%d %H:%M")


def write(folder: Path, rows: Iterable[str], header: str = "time,s,v") -> None:
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")


def write_series(folder: Path) -> None:
    hours = ((hour, name) for hour in range(COUNT) for name in GAPS if hour not in GAPS[name])
    write(folder, (f"{hour_of(str(hour))},{name},{value(name, hour)}" for hour, name in hours))


INSERTED = "10 rows that are missing by the dates in `time` are inserted, at a step of 1 hour (7 of `a`, 3 of `b`)"


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("method", ["forward", "mean", "interpolate"])
def test_series_are_filled_as_pandas_does(
    tmp_path: Path, method: str, stored: bool, on_disk: Callable[[], None]
) -> None:
    """`asfreq`, and then `ffill`, `fillna`, or within each window `interpolate`; missing targets have no window."""
    pandas = pytest.importorskip("pandas")
    write_series(tmp_path)
    if stored:
        on_disk()
    notes: dict[str, list[str]] = {}
    data = f'csv("t.csv") -> by("s") -> fill("{method}", rows: "time", flag: true) -> calendar("time", '
    data += f'features: "hour") -> window(["v", "missing_v", "hour"], length: {LENGTH}, target: "v")'
    examples = load(tmp_path, data, "x: f64[batch, time, 3]", "t: f64[batch, 1, 1]", notes=notes)
    table = pandas.read_csv(tmp_path / "t.csv", parse_dates=["time"])
    series = {name: part.set_index("time")["v"].asfreq("h") for name, part in table.groupby("s")}
    mean = table["v"].mean()
    windows, targets = [], []
    for raw in series.values():
        whole = raw.fillna(mean) if method == "mean" else raw.ffill()
        for begin in range(len(raw) - LENGTH):
            if np.isnan(raw.iloc[begin + LENGTH]):
                continue
            part = slice(begin, begin + LENGTH)
            filled = whole.iloc[part]
            if method == "interpolate":
                filled = raw.iloc[part].interpolate(limit_area="inside").fillna(filled)
            windows.append(np.stack([filled, raw.iloc[part].isna(), filled.index.hour], axis=1))
            targets.append(raw.iloc[begin + LENGTH])
    np.testing.assert_allclose(examples.arrays["x"][:], np.array(windows, float), rtol=1e-12)
    np.testing.assert_array_equal(examples.arrays["t"][:].ravel(), targets)
    assert notes[INSERTED] == [f"{tmp_path}/t.csv"]
    assert set(notes) == {INSERTED, "8 windows are left out, since targets in them are missing"}


@pytest.mark.parametrize("stored", [False, True])
def test_missing_targets_do_not_count_and_known_cells_are_filled(
    tmp_path: Path, stored: bool, on_disk: Callable[[], None]
) -> None:
    """Of twelve hours the fifth is missing; the price of it is known no more than its target."""
    write(tmp_path, (f"{hour_of(str(hour))},{hour},{10 * hour}" for hour in range(12) if hour != 4), "time,v,p")
    if stored:
        on_disk()
    data = 'csv("t.csv") -> fill("forward", rows: "time") -> calendar("time", features: "hour")'
    data += ' -> window("v", length: 2, horizon: 2, known: ["p", "hour"])'
    inputs = "x: f64[batch, 2, 1]; input k: f64[batch, 2, 2]"
    examples = load(tmp_path, data, inputs, "t: f64[batch, 2, 1]", masks=True)
    assert examples.arrays["k"][:3].tolist() == [[[20, 2], [30, 3]], [[30, 3], [30, 4]], [[30, 4], [50, 5]]]
    assert examples.arrays["x"][2:5].squeeze(2).tolist() == [[2, 3], [3, 3], [3, 5]]
    mask = examples.arrays[mask_name("t")]
    assert mask[:4].squeeze(2).tolist() == [[1, 1], [1, 0], [0, 1], [1, 1]]
    assert len(examples) == 12 - 3


def test_rows_to_predict_end_a_series_in_memory_and_on_disk(tmp_path: Path, on_disk: Callable[[], None]) -> None:
    """The last hours of `a` and `b` have prices alone; gaps before and within them are not filled in training."""
    last = {"a": 50, "b": 47}
    hours = [(hour, name) for hour in range(COUNT) for name in last if hour not in {*GAPS[name], last[name], 55}]
    cells = ("" if hour > last[name] else str(value(name, hour)) for hour, name in hours)
    rows = [f"{hour_of(str(hour))},{name},{v},{hour}" for (hour, name), v in zip(hours, cells, strict=True)]
    write(tmp_path, rows, "time,s,v,p")
    data = 'csv("t.csv") -> by("s") -> fill("interpolate", rows: "time") -> window("v", length: 3, known: "p")'
    of, notes = ("x: f64[batch, 3, 1]; input k: f64[batch, 1, 1]", "t: f64[batch, 1, 1]"), ({}, {})
    in_memory = load(tmp_path, data, *of, notes=notes[0])
    on_disk()
    stored = load(tmp_path, data, *of, notes=notes[1])
    assert notes[0] == notes[1] and any(note.startswith("8 rows that are missing") for note in notes[0])
    assert in_memory.parts.keys() == stored.parts.keys()
    for name, array in in_memory.arrays.items():
        np.testing.assert_array_equal(stored.arrays[name][:], array[:])
    known = {name: [hour for hour in range(last[name]) if hour not in GAPS[name]] for name in last}
    expected = [value(name, hour) for name, there in known.items() for hour in there if hour >= 3]
    assert in_memory.arrays["t"].ravel().tolist() == expected


def of_months(day: int, missing: set[int]) -> list[datetime]:
    """Two years of months at a day, or at their end."""
    days = (np.datetime64("2023-02") + np.arange(25)).astype("datetime64[D]")
    ends = [(first - np.timedelta64(1, "D")).astype(datetime) for first in days]
    chosen = [datetime(end.year, end.month, min(day, end.day)) for end in ends]
    return [moment for number, moment in enumerate(chosen) if number not in missing]


# How dates are written, which of them, and those that are inserted
FORMS: dict[str, tuple[str, list[datetime], list[str]]] = {
    "hours of Europe": (
        "%d.%m.%Y %H:%M",
        [FIRST + timedelta(hours=hour) for hour in range(20) if hour != 9],
        ["01.01.2024 09:00"],
    ),
    "with a time zone": (
        "%Y-%m-%dT%H:%M:%S+01:00",
        [FIRST + timedelta(minutes=15 * number) for number in range(20) if number != 3],
        ["2024-01-01T00:45:00+01:00"],
    ),
    "days without signs": ("%Y%m%d", [FIRST + timedelta(days=day) for day in range(70) if day != 59], ["20240229"]),
    "months at their ends": ("%Y-%m-%d", of_months(31, {1, 13}), ["2023-02-28", "2024-02-29"]),
    "months at the thirtieth": ("%Y-%m-%d", of_months(30, {4, 13}), ["2023-05-30", "2024-02-29"]),
    "months": ("%Y-%m", of_months(1, {7}), ["2023-08"]),
    "years": (
        "%Y-%m-%d",
        [datetime(year, 7, 1) for year in range(1990, 2020) if year not in (2000, 2001)],
        ["2000-07-01", "2001-07-01"],
    ),
}


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_inserted_rows_have_dates_as_the_others(
    tmp_path: Path, form: str, stored: bool, on_disk: Callable[[], None]
) -> None:
    format, moments, expected = FORMS[form]
    written = [moment.strftime(format) for moment in moments]
    write(tmp_path, (f"{text},{number}" for number, text in enumerate(written)), "time,v")
    if stored:
        on_disk()
    data = 'csv("t.csv") -> fill("forward", rows: "time") -> window("v", length: 1)'
    notes: dict[str, list[str]] = {}
    examples = load(tmp_path, data, "x: f64[batch, 1, 1]", "t: f64[batch, 1, 1]", notes=notes, keeps_raw=not stored)
    assert sum("inserted" in note for note in notes) == 1
    assert examples.starts is not None and len(set(np.diff(examples.starts))) <= 2
    if examples.series is not None:
        dates = examples.series.beside["time"]
        assert [text for text in dates if text not in written] == expected
        assert len(dates) == len(written) + len(expected)


HOURS = [hour_of(str(hour)) for hour in range(20)]


def table(*dates: str, others: str = "") -> list[str]:
    """Rows of these dates after twenty hours."""
    return [f"{date},a,{number}{others}" for number, date in enumerate([*HOURS, *dates])]


# Rows, what `fill` and the stages after it say, and the diagnostic
REFUSED: dict[str, tuple[list[str], str, str]] = {
    "dates that go back": (
        table("2024-01-01 05:00"),
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E821 HERE/t.csv:22: column `time` goes back from `2024-01-01 19:00` to `2024-01-01 05:00`",
    ),
    "a date twice": (
        table("2024-01-01 19:00"),
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E821 HERE/t.csv:22: column `time` has the date of the row before, `2024-01-01 19:00`",
    ),
    "no date": (
        table("soon"),
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E821 HERE/t.csv:22: column `time`: `soon` is not a date as the others are",
    ),
    "an empty cell": (
        table(""),
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E821 HERE/t.csv:22: column `time`: the cell is empty",
    ),
    "a column of no dates": (
        table(),
        'fill("mean", rows: "s") -> window("v", length: 2)',
        "E823 : column `s` of HERE/t.csv holds no dates: `a`",
    ),
    "a column that is not there": (
        table(),
        'fill("mean", rows: "when") -> window("v", length: 2)',
        "E822 : HERE/t.csv has no column `when`",
    ),
    "a date between two steps": (
        table("2024-01-01 20:30"),
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E821 HERE/t.csv:22: column `time`: from `2024-01-01 19:00` to `2024-01-01 20:30` are not whole steps of "
        "1 hour, at which `fill` inserts rows",
    ),
    "a year typed wrong": (
        ["1970-01-01 00:00,a,1", *table()],
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E821 HERE/t.csv:3: column `time`: from `1970-01-01 00:00` to `2024-01-01 00:00` 473,351 rows are missing at "
        "a step of 1 hour, more than the series has",
    ),
    "too few dates": (
        table()[:5],
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E823 : column `time` of HERE/t.csv has too few dates to tell their step",
    ),
    "working days": (
        [f"{(FIRST + timedelta(days=day)).date()},a,1" for day in range(60) if day % 7 < 5],
        'fill("mean", rows: "time") -> window("v", length: 2)',
        "E823 : column `time` of HERE/t.csv has no constant step: the most common one, 1 day, is 81% of all",
    ),
    "series of different steps": (
        [*table(), *(f"{FIRST + timedelta(days=day):%Y-%m-%d %H:%M},b,1" for day in range(20))],
        'by("s") -> fill("mean", rows: "time") -> window("v", length: 2)',
        "E823 : column `time` of HERE/t.csv has a step of 1 hour in the series `a`, and of 1 day in `b`",
    ),
    "a target that nothing fills": (
        table(),
        'fill("mean", columns: "s", rows: "time") -> window("v", length: 2)',
        "E823 : rows are inserted by the dates in `time`, and nothing fills `v` in them",
    ),
    "weights": (
        table(),
        'fill("mean", rows: "time") -> weights(column: "v") -> window("v", length: 2)',
        "E823 : rows are inserted by the dates in `time`, and have no weight in `v`",
    ),
    "rows that are examples of their own": (
        table(),
        'fill("mean", rows: "time") -> columns(inputs: "v")',
        'E823 : `fill("mean", rows: "time")` inserts the missing rows of a series',
    ),
}


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_inserted_is_refused(
    tmp_path: Path, case: str, stored: bool, on_disk: Callable[[], None]
) -> None:
    rows, stages, expected = REFUSED[case]
    write(tmp_path, rows)
    if stored:
        on_disk()
    assert refused(tmp_path, f'csv("t.csv") -> {stages}', inputs="x: f32[batch, time, 1]") == expected


def test_a_table_that_would_be_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty hours at a step of ten seconds, where 10,000 cells are allowed."""
    write(tmp_path, table())
    monkeypatch.setattr("runtime.boundary.MOST_CELLS", 10_000)
    stages = 'fill("mean", rows: "time", step: "10 seconds") -> window("v", length: 2)'
    message = "column `time`: with the rows that are missing, this file has 16,200 cells, and the limit is 10,000"
    actual = refused(tmp_path, f'csv("t.csv") -> {stages}', inputs="x: f32[batch, time, 1]")
    assert actual == f"E913 HERE/t.csv:17: {message}"


def test_dates_that_may_be_read_in_two_ways_have_a_hint_to_calendar(tmp_path: Path) -> None:
    write(tmp_path, [f"0{day}/02/2024,1" for day in range(1, 10)], "time,v")
    with pytest.raises(NablacError) as caught:
        load(tmp_path, 'csv("t.csv") -> fill("mean", rows: "time") -> window("v", length: 2)')
    hint = '`format: "%d/%m/%Y"` or `format: "%m/%d/%Y"` says which, in `calendar("time", ...)`'
    assert caught.value.diagnostics[0].hint == hint


def test_a_step_that_is_said(tmp_path: Path) -> None:
    """Of five rows, of which no step can be read, and of working days, whose weekends are then rows too."""
    data = 'csv("t.csv") -> fill("forward", rows: "time", step: "{}") -> window("v", length: 2, horizon: 1)'
    write(tmp_path, (f"{hour_of(str(hour))},{hour}" for hour in (0, 1, 2, 4, 5)), "time,v")
    examples = load(tmp_path, data.format("1 hour"), "x: f64[batch, 2, 1]", "t: f64[batch, 1, 1]")
    assert examples.arrays["x"][..., 0].tolist() == [[0, 1], [2, 2], [2, 4]]
    assert examples.arrays["t"].ravel().tolist() == [2, 4, 5]
    assert fitted_to(examples).date_steps == {"time": "1 hour"}
    days = [FIRST + timedelta(days=day) for day in range(28) if day % 7 < 5]
    write(tmp_path, (f"{day.date()},{day.day}" for day in days), "time,v")
    examples = load(tmp_path, data.format("1 day"), "x: f64[batch, 2, 1]", "t: f64[batch, 1, 1]")
    assert examples.arrays["x"][3:5, :, 0].tolist() == [[5, 5], [5, 8]]


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ('fill("mean", step: "1 hour")', "`fill`: `step` is that of the dates in the column `rows`"),
        (
            'fill("mean", rows: "time", step: "often")',
            '`step` of `fill` must be a step such as "1 hour" or "3 months", got the text "often"',
        ),
        (
            'fill("mean", columns: "v", rows: "time") -> fill("forward", columns: "w", rows: "time")',
            "`rows` of `fill` is set twice; one of the two would have no effect",
        ),
    ],
)
def test_arguments_that_contradict(tmp_path: Path, stage: str, message: str) -> None:
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("t.csv") -> {stage} -> window("v", length: 2)')
    assert caught.value.diagnostics[0].message == message


def test_the_step_is_kept_and_later_data_has_it(tmp_path: Path) -> None:
    """A table of three rows, which has no step of its own, is filled by that of the training."""
    write_series(tmp_path)
    data = 'csv("t.csv") -> by("s") -> fill("forward", rows: "time") -> window("v", length: 2)'
    fitted = fitted_to(load(tmp_path, data, "x: f64[batch, 2, 1]", "t: f64[batch, 1, 1]"))
    facts = json.loads(json.dumps(facts_of(fitted)))
    assert facts["date_steps"] == {"time": "1 hour"} and facts["dates"] == {"time": "%Y-%m-%d %H:%M"}
    assert parse_facts(facts, None).date_steps == fitted.date_steps
    for steps in ({}, {"time": "often"}):
        with pytest.raises(ValueError, match="the step at which rows are inserted is not there"):
            parse_facts({**facts, "date_steps": steps}, None)
    write(tmp_path, [f"{hour_of(str(hour))},new,{hour}" for hour in (3, 5, 6)])
    later = load(tmp_path, data, "x: f64[batch, 2, 1]", "t: f64[batch, 1, 1]", fitted=fitted)
    assert later.arrays["x"][..., 0].tolist() == [[3, 3], [3, 5]]
    assert later.arrays["t"].ravel().tolist() == [5, 6]
