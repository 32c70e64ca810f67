"""Compile time of an unrolled graph for each node, from text to ONNX."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.measuring import Figure
from benchmarks.results import Row
from benchmarks.tables import Settings

NOTE = "Near-linear time is a figure that stays the same."


def rows(settings: Settings) -> Iterator[Row]:
    from compiler.elaborate.models import TextSource
    from compiler.elaborate.program import program_of
    from compiler.onnx.exporter import export
    from compiler.passes.pipeline import optimize
    from grammar.source import Source

    counts = [1_000, 10_000, *([] if settings.quick else [100_000, 1_000_000])]
    for case in settings.chosen([f"{count} nodes" for count in counts]):
        count = int(case.split()[0])
        steps = f"for i in 0..{count // 3} {{ x = tanh(x) + i }}"  # three nodes: tanh, the number, the sum
        text = f"model M {{ input x: [batch, 4]; {steps}; output y = x }}"
        start = time.process_time()
        graph = TextSource(program_of(Source("unrolled.model", text))).spec(training=False).graph
        elaborated = time.process_time()
        graph = optimize(graph)
        optimized = time.process_time()
        export(graph, weights={})
        end = time.process_time()
        parts = {"elaborate": elaborated - start, "optimize": optimized - elaborated, "export": end - optimized}
        for part, seconds in (parts | {"all": end - start}).items():
            measure = f"us a node, {part}"
            yield Row("scaling", case, measure, {"nablac": Figure(seconds / count * 1e6, 0.0, 1)})
