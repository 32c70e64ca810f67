"""Contenders beside each other: one process each, one runs at a time, in turns; results have to agree with ours."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS, OURS, Job
from benchmarks.measuring import Figure, summarize

LONGEST = 600  # seconds for one answer
LOSS_TOLERANCE = 1e-4  # relative
OUTPUT_TOLERANCE = 1e-3  # of the largest number of the output
FIRST_STEPS = 4


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int = 7
    burst_seconds: float = 0.1
    warm_seconds: float = 5.0


QUICK = Plan(rounds=3, burst_seconds=0.05, warm_seconds=3.0)


@dataclass
class Outcome:
    """What is known of one contender after its turns; a note says why there are no figures, or what they mean."""

    seconds: Figure | None = None  # of a step
    first: list[float] = field(default_factory=list)  # seconds of the first steps
    peak: float | None = None  # MiB that steps take beyond the imports
    building: float | None = None  # MiB that building took at the most
    warm_steps: int = 0
    note: str = ""


class Entrant:
    """A running process of a contender, which is stopped when it is not its turn."""

    def __init__(self, job: Job) -> None:
        self.job = job
        threads = str(job.threads)
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
        flags = f"--xla_cpu_multi_thread_eigen={'false' if job.threads == 1 else 'true'}"
        settings = {
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": flags,
            "JAX_PLATFORMS": "cpu",
            "TOKENIZERS_PARALLELISM": "false",
        }
        facts = asdict(job) | {"folder": str(job.folder)}
        self.errors = (job.folder / f"errors-{id(self)}.txt").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contender_process", json.dumps(facts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | dict.fromkeys(variables, threads) | settings,
        )

    def read(self) -> dict[str, Any]:
        """The next answer; `failed` if there is none."""
        pipe = self.process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], LONGEST)
        if not ready:
            self.end()
            return {"failed": f"no answer after {LONGEST} s"}
        line = pipe.readline()
        if not line:
            return {"failed": f"the process ended with status {self.process.wait()}"}
        return dict(json.loads(line))

    def ask(self, command: str, seconds: float) -> dict[str, Any]:
        """The answer to a command, with the process running only until then."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{command} {seconds}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"failed": "the process has ended"}
        answer = self.read()
        self.pause()
        return answer

    def pause(self) -> None:
        """Stop the process until it is asked: threads that wait for work would take time from the others."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def compete(case: str, work: str, names: Sequence[str], threads: int, folder: Path, plan: Plan) -> dict[str, Outcome]:
    """The outcome of each contender. They build two at a time, and all else one at a time."""
    outcomes = {name: Outcome() for name in names}
    running: dict[str, Entrant] = {}
    try:
        _start(case, work, threads, folder, outcomes, running)
        results: dict[str, np.ndarray] = {}
        for name in list(running):
            answer = running[name].ask("warm", plan.warm_seconds)
            outcome = outcomes[name]
            if _stopped(answer, outcome):
                running.pop(name).end()
                continue
            times = answer["times"]
            outcome.first, outcome.warm_steps = times[:FIRST_STEPS], len(times)
            outcome.peak, outcome.building = answer["peak"], answer["building"]
            results[name] = np.load(answer["result"])
        for name, difference in _differences(results):
            outcomes[name] = Outcome(note=f"not comparable: {difference}")
            running.pop(name).end()
        turns: dict[str, list[float]] = {name: [] for name in running}
        for number in range(plan.rounds):
            for name in list(running)[:: 1 if number % 2 else -1]:
                answer = running[name].ask("burst", plan.burst_seconds)
                if _stopped(answer, outcomes[name]):
                    running.pop(name).end()
                else:
                    turns[name].append(answer["time"])
        for name in running:
            outcomes[name].seconds = summarize(turns[name])
    finally:
        for entrant in running.values():
            entrant.end()
    return outcomes


def _start(
    case: str, work: str, threads: int, folder: Path, outcomes: dict[str, Outcome], running: dict[str, Entrant]
) -> None:
    """Start the contenders that are installed, and wait until they are built."""
    building: list[str] = []

    def wait() -> None:
        name = building.pop(0)
        if _stopped(running[name].read(), outcomes[name]):
            running.pop(name).end()
        else:
            running[name].pause()

    for name, outcome in outcomes.items():
        if missing := CONTENDERS[name].missing():
            outcome.note = f"{' and '.join(missing)} not installed"
            continue
        running[name] = Entrant(Job(case, work, name, threads, folder))
        building.append(name)
        if len(building) >= 2:
            wait()
    while building:
        wait()


def _stopped(answer: dict[str, Any], outcome: Outcome) -> bool:
    """Whether an answer says that there will be no more, which the outcome then notes."""
    outcome.note = answer.get("absent") or answer.get("failed") or outcome.note
    return "absent" in answer or "failed" in answer


def _differences(results: dict[str, np.ndarray]) -> Iterable[tuple[str, str]]:
    """The contenders whose first result is not ours, with the difference."""
    ours = next((results[name] for name in OURS if name in results), None)
    if ours is None:
        return
    for name, result in results.items():
        if not np.ndim(ours):
            if not abs(float(result) - float(ours)) <= LOSS_TOLERANCE * abs(float(ours)):
                yield name, f"its first loss is {float(result):.6g}, ours {float(ours):.6g}"
        elif result.shape != ours.shape:
            yield name, f"its output is {list(result.shape)}, ours {list(ours.shape)}"
        else:
            scale = float(np.abs(ours).max()) or 1.0
            distance = float(np.abs(result - ours).max()) / scale
            if not distance <= OUTPUT_TOLERANCE:
                yield name, f"its output differs by {distance:.1e} of the largest number"
