"""From the outcomes of a competition to rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.competition import Outcome, compete
from benchmarks.measuring import Figure, summarize
from benchmarks.preparation import prepare
from benchmarks.results import Row
from benchmarks.tables import Settings

COLD = slice(2, 4)  # the steps after those that allocate: with fresh memory, and the compiler's work done
CLOCK = {1: "processor time, 1 thread", 2: "wall time, 2 threads"}


def competition_rows(
    table: str, case: str, work: str, names: Sequence[str], settings: Settings, *, alone: Sequence[str] = ()
) -> Iterator[Row]:
    """Time, the first steps (of training) and memory of contenders on one case; those in `alone` on one thread only.

    The first steps and the memory are compared with those of our column that is the fastest.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(case, work, list(names), folder)
        for threads in settings.threads:
            competing = [name for name in names if threads == 1 or name not in alone]
            outcomes = compete(case, work, competing, threads, folder, settings.plan)
            times = time_row(table, case, f"ms, {CLOCK[threads]}", outcomes, 1000)
            yield times
            if threads > 1:
                continue
            finished = {name: outcome for name, outcome in outcomes.items() if outcome.seconds is not None}
            if work == "training":
                first = {name: summarize([1000 * time for time in each.first[COLD]]) for name, each in finished.items()}
                measure = f"ms of steps 3 and 4, {CLOCK[threads]}"
                yield Row(table, case, measure, first, reference=times.ours)
            peaks = {name: Figure(each.peak, 0.0, 1) for name, each in finished.items() if each.peak is not None}
            yield Row(table, case, "MiB at the peak of a step, imports not counted", peaks, reference=times.ours)


def time_row(table: str, case: str, measure: str, outcomes: dict[str, Outcome], factor: float) -> Row:
    """The row of the times, with the notes on contenders that have none."""
    times = {
        name: Figure(outcome.seconds.median * factor, outcome.seconds.spread, outcome.seconds.runs)
        for name, outcome in outcomes.items()
        if outcome.seconds is not None
    }
    notes = {name: outcome.note for name, outcome in outcomes.items() if outcome.note}
    return Row(table, case, measure, times, notes)
