"""Dates and counts that go on beyond the last row, as they are written."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.dates import continued

# The last cells, what their step is called, and the cells that follow
CASES: dict[str, tuple[list[Any], str, list[Any]]] = {
    "months": (["1960-11", "1960-12"], "1 month", ["1961-01", "1961-02"]),
    "months by name": (["Nov 1949", "Dec 1949"], "1 month", ["Jan 1950", "Feb 1950"]),
    "quarters": (["2023Q3", "2023Q4"], "1 quarter", ["2024Q1", "2024Q2"]),
    "years": (["1898", "1899"], "1", ["1900", "1901"]),
    "years as dates": (["2023-01-01", "2024-01-01"], "1 year", ["2025-01-01", "2026-01-01"]),
    "first days of months": (["01.12.2024", "01.01.2025"], "1 month", ["01.02.2025", "01.03.2025"]),
    "last days of months": (["2024-01-31", "2024-02-29", "2024-03-31"], "1 month", ["2024-04-30", "2024-05-31"]),
    "the 30th": (["2023-01-30", "2023-02-28", "2023-03-30"], "1 month", ["2023-04-30", "2023-05-30"]),
    "quarters as dates": (["2024-01-01", "2024-04-01"], "3 months", ["2024-07-01", "2024-10-01"]),
    "days over a leap day": (["2024-02-27", "2024-02-28"], "1 day", ["2024-02-29", "2024-03-01"]),
    "weeks": (["2024-12-23", "2024-12-30"], "1 week", ["2025-01-06", "2025-01-13"]),
    "working days": (
        ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"],
        "1 working day",
        ["2024-03-13", "2024-03-14"],
    ),
    "working days to a weekend": (
        ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12", "2024-03-13", "2024-03-14", "2024-03-15"],
        "1 working day",
        ["2024-03-18", "2024-03-19"],
    ),
    "hours over midnight": (
        ["2024-01-01 22:00", "2024-01-01 23:00"],
        "1 hour",
        ["2024-01-02 00:00", "2024-01-02 01:00"],
    ),
    "a quarter of an hour": (
        ["2024-01-01T00:15", "2024-01-01T00:30"],
        "15 minutes",
        ["2024-01-01T00:45", "2024-01-01T01:00"],
    ),
    "in UTC": (
        ["2024-01-01T22:00:00Z", "2024-01-01T23:00:00Z"],
        "1 hour",
        ["2024-01-02T00:00:00Z", "2024-01-02T01:00:00Z"],
    ),
    "in a time zone": (
        ["2024-01-01T22:00:00+01:00", "2024-01-01T23:00:00+01:00"],
        "1 hour",
        ["2024-01-02T00:00:00+01:00", "2024-01-02T01:00:00+01:00"],
    ),
    "hours that clocks repeat": (
        ["2024-10-27 02:00:00+02:00", "2024-10-27 02:00:00+01:00", "2024-10-27 03:00:00+01:00"],
        "1 hour",
        ["2024-10-27 04:00:00+01:00", "2024-10-27 05:00:00+01:00"],
    ),
    "over an hour that clocks skip": (
        ["2024-03-31T01:30+0100", "2024-03-31T03:00+0200", "2024-03-31T03:30+0200"],
        "30 minutes",
        ["2024-03-31T04:00+0200", "2024-03-31T04:30+0200"],
    ),
    "days as clocks change": (
        ["2024-03-30 00:00+01:00", "2024-03-31 00:00+01:00", "2024-04-01 00:00+02:00"],
        "1 day",
        ["2024-04-02 00:00+02:00", "2024-04-03 00:00+02:00"],
    ),
    "days of 24 hours as clocks change": (
        ["2024-03-30 01:00+01:00", "2024-03-31 01:00+01:00", "2024-04-01 02:00+02:00", "2024-04-02 02:00+02:00"],
        "1 day",
        ["2024-04-03 02:00+02:00", "2024-04-04 02:00+02:00"],
    ),
    "months as clocks change": (
        ["2024-02-01 00:00+01:00", "2024-03-01 00:00+01:00", "2024-04-01 00:00+02:00"],
        "1 month",
        ["2024-05-01 00:00+02:00", "2024-06-01 00:00+02:00"],
    ),
    "with Z for no offset": (
        ["2024-03-31T00:00:00Z", "2024-03-31T02:00:00+01:00", "2024-03-31T03:00:00+01:00"],
        "1 hour",
        ["2024-03-31T04:00:00+01:00", "2024-03-31T05:00:00+01:00"],
    ),
    "with the hours of an offset alone": (
        ["2024-10-27 02:30:00.5+02", "2024-10-27 02:00:00.5+01", "2024-10-27 02:30:00.5+01"],
        "30 minutes",
        ["2024-10-27 03:00:00.5+01", "2024-10-27 03:30:00.5+01"],
    ),
    "thousandths": (
        ["2024-01-01 00:00:00.250", "2024-01-01 00:00:00.500"],
        "0.25 seconds",
        ["2024-01-01 00:00:00.750", "2024-01-01 00:00:01.000"],
    ),
    "day before month": (["11/01/2024", "12/01/2024", "13/01/2024"], "1 day", ["14/01/2024", "15/01/2024"]),
    "month before day": (["01/11/2024", "01/12/2024", "01/13/2024"], "1 day", ["01/14/2024", "01/15/2024"]),
    "without zeros": (
        ["1/8/2024", "1/9/2024", "1/10/2024", "1/11/2024", "1/12/2024", "1/13/2024"],
        "1 day",
        ["1/14/2024", "1/15/2024"],
    ),
    "digits alone": (["20240130", "20240131"], "1 day", ["20240201", "20240202"]),
    "numbers that count": (["7", "9"], "2", ["11", "13"]),
    "numbers that count down": (["5", "4"], "-1", ["3", "2"]),
    "months from the last to the first": (["2024-02", "2024-01"], "-1 month", ["2023-12", "2023-11"]),
    "hours from the last to the first": (
        ["2024-01-01 01:00", "2024-01-01 00:00"],
        "-1 hour",
        ["2023-12-31 23:00", "2023-12-31 22:00"],
    ),
    "time stamps": (["1700000000", "1700003600"], "3600", ["1700007200", "1700010800"]),
    "Python's dates": ([date(2024, 1, 31), date(2024, 2, 29)], "1 month", [date(2024, 3, 31), date(2024, 4, 30)]),
    "Python's times": (
        [datetime(2024, 1, 1, 23), datetime(2024, 1, 2, 0)],
        "1 hour",
        [datetime(2024, 1, 2, 1), datetime(2024, 1, 2, 2)],
    ),
    "Python's numbers": ([3, 6], "3", [9, 12]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_column_goes_on_as_it_is_written(case: str) -> None:
    cells, what, following = CASES[case]
    how = continued(cells)
    assert how is not None and how.regular and how.descends == ("-" in what)
    assert (how.what, [how.after(1), how.after(2)]) == (what, following)


@pytest.mark.parametrize(
    "cells",
    [
        ["a", "b"],
        ["2024-01-01"],
        ["2024-01-01", "2024-01-01"],
        ["2024-01-01", "soon"],
        ["1", "2", "4"],
        ["5", "5"],
        ["1.5", "2.5"],
        ["2024-01-01", None],
        [True, False],
        ["2024Q1", "2024-Q2"],
        [1.5, 2.5],
        ["2024-01-01", "2024-01-03", "2024-01-09", "2024-01-10"],
        [],
    ],
)
def test_other_columns_do_not_go_on(cells: list[Any]) -> None:
    assert continued(cells) is None


def test_a_missing_day_is_told_from_a_rule() -> None:
    how = continued(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-05", "2024-01-06"])
    assert how is not None and not how.regular
    assert how.after(1) == "2024-01-07"


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from([60, 900, 3600, 86_400, 7 * 86_400]),
    st.sampled_from(["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M"]),
    st.integers(3, 40),
)
def test_what_follows_is_what_would_have_been_written(start: datetime, seconds: int, format: str, count: int) -> None:
    start = start.replace(second=0, microsecond=0)
    cells = [(start + timedelta(seconds=seconds * row)).strftime(format) for row in range(count + 5)]
    how = continued(cells[:count])
    assert how is not None
    assert [how.after(step) for step in range(1, 6)] == cells[count:]
