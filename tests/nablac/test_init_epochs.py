"""`nablac init` on dates that programs count from 1970: they are numbers, which it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.command_line import invoke

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
TRAIN = "train it:  nablac train x.model\n"


def seconds(number: int, step: timedelta) -> int:
    return int((FIRST + number * step).timestamp())


HOUR, ODD = timedelta(hours=1), timedelta(seconds=3611)
UNITS = [
    ("hours", "t", HOUR, 1, "seconds", "s"),
    ("hours", "t", HOUR, 10**3, "milliseconds", "ms"),
    ("hours", "t", HOUR, 10**6, "microseconds", "us"),
    ("hours", "t", HOUR, 10**9, "nanoseconds", "ns"),
    ("any steps forward", "t", ODD, 10**3, "milliseconds", "ms"),
    ("a name of dates", "sold_date", ODD, 1, "seconds", "s"),
]


@pytest.mark.parametrize(
    ("name", "step", "factor", "unit", "short"), [case[1:] for case in UNITS], ids=[f"{c[0]}, {c[4]}" for c in UNITS]
)
def test_numbers_that_look_like_dates_are_noted(
    name: str, step: timedelta, factor: int, unit: str, short: str, tmp_path: Path
) -> None:
    rows = [(seconds(number, step) * factor, number % 7 + 0.5) for number in range(60)]
    (tmp_path / "x.csv").write_text(f"{name},v\n" + "".join(f"{t},{v}\n" for t, v in rows))
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({name: t, "v": v}) + "\n" for t, v in rows))
    what = (
        f"`{name}` is read as numbers, and looks like dates in {unit} since 1970 (`{1704067200 * factor}` is "
        "2024-01-01 00:00:00): for a forecast write them as dates, as"
    )
    advice = {
        "x.csv": f'`pandas.to_datetime(..., unit="{short}")` makes them',
        "x.jsonl": 'pandas does with `to_json(..., date_format="iso")`',
    }
    for file, how in advice.items():
        done = invoke("init", file, folder=tmp_path)
        assert done.stderr == f"note: {what} {how}\n{TRAIN}"
        (tmp_path / "x.model").unlink()
    assert invoke("init", "forecast", "x.csv", folder=tmp_path).stderr == (
        "error[E823]: x.csv has no column of dates that go forward, in all rows or in each of several series\n"
        f" --> x.csv\n  = {what} {advice['x.csv']}\n"
    )


OTHERS: dict[str, Callable[[int], object]] = {
    "a counter": lambda number: 1_700_000_001 + number,
    "numbers of telephones": lambda number: 1_700_000_000 + number * 104729 % 999_983,
    "small numbers": lambda number: 60 * number,
    "one number": lambda number: 1_704_067_200_000,
    "fractions": lambda number: f"17040672{number:02}000.5",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_numbers_are_not_called_dates(kind: str, tmp_path: Path) -> None:
    rows = [f"{OTHERS[kind](number)},{number % 7 + 0.5}\n" for number in range(60)]
    (tmp_path / "x.csv").write_text("n,v\n" + "".join(rows))
    assert invoke("init", "x.csv", folder=tmp_path).stderr == TRAIN
