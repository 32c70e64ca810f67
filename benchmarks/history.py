"""The history of results, a line of JSON for each recorded run, and which rows have become worse since the last one.

Runs are compared by ratios to the peers, which a slower or busier machine changes little; rows without peers are
compared by our own figure, on the same machine only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Row

FILE = Path(__file__).with_name("history.jsonl")
LEAST = 0.05  # a smaller change counts for nothing, however small the spreads are


def entry(document: dict[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """The line of a run: of each row our figure and the ratios to the peers, each with its spread."""
    short: dict[str, Any] = {}
    for row in rows:
        if row.ours is None:
            continue
        own = row.figures[row.ours]
        ratios = {
            name: [round(ratio, 4), round(own.spread + row.figures[name].spread, 4)]
            for name, ratio in row.ratios().items()
        }
        short[row.key] = {"ours": [own.median, round(own.spread, 4)], "ratios": ratios}
    facts = {name: document[name] for name in ("date", "commit", "versions")}
    return facts | {"processor": document["machine"]["processor"], "rows": short}


def read(path: Path = FILE) -> list[dict[str, Any]]:
    """All recorded runs, the oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]


def append(new: dict[str, Any], path: Path = FILE) -> None:
    """Add a run."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(new) + "\n")


def regressions(earlier: Sequence[dict[str, Any]], new: dict[str, Any]) -> list[str]:
    """A sentence for each row that is worse, by more than the spreads, than when it was last recorded."""
    sentences = []
    for key, row in new["rows"].items():
        before = next((run for run in reversed(earlier) if key in run["rows"]), None)
        if before is None:
            continue
        old, since = before["rows"][key], f"since {before['date'][:10]} ({before['commit']})"
        for peer in row["ratios"].keys() & old["ratios"].keys():
            (was, spread_was), (now, spread_now) = old["ratios"][peer], row["ratios"][peer]
            if now < was * (1 - max(LEAST, spread_was + spread_now)):
                sentences.append(f"{key}: {peer} / ours was {was:.2f}, is {now:.2f} {since}")
        if not row["ratios"] and before["processor"] == new["processor"]:
            (was, spread_was), (now, spread_now) = old["ours"], row["ours"]
            if now > was * (1 + max(LEAST, spread_was + spread_now)):
                sentences.append(f"{key}: ours was {was:.4g}, is {now:.4g} {since}")
    return sorted(sentences)
