"""Measuring a run on either backend: its operators, by clocks or by onnxruntime's profiler, and the whole."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from compiler.graph_costs import count_of, every_node, node_flops
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.observing import watched_by
from runtime.profiling.kernel_times import KernelTimes
from runtime.profiling.profile_text import ModelProfile
from runtime.profiling.session_times import SessionTimes
from runtime.profiling.timing import RUNS, Kind, Timing, faster_half, line_of
from runtime.profiling.workload import Workload

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from compiler.graph import Node
    from runtime.observing import Kernel

_WARM_UP = 3  # runs that are not measured: they plan, and take memory from the system


class _RunTimes:
    """Watches plans and sessions: the update of a training step runs with NumPy on either backend."""

    def __init__(self, folder: Path) -> None:
        self.kernels, self.sessions = KernelTimes(), SessionTimes(folder)

    def kernel(self, kernel: Kernel, nodes: Sequence[Node], layers: Sequence[str]) -> Kernel:
        """The kernel with a clock."""
        return self.kernels.kernel(kernel, nodes, layers)

    def before_session(self, options: SessionOptions) -> None:
        """Turn onnxruntime's profiler on."""
        self.sessions.before_session(options)

    def after_session(self, session: InferenceSession, model: Any) -> None:
        """Note the session."""
        self.sessions.after_session(session, model)


def profile(build: Callable[[], Workload], runs: int = RUNS) -> ModelProfile:
    """The profile of `runs` runs of a workload, which is built here, so that its plans and sessions are watched.

    Only the faster half of the runs counts: something else on the machine has disturbed the others. It is built and
    run as often without being watched, before, since clocks take time too. NablacError for fewer than one.
    """
    if not isinstance(runs, Integral) or runs < 1:
        message = f"`runs` must be a whole number from 1, got {runs!r:.80}"
        raise NablacError(Diagnostic(codes.E605, message, place="runs"))
    unprofiled = _all_seconds(build().run, runs)
    with tempfile.TemporaryDirectory() as folder:
        times = _RunTimes(Path(folder))
        with watched_by(times):
            workload = build()
            seconds = _all_seconds(workload.run, runs, times.kernels.end_run)
        faster = faster_half(seconds)
        counted = [run - runs for run in faster]
        timings = [*times.kernels.timings(counted), *times.sessions.timings(_WARM_UP + runs, counted)]
    average = sum(seconds[run] for run in faster) / len(faster)
    timings.append(Timing("", average - sum(timing.seconds for timing in timings), 1.0, Kind.OUTSIDE))
    layers, lines = _flops(workload)
    return ModelProfile(
        workload.name,
        workload.what,
        workload.backend,
        workload.device,
        workload.sizes,
        seconds,
        average,
        timings,
        layers,
        lines,
        _texts(workload.graph, workload.written),
        unprofiled,
    )


def _all_seconds(run: Callable[[], object], runs: int, after: Callable[[], object] = lambda: None) -> list[float]:
    """The seconds of each of `runs` runs, behind those that warm up; `after` is called after every run."""
    seconds = []
    for _ in range(_WARM_UP + runs):
        seconds.append(_seconds(run))
        after()
    return seconds[_WARM_UP:]


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _flops(workload: Workload) -> tuple[dict[str, int], dict[str, int]]:
    """The floating-point operations of a run by the paths of layers and by lines."""
    layers: dict[str, int] = {}
    lines: dict[str, int] = {}
    for node, times in every_node(workload.graph):
        flops = count_of(node_flops(node, times), workload.sizes)
        if not flops:
            continue
        layers[node.origin.path] = layers.get(node.origin.path, 0) + flops
        if node.origin.span is not None:
            line = line_of(str(node.origin.span))
            lines[line] = lines.get(line, 0) + flops
    return layers, lines


def _texts(*graphs: Graph) -> dict[str, str]:
    """The texts of the lines that nodes come from."""
    texts: dict[str, str] = {}
    for graph in graphs:
        for node, _ in every_node(graph):
            span = node.origin.span
            if span is not None:
                texts.setdefault(line_of(str(span)), span.source.line(span.line))
    return texts
