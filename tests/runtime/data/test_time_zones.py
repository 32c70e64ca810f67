"""Dates with UTC offsets: rows follow each other as instants do, and features are those of the local times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from nablac.commands.table_series import series_of
from runtime.data import table_blocks
from runtime.data.calendar_features import Calendar
from runtime.data.date_steps import dates_of, missing_rows, step_of
from runtime.data.dates import continued, moments
from runtime.data.file_rows import VARIABLE
from runtime.data.instants import at_local, local
from tests.runtime.data.descriptions import load, refused

BERLIN = ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = datetime(2024, 3, 29, tzinfo=UTC), datetime(2024, 10, 25, tzinfo=UTC)  # clocks change in the third day
HOUR = timedelta(hours=1)


def hours(first: datetime, missing: Sequence[int] = ()) -> list[datetime]:
    """A hundred hours in Berlin, of which some are missing."""
    return [(first + number * HOUR).astimezone(BERLIN) for number in range(100) if number not in missing]


def local_days(hour: int = 0) -> list[datetime]:
    """A year of days in Berlin, at the same local time."""
    return [datetime(2024, 1, 1, hour, tzinfo=BERLIN) + timedelta(days=day) for day in range(366)]


def local_months() -> list[datetime]:
    return [datetime(2020 + month // 12, month % 12 + 1, 1, tzinfo=BERLIN) for month in range(48)]


MISSING: dict[str, tuple[list[datetime], dict[int, int]]] = {
    "hours in autumn": (hours(AUTUMN), {}),
    "hours in spring": (hours(SPRING), {}),
    "the second of two hours of one name": (hours(AUTUMN, [49]), {49: 1}),
    "hours around one that clocks skip": (hours(SPRING, [48, 49, 50]), {48: 3}),
    "days": (local_days(), {}),
    "days at an hour that clocks skip or repeat": (local_days(2), {}),
    "days of 24 hours": ([datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)], {}),
    "days without the one on which clocks change": ([*local_days()[:90], *local_days()[91:]], {90: 1}),
    "months": (local_months(), {}),
    "months without one": ([*local_months()[:9], *local_months()[10:]], {9: 1}),
}


@pytest.mark.parametrize("case", MISSING)
def test_rows_are_missing_by_instants_or_by_days(case: str) -> None:
    dates, missing = MISSING[case]
    fixed = [datetime.fromisoformat(str(date.astimezone(BERLIN))) for date in dates]  # as texts say them
    for form in (dates, fixed):
        of_form = dates_of(form)
        counted = missing_rows(of_form, step_of(of_form))
        assert {row: count for row, count in enumerate(counted.tolist()) if count} == missing


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("first", [SPRING, AUTUMN])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_are_inserted_as_pandas_does(
    tmp_path: Path, suffix: str, first: datetime, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`asfreq` in Berlin, also where clocks change among the missing rows; texts keep the offset before them."""
    pandas = pytest.importorskip("pandas")
    if stored:
        monkeypatch.setenv(VARIABLE, "1")
        monkeypatch.setattr(table_blocks, "_AT_ONCE", 37)
    for missing in ((), (20, 47, 48, 49, 50)):
        index = pandas.DatetimeIndex(hours(first, missing), name="when").as_unit("us")
        table = pandas.DataFrame({"v": np.arange(float(len(index)))}, index)
        path = tmp_path / f"t.{suffix}"
        table.reset_index().to_csv(path, index=False) if suffix == "csv" else table.reset_index().to_parquet(path)
        whole = table.asfreq("h").ffill()
        notes: dict[str, list[str]] = {}
        data = f'{suffix}("t.{suffix}") -> fill("forward", rows: "when") -> calendar("when", features: "hour")'
        data += ' -> window(["v", "hour"], length: 2, target: "v")'
        examples = load(tmp_path, data, "x: f64[batch, 2, 2]", "t: f64[batch, 1]", notes=notes, keeps_raw=True)
        kept = [row for row, moment in enumerate(whole.index[2:]) if moment in index]
        hour = whole.index.hour.to_numpy(copy=True)
        if suffix == "csv" and missing:  # from the 47th hour on in the offset of the 46th
            hour[47:51] = (hour[46] + np.arange(1, 5)) % 24
        expected = np.stack([whole["v"], hour], axis=1)
        np.testing.assert_array_equal(examples.arrays["x"][:], [expected[row : row + 2] for row in kept])
        assert [note for note in notes if "inserted" in note or "date" not in note] == list(notes)
        if not stored:  # else the dates stay in the file
            assert examples.series is not None
            texts = examples.series.beside["when"]
            assert pandas.to_datetime(texts, utc=True).tolist() == whole.index.tz_convert(UTC).tolist()
            assert suffix == "csv" or texts == list(map(str, whole.index))


def rows_of(*texts: str) -> list[str]:
    """Ten hours, and then these dates."""
    return ["when,v", *(f"2024-10-27 {hour:02d}:00:00+02:00,{hour}" for hour in range(10)), *(f"{t},1" for t in texts)]


