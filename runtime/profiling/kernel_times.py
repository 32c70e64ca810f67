"""Times of the steps of NumPy's plans, those of recurrences included."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.profiling.timing import Timing, common_layer, line_of

if TYPE_CHECKING:
    from compiler.graph import Node
    from runtime.observing import Kernel


@dataclass
class _Clock:
    """The time and the number of calls of one kernel in a run, without the kernels that it calls."""

    operator: str
    layer: str
    lines: tuple[str, ...]
    seconds: float = 0.0
    calls: int = 0
    runs: list[tuple[float, int]] = field(default_factory=list)  # seconds and calls of each run that has ended


class KernelTimes:
    """Watches plans: every kernel is timed from when it is planned on."""

    def __init__(self) -> None:
        self.clocks: list[_Clock] = []
        self._inner = [0.0]  # seconds of the kernels that were called by each that is running, and by none

    def kernel(self, kernel: Kernel, nodes: Sequence[Node], layers: Sequence[str]) -> Kernel:
        """The kernel with a clock."""
        names = dict.fromkeys(node.op.name for node in nodes)
        lines = dict.fromkeys(line_of(str(node.origin.span)) for node in nodes if node.origin.span is not None)
        clock = _Clock(", ".join(names), common_layer(layers), tuple(lines))
        self.clocks.append(clock)
        inner, now = self._inner, time.perf_counter

        def timed(*arguments: Any, **named: Any) -> Any:
            inner.append(0.0)
            began = now()
            try:
                return kernel(*arguments, **named)
            finally:
                seconds = now() - began
                clock.seconds += seconds - inner.pop()
                clock.calls += 1
                inner[-1] += seconds

        return timed

    def end_run(self) -> None:
        """Begin to measure the next run."""
        for clock in self.clocks:
            clock.runs.append((clock.seconds, clock.calls))
            clock.seconds, clock.calls = 0.0, 0

    def timings(self, counted: Collection[int]) -> list[Timing]:
        """What was measured in an average of these runs, by their numbers from the last, which is -1."""
        timings: list[Timing] = []
        for clock in self.clocks:
            seconds, calls = (
                sum(amounts) / len(counted) for amounts in zip(*(clock.runs[run] for run in counted), strict=True)
            )
            if calls:
                timings.append(Timing(clock.operator, seconds, calls, layer=clock.layer, lines=clock.lines))
        return timings
