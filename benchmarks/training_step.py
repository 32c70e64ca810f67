"""One training step (loss, gradients, Adam) against PyTorch eager: `python -m benchmarks.training_step`.

The three take turns, each time in a process of its own; medians of medians. Peak memory is over what the same process
holds before it builds anything.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.models import CASES, Case

ROUNDS, STEPS, WARM = 3, 15, 3
BACKENDS = ("numpy", "ort", "torch")


def stepper(case: Case, backend: str) -> Callable[[], float]:
    """What runs one training step and gives its loss."""
    feeds = case.feeds(np.random.default_rng(0))
    if backend == "torch":
        return torch_step(case, feeds)
    from compiler.elaborate.models import TextSource
    from compiler.elaborate.program import program_of
    from grammar.source import Source
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training

    training = Training(TextSource(program_of(Source("case.model", case.text))), options=Options(backend=backend))
    runner = training.stepper(training.first_state())
    number = 0

    def run() -> float:
        nonlocal number
        number += 1
        now = {"step": np.array(number, np.float32), "seed": np.array(number)}
        return runner.step({**feeds, **now})["loss"]

    return run


def torch_step(case: Case, feeds: dict[str, np.ndarray]) -> Callable[[], float]:
    import torch

    torch.manual_seed(0)
    module = case.torch()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    tensors = [torch.from_numpy(array) for array in feeds.values()]

    def run() -> float:
        optimizer.zero_grad()
        loss: Any = module(*tensors)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def seconds(name: str, backend: str) -> float:
    """The median step, in a process of its own: waiting threads of one runtime slow another down."""
    step = stepper(CASES[name](), backend)
    for _ in range(WARM):
        assert np.isfinite(step())
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def memory(name: str, backend: str) -> float:
    """Mebibytes that training takes at its peak, beyond what the imports do."""
    if backend == "torch":
        import torch  # noqa: F401
    else:
        import onnxruntime  # noqa: F401

        import runtime.training.training_run  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = stepper(CASES[name](), backend)
    for _ in range(5):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def in_process(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.training_step", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(names: list[str]) -> None:
    print(f"{'step, median':<18} {'numpy':>9} {'ort':>9} {'torch':>9}   {'torch / best':>17}", end="")
    print(f"   {'peak MiB':>20}   of torch")
    if unknown := set(names) - set(CASES):
        sys.exit(f"\nno case {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    for name in names or CASES:
        taken: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
        for _ in range(ROUNDS):
            for backend in BACKENDS:
                taken[backend].append(in_process("--seconds", name, backend))
        medians = {backend: statistics.median(each) for backend, each in taken.items()}
        used = {backend: in_process("--memory", name, backend) for backend in BACKENDS}
        best = min(("numpy", "ort"), key=lambda backend: medians[backend])
        shown = " ".join(f"{medians[backend] * 1000:6.1f} ms" for backend in BACKENDS)
        kept = " ".join(f"{used[backend]:6.0f}" for backend in BACKENDS)
        speed, share = medians["torch"] / medians[best], used[best] / max(used["torch"], 1)
        print(f"{name:<18} {shown}   {speed:11.2f}x {best:<5}   {kept}   {share:7.2f}x", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--seconds", name, backend]:
            print(json.dumps(seconds(name, backend)))
        case ["--memory", name, backend]:
            print(json.dumps(memory(name, backend)))
        case names:
            main(names)
