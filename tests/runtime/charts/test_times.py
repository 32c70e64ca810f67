"""Ticks of dates and times are where a calendar has its ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.charts.lines import Series, line_chart
from runtime.charts.times import seconds_of, time_scale
from tests.runtime.charts.drawings import outside, parsed, texts


@pytest.mark.parametrize(
    ("first", "last", "labels"),
    [
        ("1949-01-01", "1960-12-01", ["1950", "1952", "1954", "1956", "1958", "1960"]),
        ("2023-11-10", "2024-03-20", ["Dec 2023", "Jan 2024", "Feb", "Mar"]),
        ("2023-12-30", "2024-01-03", ["Dec 30, 2023", "Dec 31", "Jan 1, 2024", "Jan 2", "Jan 3"]),
        ("2024-02-28T20:00", "2024-02-29T08:00", ["Feb 28 21:00", "Feb 29, 2024", "03:00", "06:00"]),
        ("2024-05-05T12:00:00", "2024-05-05T12:00:03", ["May 5 12:00", "12:00:01", "12:00:02", "12:00:03"]),
        ("0001-01-01", "9999-12-31", ["2000", "4000", "6000", "8000"]),
    ],
)  # fmt: skip
def test_labels_are_those_of_the_calendar(first: str, last: str, labels: list[str]) -> None:
    low, high = (seconds_of(datetime.fromisoformat(text)) for text in (first, last))
    assert [label for _, label in time_scale([low, high]).ticks] == labels


@given(st.datetimes(), st.floats(0, 1e10))
def test_ticks_lie_on_the_scale_in_their_order(first: datetime, span: float) -> None:
    low = seconds_of(first)
    scale = time_scale([low, low + span])
    shares = [scale.share(tick) for tick, _ in scale.ticks]
    assert shares == sorted(set(shares)) and all(-1e-6 <= share <= 1 + 1e-6 for share in shares)
    assert len(shares) <= 12


def test_a_time_zone_is_left_out_of_account() -> None:
    time = datetime(2024, 3, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert seconds_of(time) == datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp()


def test_a_chart_over_time_has_dates_below_it() -> None:
    days = [seconds_of(datetime(2024, 1, 1) + timedelta(days=index)) for index in range(60)]
    root = parsed(line_chart("t", [Series("load", days, range(60))], times=True))
    assert {"Jan 15, 2024", "Jan 29"} <= set(texts(root)) or {"Jan 4, 2024", "Jan 18"} <= set(texts(root))
    assert not list(outside(root))


@pytest.mark.parametrize("values", [[], [5.0], [1e18, 2e18], [0.0, 0.5]])
def test_what_no_calendar_has_is_a_number(values: list[float]) -> None:
    root = parsed(line_chart("t", [Series("a", values, values)], times=True))
    assert not list(outside(root))
