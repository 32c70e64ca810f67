"""`nablac init` on tables with dates: the spec that it writes forecasts each series, with the dates that come next."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nablac.commands.table_series import series_of
from tests.command_line import invoke, succeed

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def lines_of(
    cells: Callable[[int, str], Sequence[object]],
    header: str,
    separator: str = ",",
    count: int = 200,
    series: Sequence[str] = ("",),
    interleaved: bool = False,
) -> str:
    """A table with a row for each number and series, one series below the other or in turns."""
    rows = [(number, name) for name in series for number in range(count)]
    rows = sorted(rows, key=lambda row: row[0]) if interleaved else rows
    lines = [separator.join(map(str, cells(number, name))) for number, name in rows]
    return "\n".join([header] * bool(header) + lines) + "\n"


def value(number: int, gap: int = 10**6) -> str:
    return "" if number % gap == 7 else f"{20 + 5 * math.sin(number / 4):.2f}"


def hours(number: int, format: str = "%Y-%m-%d %H:%M") -> str:
    return f"{datetime(2024, 3, 1) + number * HOUR:{format}}"


def days(number: int, format: str = "%Y-%m-%d") -> str:
    return f"{datetime(2023, 1, 1) + number * DAY:{format}}"


# name, table, file, what the spec says, the first two cells of the first prediction
TABLES = [
    (
        "semicolons, decimal commas, dates in German, gaps, two series below each other",
        lines_of(
            lambda number, name: [hours(number, "%d.%m.%Y %H:%M"), name, value(number, 31).replace(".", ","), "1,5"],
            "Zeit;Halle;Last;Druck", ";", count=300, series=("Nord", "Süd"),
        ),
        "werk.csv",
        ['csv("werk.csv", separator: ";", decimal: ",")', 'by("Halle")', 'fill("forward")',
         'calendar("Zeit", features: ["hour", "weekday"])', "length: 48, horizon: 24, target: \"Druck\""],
        ["Nord", "13.03.2024 12:00"],
    ),
    (
        "no header",
        lines_of(lambda number, name: [days(number), value(number)], ""),
        "daily.csv",
        ['csv("daily.csv", header: false)', 'calendar("0", features: ["weekday", "yearday"])', 'target: "1"'],
        ["2023-07-20", "1"],
    ),
    (
        "tabs, days before months, series in turns by a number, NA",
        lines_of(
            lambda number, name: [days(number, "%d/%m/%Y"), name, "NA" if number % 50 == 9 else value(number)],
            "date\tshop\tsales", "\t", series=("1", "2", "3"), interleaved=True,
        ),
        "shops.tsv",
        ['separator: "\\t"', 'by("shop")', 'fill("forward")', 'standardize("sales")', "length: 28, horizon: 7"],
        ["1", "20/07/2023"],
    ),
    (
        "months, a name that the calendar would take, a text",
        lines_of(
            lambda number, name: [f'"{2010 + number // 12}-{number % 12 + 1:02}"', value(number), f"n{number}"],
            'month,"sales, net",note', count=120,
        ),
        "month.csv",
        ['calendar("month", features: ["yearday"])', 'standardize("sales, net")', "# Left out (texts or empty): note."],
        ["2020-01", "1"],
    ),
    (
        "two keys, quarters of an hour, an identifier",
        lines_of(
            lambda number, name: [number, *name, f"{datetime(2024, 3, 1) + number * HOUR / 4:%Y-%m-%dT%H:%M:%S}",
                                  value(number)],
            "id|site|meter|ts|kwh", "|", count=300, series=("ax", "ay", "bx", "by"),
        ),
        "meters.csv",
        ['by(["site", "meter"])', "length: 48, horizon: 12"],
        ["a", "x"],
    ),
    (
        "rows that are missing in two series",
        lines_of(
            lambda number, name: [name, hours(number + (number > 90) + (5 if name == "b" and number > 150 else 0)),
                                  value(number)],
            "pump,at,flow", count=300, series=("a", "b"),
        ),
        "pumps.csv",
        ['by("pump")', 'fill("forward", rows: "at")', "length: 48, horizon: 24"],
        ["a", "2024-03-13 13:00"],
    ),
    (
        "dates that may be read in two ways",
        lines_of(
            lambda number, name: [f"01/{number % 12 + 1:02}/{2010 + number // 12}", value(number)], "date,v", count=96
        ),
        "first.csv",
        ['calendar("date", features: ["month"], format: "%d/%m/%Y")', "length: 12, horizon: 3"],
        ["01/01/2018", "1"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "file", "said", "first"), [case[1:] for case in TABLES], ids=[c[0] for c in TABLES])
def test_from_a_table_to_dated_predictions(
    text: str, file: str, said: list[str], first: list[str], tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    done = succeed("init", file, folder=tmp_path)
    assert "note: forecasts the next " in done.stderr
    spec = f"{Path(file).stem}.model"
    written = (tmp_path / spec).read_text("utf-8")
    assert [part for part in said if part not in written] == []
    assert invoke("fmt", "--check", spec, folder=tmp_path).exit_code == 0
    trained = invoke("train", spec, "--epochs", "1", "-q", "-o", "run", folder=tmp_path)
    assert trained.exit_code == 0, trained.output
    predicted = invoke("predict", "run", file, "-q", folder=tmp_path)
    assert predicted.exit_code == 0, predicted.output
    assert next(csv.reader(io.StringIO(predicted.stdout.split("\n", 1)[1])))[:2] == first


def after(*steps: float) -> list[datetime]:
    """Dates that are so many hours apart."""
    return [datetime(2024, 3, 1) + sum(steps[:number]) * HOUR for number in range(len(steps) + 1)]


def months(*days: int) -> list[datetime]:
    """A date in each month, on these days; 0 for none."""
    return [datetime(2023 + month // 12, month % 12 + 1, day) for month, day in enumerate(days) if day]


ENDS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
GAPS: dict[str, tuple[list[datetime], int]] = {
    "none": (after(*[1] * 40), 0),
    "two": (after(*[1] * 20, 3, *[1] * 20), 2),
    "every other one": (after(*[1, 2] * 20), 0),
    "half an hour between": (after(*[1] * 30, 1.5, *[1] * 20), 0),
    "the end of a month": (months(*ENDS, 0, 29, *ENDS[2:]), 1),
    "a month of any day": (months(*ENDS, 0, 27, *ENDS[2:]), 0),
}


@pytest.mark.parametrize(("moments", "missing"), GAPS.values(), ids=GAPS)
def test_rows_are_missing_where_the_dates_have_a_step(moments: list[datetime], missing: int) -> None:
    series = series_of({"t": [f"{moment:%Y-%m-%d %H:%M}" for moment in moments]}, [])
    assert series is not None and series.missing == missing


def test_what_is_chosen_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "werk.csv").write_text(TABLES[0][1], encoding="utf-8")
    done = invoke("init", "werk.csv", "--target", "Last", folder=tmp_path)
    assert done.stderr.splitlines() == [
        "note: forecasts the next 24 rows of `Last`: the dates in `Zeit` go forward, by 1 hour",
        "note: there are 2 series, by `Halle`: dates go forward within each",
        "note: missing cells take the last number before them: `Last`",
        "train it:  nablac train werk.model",
    ]


def test_dates_that_go_back_are_rows_unless_a_forecast_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        lines_of(lambda number, name: [hours(500 - number), value(number), number], "when,v,w")
    )
    refused = invoke("init", "forecast", "t.csv", folder=tmp_path)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error[E823]: t.csv has no column of dates that go forward, in all rows or in each of several series\n"
        " --> t.csv\n"
        f"  = `when`, line 3: `{hours(499)}` follows `{hours(500)}`\n"
        "help: sort the rows by date; series are told apart by a column with the same cell in all rows of each\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    done = invoke("init", "t.csv", "--target", "v", folder=tmp_path)
    step = f"line 3: `{hours(499)}` follows `{hours(500)}`"
    why = "does not go forward in all rows, nor within several series"
    assert f"note: `when` {why} ({step}): each row is taken for an example\n" in done.stderr
    assert "columns(inputs:" in (tmp_path / "t.model").read_text()


def test_the_row_that_breaks_the_order_is_named(tmp_path: Path) -> None:
    numbers = [*range(100), 57, *range(101, 200)]
    rows = "".join(f"{hours(numbers[row], '%d/%m/%Y %H:%M')},{value(row)},{row % 7}\n" for row in range(200))
    (tmp_path / "t.csv").write_text(f"when,v,w\n\n{rows}")
    done = invoke("init", "t.csv", folder=tmp_path)
    assert "(line 103: `03/03/2024 09:00` follows `05/03/2024 03:00`)" in done.stderr
    assert "(line 103: `03/03/2024 09:00` follows" in (tmp_path / "t.model").read_text()


@pytest.mark.parametrize(("rows", "count"), [(1, "1 date"), (4, "4 different dates"), (7, "7 different dates")])
def test_dates_that_are_too_few_are_counted(rows: int, count: str, tmp_path: Path) -> None:
    lines = [f"2024-01-0{number},{number * number},{number % 3}" for number in range(1, rows + 1)]
    (tmp_path / "t.csv").write_text("\n".join(["day,v,w", *lines]) + "\n")
    refused = invoke("init", "forecast", "t.csv", folder=tmp_path)
    assert (refused.exit_code, refused.stderr) == (
        2,
        f"error[E823]: t.csv has {count} in column `day`, and a series to forecast has 8 rows or more\n"
        " --> t.csv\n"
        "help: add rows, or take each row for an example: `nablac init t.csv`\n",
    )
    done = invoke("init", "t.csv", folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    note = f"note: `day` has {count}, too few to forecast: each row is taken for an example"
    assert note in done.stderr.splitlines() and "texts" not in done.output


def test_rows_are_examples_if_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        lines_of(lambda number, name: [hours(number), value(number), value(number, 9)], "t,v,w")
    )
    assert invoke("init", "t.csv", "--rows", folder=tmp_path).exit_code == 0
    spec = (tmp_path / "t.model").read_text()
    assert 'fill("mean") -> standardize()' in spec.replace("\n" + " " * 32, " ") and "window" not in spec
    trained = invoke("train", "t.model", "--epochs", "1", "-q", folder=tmp_path)
    assert trained.exit_code == 0, trained.output


WRONG = [
    (["images", "t.csv"], "a table goes with `forecast` alone"),
    (["forecast", "t.csv", "--rows"], "a table goes with `forecast` alone"),
    (["forecast", "--rows"], "--rows are those of a table"),
    (["t.csv", "--target", "key"], "the column `key` of t.csv is of texts, or tells the series apart"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_cannot_be_asked_for(arguments: list[str], message: str, tmp_path: Path) -> None:
    table = lines_of(lambda number, name: [name, hours(number), value(number)], "key,t,v", series=("a", "b"))
    (tmp_path / "t.csv").write_text(table)
    done = invoke("init", *arguments, folder=tmp_path)
    assert done.exit_code == 2 and message in done.stderr
    assert not (tmp_path / "t.model").exists()


RHYTHMS = [
    ("minutes", [f"2024-03-01 {minute // 60:02}:{minute % 60:02}" for minute in range(600)], (96, 24)),
    ("hours", [hours(number) for number in range(600)], (48, 24)),
    ("days", [days(number) for number in range(600)], (28, 7)),
    ("working days", [days(n) for n in range(600) if (datetime(2023, 1, 1) + n * DAY).weekday() < 5], (28, 7)),
    ("weeks", [days(7 * number) for number in range(200)], (12, 4)),
    ("months", [f"{1990 + number // 12}-{number % 12 + 1:02}" for number in range(300)], (12, 3)),
    ("years", [f"{1900 + number}-12-31" for number in range(100)], (5, 1)),
    ("few hours", [hours(number) for number in range(100)], (12, 6)),
]


@pytest.mark.parametrize(("dates", "window"), [case[1:] for case in RHYTHMS], ids=[case[0] for case in RHYTHMS])
def test_how_far_a_forecast_looks(dates: list[str], window: tuple[int, int]) -> None:
    series = series_of({"t": dates}, [])
    assert series is not None
    rhythm = series.rhythm()
    assert (rhythm.length, rhythm.horizon) == window


def test_a_key_makes_dates_go_forward() -> None:
    dates = [hours(number) for number in range(40)]
    cells = {"kind": ["x", "y"] * 40, "t": [*dates, *dates], "station": ["a"] * 40 + ["b"] * 40}
    series = series_of(cells, ["kind", "station"])
    assert series is not None
    assert (series.keys, series.count, series.shortest, series.step) == (("station",), 2, 40, HOUR)
    assert series_of(cells, ["kind"]) is None


@pytest.mark.parametrize(
    ("cell", "what"), [("2024-02-30 10:00", "`2024-02-30 10:00`"), ("soon", "`soon`"), ("", "an empty cell")]
)
def test_a_cell_that_is_no_date_is_named(tmp_path: Path, cell: str, what: str) -> None:
    """Among a hundred; a spec of rows leaves the column out."""
    rows = [[hours(number), str(number % 7), str(number % 5)] for number in range(100)]
    rows[10][0] = cell
    (tmp_path / "t.csv").write_text("\n".join(["when,a,v", *map(",".join, rows)]) + "\n")
    done = invoke("init", "forecast", "t.csv", folder=tmp_path)
    assert done.stderr == (
        f"error[E823]: column `when` holds dates, but for {what} on line 12\n --> t.csv:12\n"
        "help: correct the cell, or remove the row\n"
    )
    done = invoke("init", "t.csv", folder=tmp_path)
    note = f"note: `when` holds dates, but for {what} on line 12: with a date there, `nablac init forecast` reads them"
    assert f"{note}\n" in done.stderr and "left out (texts or empty): when\n" in done.stderr
    assert 'columns(inputs: ["a"], targets: ["v"])' in (tmp_path / "t.model").read_text()
