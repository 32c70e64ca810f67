"""The figures of a run as tables for docs/measurements.md: `python -m benchmarks.ratio_tables RESULTS.json`.

A cell is a peer's figure divided by ours, above 1 where we are ahead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure
from benchmarks.results import Row
from benchmarks.tables import TABLES

_INTRODUCTION = """# Measured against others

What each peer takes, divided by what nablac takes: above 1 nablac is ahead, below 1 it is behind. The first column is
nablac's own figure, that of the faster of its columns. How this is measured, and why a row is as it is, is in
[performance.md](performance.md). `python -m benchmarks.ratio_tables results.json` writes this page from what
`python -m benchmarks all --json results.json` measured.
"""


def rows_of(document: dict[str, Any]) -> Iterator[Row]:
    """The rows of a JSON file of results."""
    for row in document["rows"]:
        figures = {name: Figure(**figure) for name, figure in row["figures"].items()}
        yield Row(row["table"], row["case"], row["measure"], figures, row["notes"], row["reference"])


def page_of(document: dict[str, Any]) -> str:
    """The page, in Markdown."""
    machine, versions = document["machine"], document["versions"]
    names = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    parts = [_INTRODUCTION, f"Measured on {document['date'][:10]}: {machine['processor']}, {machine['cores']} cores, "
             f"Python {machine['python']}; {names}.\n"]  # fmt: skip
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows_of(document):
        groups.setdefault((row.table, row.measure), []).append(row)
    for (table, measure), rows in groups.items():
        parts.append(f"## {table}: {measure}\n\n{TABLES[table].shows[0].upper()}{TABLES[table].shows[1:]}.\n")
        parts.append("\n".join(_table(rows)) + "\n")
    return "\n".join(parts)


def _table(rows: Iterable[Row]) -> Iterator[str]:
    rows = [row for row in rows if row.ours is not None]
    peers = list(dict.fromkeys(name for row in rows for name in row.ratios()))
    yield _line("", "nablac", *peers)
    yield "|---" * (len(peers) + 2) + "|"
    for row in rows:
        assert row.ours is not None
        ratios = row.ratios()
        cells = (f"{ratios[name]:.2f}" if name in ratios else "" for name in peers)
        yield _line(row.case, f"{row.figures[row.ours].median:.4g}", *cells)


def _line(*cells: str) -> str:
    return "".join(f"| {cell} " for cell in cells) + "|"


if __name__ == "__main__":
    print(page_of(json.loads(Path(sys.argv[1]).read_text("utf-8"))), end="")
