"""`nablac init` on tables that end in rows to predict: the spec reads what is known of them."""

from __future__ import annotations

import csv
import io
import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.command_line import invoke, succeed

FIRST = datetime(2024, 3, 1)


def write_table(folder: Path, past: int, later: int, known: str = "price", series: tuple[str, ...] = ("a",)) -> None:
    """Hours of series with a gap in the past, and rows after them with the columns `known` alone."""
    lines = ["station,time,temperature,price,load"]
    for name in series:
        for hour in range(past + later):
            cells = {
                "temperature": f"{8 + hour % 24 / 2}",
                "price": f"{20 + hour % 5}",
                "load": f"{math.sin(hour):.3f}",
            }
            cells["temperature"] = "" if hour == 17 else cells["temperature"]
            shown = [cell if hour < past or column in known else "" for column, cell in cells.items()]
            lines.append(",".join([name, f"{FIRST + timedelta(hours=hour):%Y-%m-%d %H:%M}", *shown]))
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


CALENDAR = ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos"]
# past rows, rows to predict, columns filled in them, series, what the remark says and the known columns
CASES = [
    ("a price", 400, 24, "price", ("a",), "the last 24 rows lack `load`: to be predicted by `time`, `price`",
     ["price", *CALENDAR], 24),
    ("several series", 400, 24, "price", ("a", "b"),
     "24 rows at the end of each of 2 series lack `load`: to be predicted by `time`, `price`",
     ["price", *CALENDAR], 24),
    ("dates alone", 400, 24, "", ("a",), "the last 24 rows lack `load`: to be predicted by `time`", CALENDAR, 24),
    ("all but the target", 400, 24, "price temperature", ("a",),
     "the last 24 rows lack `load`: to be predicted by `time`, `temperature`, `price`",
     ["temperature", "price", *CALENDAR], 24),
    ("more rows than usual", 400, 40, "price", ("a",),
     "the last 40 rows lack `load`: to be predicted by `time`, `price`", ["price", *CALENDAR], 40),
    ("fewer rows than usual", 400, 10, "price", ("a",),
     "the last 10 rows lack `load`: to be predicted by `time`, `price`", ["price", *CALENDAR], 10),
    ("more rows than it reads", 400, 60, "price", ("a",),
     "the last 60 rows lack `load`: to be predicted by `time`, `price`; it predicts 24 rows ahead",
     ["price", *CALENDAR], 24),
]  # fmt: skip


@pytest.mark.parametrize(
    ("past", "later", "columns", "series", "remark", "known", "horizon"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_rows_without_the_target_are_predicted_by_what_is_known(
    past: int,
    later: int,
    columns: str,
    series: tuple[str, ...],
    remark: str,
    known: list[str],
    horizon: int,
    tmp_path: Path,
) -> None:
    write_table(tmp_path, past, later, columns, series)
    done = invoke("init", "t.csv", folder=tmp_path)
    assert f"note: {remark}\n" in done.stderr
    assert "note: missing cells take the last number before them: `temperature`\n" in done.stderr
    spec = "".join((tmp_path / "t.model").read_text().split())
    assert f"future:[batch,{horizon},{len(known)}]" in spec
    listed = "".join(f'"{name}",' for name in known).rstrip(",")
    assert f"known:[{listed}" in spec
    assert invoke("check", "t.model", folder=tmp_path).stderr == "1 file checked, no errors\n"
    succeed("train", "t.model", "--epochs", "1", "--limit-batches", "2", "-q", folder=tmp_path)
    table = list(csv.DictReader(io.StringIO(succeed("predict", "runs/t/1", "t.csv", "-q", folder=tmp_path).stdout)))
    times = [f"{FIRST + timedelta(hours=past + hour):%Y-%m-%d %H:%M}" for hour in range(horizon)]
    assert [row["time"] for row in table] == times * len(series)


@pytest.mark.parametrize("later", [0, 3])
def test_a_few_gaps_at_the_end_are_filled(later: int, tmp_path: Path) -> None:
    write_table(tmp_path, 400, later)
    done = invoke("init", "t.csv", folder=tmp_path)
    assert "to be predicted" not in done.stderr and "known" not in (tmp_path / "t.model").read_text()


def test_rows_to_predict_of_which_series_have_different_numbers_are_counted(tmp_path: Path) -> None:
    write_table(tmp_path, 400, 24, series=("a", "b", "c"))
    lines = (tmp_path / "t.csv").read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join(lines[:-4]))
    remark = "68 rows at the ends of 3 series lack `load`: to be predicted by `time`, `price`"
    assert f"note: {remark}\n" in invoke("init", "t.csv", folder=tmp_path).stderr
