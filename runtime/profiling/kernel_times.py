"""Times of the steps of NumPy's plans, those of recurrences included."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.profiling.timing import Timing, common_layer, line_of

if TYPE_CHECKING:
    from compiler.graph import Node
    from runtime.observing import Kernel


@dataclass
class _Clock:
    """The time and the number of calls of one kernel so far, without the kernels that it calls."""

    operator: str
    layer: str
    lines: tuple[str, ...]
    seconds: float = 0.0
    calls: int = 0


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

    def reset(self) -> None:
        """Forget what was measured so far."""
        for clock in self.clocks:
            clock.seconds, clock.calls = 0.0, 0

    def timings(self, runs: int) -> list[Timing]:
        """What was measured since the last `reset`, in `runs` runs."""
        return [
            Timing(clock.operator, clock.seconds / runs, clock.calls / runs, layer=clock.layer, lines=clock.lines)
            for clock in self.clocks
            if clock.calls
        ]