REFUSED = {
    "an instant twice, with two texts": (
        ["2024-10-27 08:00:00+01:00"],
        "E821 HERE/t.csv:12: column `when` has the date of the row before, `2024-10-27 09:00:00+02:00`, "
        "here written `2024-10-27 08:00:00+01:00`",
    ),
    "an earlier instant": (
        ["2024-10-27 10:00:00+04:00"],
        "E821 HERE/t.csv:12: column `when` goes back from `2024-10-27 09:00:00+02:00` to `2024-10-27 10:00:00+04:00`",
    ),
    "a date without an offset": (
        ["2024-10-27 10:00:00"],
        "E821 HERE/t.csv:12: column `when`: `2024-10-27 09:00:00+02:00` has a UTC offset, and "
        "`2024-10-27 10:00:00` has none",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_dates_that_do_not_go_on_as_instants(tmp_path: Path, case: str) -> None:
    texts, expected = REFUSED[case]
    (tmp_path / "t.csv").write_text("\n".join(rows_of(*texts)) + "\n")
    assert refused(tmp_path, 'csv("t.csv") -> fill("mean", rows: "when") -> window("v", length: 2)') == expected


@pytest.mark.parametrize("stage", ['fill("mean", rows: "when")', 'calendar("when", features: "hour")'])
def test_offsets_in_a_later_part_of_a_table_alone(tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is read ten rows at a time, of which the second ten have no offset."""
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(table_blocks, "_AT_ONCE", 10)
    later = [f"2024-10-27 {hour}:00:00" for hour in range(10, 20)]
    (tmp_path / "t.csv").write_text("\n".join(rows_of(*later)) + "\n")
    message = "column `when`: `2024-10-27 09:00:00+02:00` has a UTC offset, and `2024-10-27 10:00:00` has none"
    assert refused(tmp_path, f'csv("t.csv") -> {stage} -> window("v", length: 2)') == f"E821 HERE/t.csv:12: {message}"


@pytest.mark.parametrize("stored", [False, True])
def test_z_is_an_offset_as_any_other(tmp_path: Path, stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours in London, as JavaScript writes them; a part of the table that shows its form is in winter."""
    if stored:
        monkeypatch.setenv(VARIABLE, "1")
        monkeypatch.setattr(table_blocks, "_AT_ONCE", 10)
    london = [moment.astimezone(ZoneInfo("Europe/London")) for moment in hours(SPRING, [70])]
    texts = [moment.isoformat().replace("+00:00", "Z") for moment in london]
    (tmp_path / "t.csv").write_text("\n".join(["when,v", *(f"{text},{row}" for row, text in enumerate(texts))]) + "\n")
    notes: dict[str, list[str]] = {}
    data = 'csv("t.csv") -> fill("forward", rows: "when") -> calendar("when", features: "hour")'
    data += ' -> window("hour", length: 1, target: "v")'
    examples = load(tmp_path, data, "x: f64[batch, 1, 1]", "t: f64[batch, 1]", notes=notes, keeps_raw=True)
    assert sum("1 row that is missing" in note for note in notes) == 1
    every = [moment.astimezone(ZoneInfo("Europe/London")) for moment in hours(SPRING)]
    assert examples.arrays["x"][:].ravel().tolist() == [moment.hour for moment in (*every[:69], *every[70:99])]
    if not stored:  # else the dates stay in the file
        assert examples.series is not None
        assert examples.series.beside["when"][70] == every[70].isoformat()


def test_features_are_those_of_local_times() -> None:
    texts = ["2024-10-27 02:00:00+02:00", "2024-10-27 01:00:00+01:00", "2024-10-27 02:00:00+01:00"]
    assert Calendar("when", ("hour",), "%Y-%m-%d %H:%M:%S%z").numbers("hour", texts).tolist() == [2, 1, 2]


@pytest.mark.parametrize("cells", [hours(AUTUMN)[:50], hours(SPRING)[:47], local_days()[:90]])
def test_dates_of_a_zone_go_on_in_it(cells: list[datetime]) -> None:
    """Over the change of clocks: hours by instants, days by local times."""
    how = continued(cells)
    assert how is not None and how.regular
    if how.what == "1 hour":
        expected = [(cells[-1].astimezone(UTC) + step * HOUR).astimezone(BERLIN) for step in (1, 2, 3)]
    else:
        expected = [datetime(2024, 3, day, tzinfo=BERLIN) for day in (31,)] + local_days()[91:93]
    assert list(map(str, map(how.after, (1, 2, 3)))) == list(map(str, expected))


@pytest.mark.parametrize("fold", [0, 1])
def test_local_times_are_those_of_the_zone(fold: int) -> None:
    """Each half hour of a year: one that clocks repeat has the offset asked for, and one that they skip is later."""
    for half in range(2 * 24 * 366):
        time = datetime(2024, 1, 1) + half * HOUR / 2
        expected = time.replace(tzinfo=BERLIN).astimezone(UTC)
        if local(expected.astimezone(BERLIN)) == time:  # which clocks do not skip
            expected = time.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)
        assert at_local(time, BERLIN, timedelta(hours=1 if fold else 2)).astimezone(UTC) == expected


def test_an_axis_of_time_goes_forward_where_clocks_go_back() -> None:
    times = moments([str(moment) for moment in hours(AUTUMN)])
    assert times == [datetime(2024, 10, 25, 2) + number * HOUR for number in range(100)]


def test_a_first_spec_forecasts_local_hours_and_days() -> None:
    series = series_of({"when": list(map(str, hours(AUTUMN, [50])))}, [])
    assert series is not None and (series.step_text, series.missing) == ("1 hour", 1)
    series = series_of({"when": list(map(str, [*local_days()[:88], *local_days()[91:]]))}, [])
    assert series is not None and (series.step_text, series.missing) == ("1 day", 3)
