"""The results of a benchmark as a table and as JSON, and whether the machine was busy while it ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from nablac.commands.bench_processes import Result
from runtime.profiling.grouping import BACKEND_NAMES

_BUSY = 1.3  # times the processor time of a run: a row that takes more has waited


class BenchRowJson(TypedDict):
    """One way to run the model."""

    backend: Annotated[str, "`numpy` or `ort`"]
    threads: Annotated[int, "how many"]
    form: Annotated[str, "which pass is left out, or what else is different"]
    seconds: Annotated[float, "the median of the turns"]
    spread: Annotated[float, "half of the distance between the quartiles, relative to the median"]
    processor_seconds: Annotated[float, "of all processors together"]
    build_seconds: Annotated[float, "until the model is ready"]
    first_seconds: Annotated[float, "of the first run"]
    ratio: Annotated[float, "`seconds`, relative to the fastest row"]
    processor_ratio: Annotated[float, "`processor_seconds`, relative to the least"]
    turns: Annotated[list[float], "the seconds of each turn"]


class BenchJson(TypedDict):
    """Ways to run a model, side by side."""

    model: Annotated[str, "the file"]
    what: Annotated[str, "`inference` or `training step`"]
    sizes: Annotated[dict[str, int], "of the named dims"]
    waiting: Annotated[float | None, "how many times its processor time a run took, if other work made rows wait"]
    rows: Annotated[list[BenchRowJson], "in the order of measurement"]


def waiting(results: Sequence[Result]) -> float | None:
    """How many times its processor time a run took at the most, if other work made the rows wait; else None.

    A thread that computes takes as much processor time as it lasts, and several take more: where a run lasts much
    longer, something else had the processors.
    """
    most = max((result.wall / result.processor for result in results if result.processor > 0), default=0.0)
    return most if most > _BUSY else None


def to_json(results: Sequence[Result]) -> list[BenchRowJson]:
    """The rows as `nablac bench --json` prints them."""
    fastest, least = min(result.wall for result in results), min(result.processor for result in results)
    return [
        {
            "backend": result.candidate.backend,
            "threads": result.candidate.threads,
            "form": result.candidate.form,
            "seconds": result.wall,
            "spread": result.spread,
            "processor_seconds": result.processor,
            "build_seconds": result.built,
            "first_seconds": result.first,
            "ratio": result.wall / fastest,
            "processor_ratio": _ratio(result.processor, least),
            "turns": [turn.wall for turn in result.turns],
        }
        for result in results
    ]


def bench_text(results: Sequence[Result], title: str) -> str:
    """The table of results, the fastest first; with a second ratio and a note where the rows had to wait."""
    waited = waiting(results)
    by_processor = waited is not None and all(result.candidate.threads == 1 for result in results)
    ordered = sorted(results, key=lambda result: result.processor if by_processor else result.wall)
    fastest, least = min(result.wall for result in results), min(result.processor for result in results)
    rows = [("backend", "threads", "form", "ms", "spread", "processor ms", "first ms", "ratio", "processor ratio")]
    for result in ordered:
        candidate = result.candidate
        times = (f"{result.wall * 1000:,.3f}", f"{result.spread:.1%}", f"{result.processor * 1000:,.3f}")
        ratios = f"{result.wall / fastest:.2f}", f"{_ratio(result.processor, least):.2f}"
        names = (BACKEND_NAMES[candidate.backend], str(candidate.threads), candidate.form)
        rows.append((*names, *times, f"{result.first * 1000:,.1f}", *ratios))
    columns = range(len(rows[0]) if waited is not None else len(rows[0]) - 1)
    widths = [max(len(row[column]) for row in rows) for column in columns]
    lines = [
        "  ".join(
            row[column].ljust(widths[column]) if column in (0, 2) else row[column].rjust(widths[column])
            for column in columns
        ).rstrip()
        for row in rows
    ]
    note = [] if waited is None else ["", _note(waited, by_processor)]
    return "\n".join([title, "", lines[0], "-" * max(map(len, lines)), *lines[1:], *note])


def _note(waited: float, by_processor: bool) -> str:
    ratios = (
        "the rows are sorted by processor time, and `processor ratio` compares them"
        if by_processor
        else "compare rows of as many threads by `processor ratio`, not by `ratio`"
    )
    return f"note: the machine is busy: a run lasts up to {waited:.1f} times its processor time;\n      {ratios}"


def _ratio(processor: float, least: float) -> float:
    return processor / least if least > 0 else 1.0
