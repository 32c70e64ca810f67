"""Start-up and compile time: medians of alternating runs, as ratios, so that a noisy machine matters little."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

RUNS = 9
ROOT = Path(__file__).parents[1]


def seconds(*arguments: str) -> float:
    """The processor time, of user and system, of one whole process that caches its bytecode."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start_up() -> None:
    """The cold command line against bare Python and against `import onnx`."""
    commands = {
        "python -c pass": ("-c", "pass"),
        "nablac --help": ("-m", "nablac", "--help"),
        "nablac check specs/lstm.model": ("-m", "nablac", "check", "specs/lstm.model"),
        "python -c 'import onnx'": ("-c", "import onnx"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS + 1):
        for name, arguments in commands.items():
            times[name].append(seconds(*arguments))
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}  # the first run fills caches
    for name, median in medians.items():
        print(f"{name:<32} {median * 1000:7.0f} ms")
    bare, helped, checked, imported = medians.values()
    print(f"--help over bare Python: {(helped - bare) * 1000:.0f} ms (goal: below 100)")
    print(f"check / import onnx: {checked / imported:.2f} (goal: below 1)")


def scaling() -> None:
    """An unrolled graph of a thousand to a million operators, from text to ONNX."""
    from compiler.elaborate.models import TextSource
    from compiler.elaborate.program import program_of
    from compiler.onnx.exporter import export
    from compiler.passes.pipeline import optimize
    from grammar.source import Source

    print(f"\n{'operators':>9} {'elaborate':>10} {'optimize':>10} {'export':>10} {'us each':>8}")
    for count in (1_000, 10_000, 100_000, 1_000_000):
        steps = f"for i in 0..{count // 2} {{ x = tanh(x) + i }}"
        text = f"model M {{ input x: [batch, 4]; {steps}; output y = x }}"
        program = program_of(Source("unrolled.model", text))
        marks = [time.perf_counter()]
        graph = TextSource(program).spec(training=False).graph
        marks.append(time.perf_counter())
        graph = optimize(graph)
        marks.append(time.perf_counter())
        export(graph, weights={})
        marks.append(time.perf_counter())
        parts = [after - before for before, after in pairwise(marks)]
        row = " ".join(f"{part:9.2f}s" for part in parts)
        print(f"{count:>9} {row} {(marks[-1] - marks[0]) / count * 1e6:8.1f}")


if __name__ == "__main__":
    start_up()
    scaling()
