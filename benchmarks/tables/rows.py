"""From the outcomes of a competition to rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.competition import Outcome, compete
from benchmarks.measuring import Figure
from benchmarks.preparation import prepare
from benchmarks.results import Row
from benchmarks.tables import Settings

COLD = slice(2, 4)  # the steps after those that allocate: with fresh memory, and the compiler's work done
CLOCK = {1: "processor time, 1 thread", 2: "wall time, 2 threads"}


def competition_rows(
    table: str, case: str, work: str, names: Sequence[str], settings: Settings, *, alone: Sequence[str] = ()
) -> Iterator[Row]:
    """Time, the first steps (of training) and memory of contenders on one case; those in `alone` on one thread only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(case, work, list(names), folder)
        for threads in settings.threads:
            competing = [name for name in names if threads == 1 or name not in alone]
            outcomes = compete(case, work, competing, threads, folder, settings.plan)
            yield time_row(table, case, f"ms, {CLOCK[threads]}", outcomes, 1000)
            if threads > 1:
                continue
            if work == "training":
                yield _row(table, case, f"ms of steps 3 and 4, {CLOCK[threads]}", _first(outcomes), {})
            peaks = {
                name: Figure(each.peak, 0.0, 1)
                for name, each in outcomes.items()
                if each.peak is not None and each.time
            }
            yield _row(table, case, "MiB at the peak of a step, imports not counted", peaks, {})


def time_row(table: str, case: str, measure: str, outcomes: dict[str, Outcome], factor: float) -> Row:
    """The row of the times, with the notes on contenders that have none."""
    times = {
        name: Figure(outcome.time.median * factor, outcome.time.spread, outcome.time.runs)
        for name, outcome in outcomes.items()
        if outcome.time is not None
    }
    return _row(table, case, measure, times, {name: each.note for name, each in outcomes.items() if each.note})


def _first(outcomes: dict[str, Outcome]) -> dict[str, Figure]:
    steps = {name: each.first[COLD] for name, each in outcomes.items() if each.time is not None}
    return {name: Figure(sum(times) / len(times) * 1000, 0.0, 1) for name, times in steps.items() if times}


def _row(table: str, case: str, measure: str, figures: dict[str, Figure], notes: dict[str, str]) -> Row:
    return Row(table, case, measure, figures, notes)
