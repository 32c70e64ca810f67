"""The predictions of `nablac plan` beside steps of 2 and 4 processes on this machine.

`python -m benchmarks.planned_steps` prints them. The network is this machine's memory, as MPI's own Allreduce uses it:
the latency and the bandwidth with which the formulas of `runtime.workers.cost_model` give the measured times of a short
and of a long message. Where there are more processes than processors, the prediction takes the step of one so many
times longer. Of processes the fastest step counts, which other work disturbs least; of the plan, the processor time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from nablac.commands.model_options import ModelOptions
from nablac.commands.training_setup import set_up_step
from nablac.worker_plan import plan_workers
from nablac.workloads import random_steps
from runtime.thread_limits import processors, with_threads
from runtime.training.training_run import Training
from runtime.workers.collective import By
from runtime.workers.cost_model import Network, StepTime, predict

CASES = [("mlp", 32), ("mlp", 256), ("cnn", 32), ("lstm", 32)]  # a model, and the batch of a worker
_SHORT, _LONG = 8, 16_000_000  # bytes
_SECONDS, _WARM_UP = 6.0, 3  # that each case runs, and each message, after some calls
_RESULT = "seconds: "  # what follows is JSON


def _training(name: str, batch: int) -> Training:
    training = set_up_step(ModelOptions(Path("specs") / f"{name}.model", backend="ort"), None)
    training.options = replace(training.options, batch=batch, threads=1)
    return training


def work(name: str, batch: int) -> None:
    """What each process under `mpirun` does; the first prints the seconds of both messages and of a step."""
    from mpi4py import MPI

    from runtime.workers.mpi import MpiCollective

    world = MPI.COMM_WORLD
    collective = MpiCollective(120, lambda seconds: None)

    def fastest(run: Callable[[], object]) -> float:
        """The seconds of the fastest call, by the slowest worker in it."""
        for _ in range(_WARM_UP):
            run()
        best, least = float("inf"), time.perf_counter() + _SECONDS
        while world.bcast(time.perf_counter() < least):
            world.Barrier()
            begun = time.perf_counter()
            run()
            best = min(best, world.allreduce(time.perf_counter() - begun, MPI.MAX))
        return best

    short, long = np.zeros(_SHORT // 8), np.zeros(_LONG // 8)
    times = [fastest(lambda: collective.reduce(short, By.SUM)), fastest(lambda: collective.reduce(long, By.SUM))]
    training = replace(_training(name, batch), collective=collective)
    steps = random_steps(training, {})
    agreement = np.zeros(2)

    def step() -> None:
        steps.workload.run()
        collective.reduce(agreement, By.MAX)

    times.append(fastest(step))
    if collective.rank == 0:
        print(_RESULT + json.dumps(times))


def _measured(workers: int, name: str, batch: int) -> tuple[Network, float]:
    """The network and the seconds of a step of so many processes."""
    mpirun = [str(Path(sys.executable).parent / "mpirun"), "--allow-run-as-root", "--oversubscribe", "-n", str(workers)]
    command = [*mpirun, sys.executable, "-m", "benchmarks.planned_steps", name, str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    line = next(line for line in done.stdout.splitlines() if line.startswith(_RESULT))
    short, long, step = json.loads(line.removeprefix(_RESULT))
    latency = short / Network(1.0, 1.0).doubling_seconds(0, workers)
    moved = max(long - Network(1.0, latency).ring_seconds(0, workers), 1e-9)
    return Network(2 * (workers - 1) / workers * _LONG / moved, latency), step


def main() -> None:
    """Print a table of predictions and measurements."""
    print("| model, batch of a worker | processes | network | predicted ms | measured ms | measured / predicted |")
    print("|---|---|---|---|---|---|")
    for name, batch in CASES:
        plan = plan_workers(name, _training(name, batch), {}, 2, Network(1.0, 1.0), fixed_batch=False)
        for workers in (2, 4):
            network, seconds = _measured(workers, name, batch)
            slower = max(1, -(-workers // processors()))
            time = StepTime(plan.time.batch, plan.time.gradients * slower, plan.time.update * slower)
            expected = predict(time, plan.messages, network, workers).seconds
            link = f"{network.bandwidth / 1e9:.2f} GB/s, {network.latency * 1e6:.1f} us"
            figures = f"{expected * 1e3:.2f} | {seconds * 1e3:.2f} | {seconds / expected:.2f}"
            print(f"| {name}, {batch} | {workers} | {link} | {figures} |", flush=True)


if __name__ == "__main__":
    with with_threads(1):
        work(sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else main()
