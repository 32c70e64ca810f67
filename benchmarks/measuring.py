"""How a step is measured: warm-up that ends when the time stops falling, bursts, medians and their spread, memory."""

from __future__ import annotations

import re
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Clock = Callable[[], float]
CLOCKS: dict[int, Clock] = {1: time.process_time, 2: time.perf_counter}  # by threads: on one nothing runs beside
WINDOW = 3  # steps whose median is compared with that of the steps before
FALLS = 0.97  # the time still falls while a median is below this share of the one before
MOST_STEPS = 60  # of a burst


@dataclass(frozen=True)
class Figure:
    """Measurements of one quantity: their median, and how far apart the middle half of them is, as a fraction of it."""

    median: float
    spread: float
    runs: int


def summarize(values: Sequence[float]) -> Figure:
    """The figure of one or more measurements."""
    median = statistics.median(values)
    if len(values) < 2 or not median:
        return Figure(median, 0.0, len(values))
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(median, (high - low) / abs(median), len(values))


def timed(step: Callable[[], Any], clock: Clock) -> float:
    """The seconds of one step."""
    start = clock()
    step()
    return clock() - start


def warm_up(step: Callable[[], Any], clock: Clock, seconds: float) -> list[float]:
    """The times of the steps until they stop falling, or until so many seconds of wall time after the first are over.

    The time has stopped falling when the median of the last steps is no longer clearly below that of the steps before.
    """
    times = [timed(step, clock)]  # which may compile what the others run
    end = time.monotonic() + seconds
    while True:
        times.append(timed(step, clock))
        if len(times) >= 2 * WINDOW:
            before, last = times[-2 * WINDOW : -WINDOW], times[-WINDOW:]
            if statistics.median(last) >= FALLS * statistics.median(before):
                return times
        if time.monotonic() > end and len(times) >= WINDOW:
            return times


def burst(step: Callable[[], Any], clock: Clock, seconds: float, expected: float) -> float:
    """The median time of steps that together take about so many seconds, where one is expected to take `expected`."""
    count = max(1, min(MOST_STEPS, round(seconds / max(expected, 1e-6))))
    return statistics.median(timed(step, clock) for _ in range(count))


def memory_now() -> float:
    """Mebibytes that this process holds; from here on `memory_peak` counts anew, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is what is held now
        return _status("VmRSS")
    except OSError:
        return memory_peak()


def memory_peak() -> float:
    """The most mebibytes that this process has held since `memory_now`, or since its start on other systems."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _status(name: str) -> float:
    text = Path("/proc/self/status").read_text("utf-8")
    match = re.search(rf"{name}:\s+(\d+) kB", text)
    if match is None:
        raise OSError(f"the system does not tell {name}")
    return int(match[1]) / 1024
