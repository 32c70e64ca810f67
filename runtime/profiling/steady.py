"""Timing a function until its time has stopped falling, and then in turns with others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_MOST_RUNS, _MOST_SECONDS = 200, 5.0  # of a warm-up
_STEADY = 5  # runs without a faster one that end a warm-up
_FASTER = 0.98  # of the fastest run: what counts as faster
_TURN = 0.1  # seconds of a turn, at least one run


@dataclass(frozen=True)
class Turn:
    """The average times of a run in one turn: by the clock, and of all processors that worked on it, in seconds."""

    wall: float
    processor: float


def warm_up(run: Callable[[], object]) -> tuple[float, float]:
    """Run until no run has been faster for a while; the seconds of the first run, and of the fastest."""
    began = time.perf_counter()
    first = fastest = _seconds(run)
    since = runs = 0
    while since < _STEADY and runs < _MOST_RUNS and time.perf_counter() - began < _MOST_SECONDS:
        seconds = _seconds(run)
        since = 0 if seconds < fastest * _FASTER else since + 1
        fastest = min(fastest, seconds)
        runs += 1
    return first, fastest


def take_turn(run: Callable[[], object], fastest: float) -> Turn:
    """Run as often as a turn allows."""
    count = max(1, int(_TURN / fastest)) if fastest > 0 else 1
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        run()
    return Turn((time.perf_counter() - wall) / count, (time.process_time() - processor) / count)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
