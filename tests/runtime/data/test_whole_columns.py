"""What a column holds is told by the whole of it or by each cell, and not by the part of a table in which a cell is."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from runtime.data.calendar_features import Calendar
from runtime.data.csv_file import PLAIN
from runtime.data.python_columns import mapping_blocks
from runtime.data.table_blocks import table_blocks
from runtime.prediction.findings import Findings

ROWS_AT_ONCE = [1, 2, 3, 7]
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("most", ROWS_AT_ONCE)
def test_nan_among_texts_is_an_empty_cell_wherever_the_texts_are(most: int) -> None:
    blocks = mapping_blocks({"kind": ["a", float("nan"), float("nan"), "b"]}, "t", most)
    assert [cell for block in blocks for cell in block.rows.cells["kind"]] == ["a", "", "", "b"]


ONE, OTHER = timezone(timedelta(hours=1)), timezone(timedelta(hours=2))
ZONES: dict[str, tuple[list[tzinfo | None], tzinfo | None]] = {
    "one zone, and a first row without a date": ([None, BERLIN, BERLIN, BERLIN], BERLIN),
    "offsets that differ": ([ONE, ONE, OTHER, OTHER], None),
}


@pytest.mark.parametrize("most", ROWS_AT_ONCE)
@pytest.mark.parametrize("case", ZONES)
def test_a_column_of_dates_has_one_zone_or_none(case: str, most: int) -> None:
    zones, expected = ZONES[case]
    dates = [datetime(2024, 10, 27, tzinfo=zone) if zone is not None else None for zone in zones]
    for block in mapping_blocks({"when": dates}, "t", most):
        assert block.rows.zones.get("when") == expected


@pytest.mark.parametrize("most", ROWS_AT_ONCE)
@pytest.mark.parametrize("first", [1, [1]])
def test_the_first_value_says_whether_a_column_of_json_holds_numbers(tmp_path: Path, most: int, first: object) -> None:
    """A list after numbers is a broken cell, and a column of lists has none."""
    rows = [{"n": row, "v": value} for row, value in enumerate([None, first, [2], None, 4])]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    blocks = list(table_blocks(str(tmp_path / "t.jsonl"), PLAIN, Findings(), most))
    assert {what for block in blocks for what in block.rows.refused.values()} == (
        set() if first == 1 else {"a list on line 2"}
    )
    assert "v" in blocks[-1].rows.refused or first == 1


def test_each_date_may_have_the_year_first() -> None:
    """In whatever order; what could be misread is no date."""
    cells = ["03.02.2024", "2024-02-04", "2024-02-05 06:00", "6.2.2024", "02/07/2024", "2024-13-01"]
    dates = [datetime(2024, 2, 3), datetime(2024, 2, 4), datetime(2024, 2, 5, 6), datetime(2024, 2, 6), None, None]
    request = Calendar("when", (), "%d.%m.%Y")
    assert request.moments(cells) == dates
    assert request.moments(cells[::-1]) == dates[::-1]
    assert Calendar("when", (), "%Y-%d-%m").moments(["2024-02-13", "2024-13-02"]) == [None, datetime(2024, 2, 13)]


def test_a_note_about_a_file_is_of_one_however_many_blocks_it_has() -> None:
    findings = Findings()
    for location in ("t.csv", "t.csv", "u.csv", "t.csv"):
        findings.note(location, "column 3 has no name and is skipped")
    assert findings.lines() == ["note: column 3 has no name and is skipped: t.csv and 1 more"]
