"""Groups of training processes, joined or each by itself, which take turns; what a step of each takes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from benchmarks.contenders import Job
from benchmarks.measuring import summarize

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n"]
WARM = 3  # steps


@dataclass(frozen=True)
class Kind:
    """A group: so many processes of a backend, `joined` to workers of one training or each training by itself."""

    backend: str  # "numpy", "ort" or "torch"
    processes: int
    joined: bool


class Group:
    """The running processes of a group, which sleep when they are not asked."""

    def __init__(self, kind: Kind, case: str, folder: Path) -> None:
        name = f"{kind.backend}-{kind.processes}-{kind.joined}"
        self.socket = str(folder / f"{name}.socket")
        self.listener = Listener(self.socket, "AF_UNIX")
        self.errors = (folder / f"{name}.txt").open("w")
        launcher = [*MPIRUN, str(kind.processes)] if kind.joined and kind.backend != "torch" else []
        started = [0] if launcher else list(range(kind.processes))
        self.processes = [self._start(kind, case, folder, rank, launcher) for rank in started]
        self.connections: list[Connection] = [self.listener.accept() for _ in range(kind.processes)]
        for connection in self.connections:
            connection.recv()

    def _start(self, kind: Kind, case: str, folder: Path, rank: int, launcher: list[str]) -> subprocess.Popen[bytes]:
        job = asdict(Job(case, "training", kind.backend, 1, folder))
        job.pop("folder")
        joined = kind.processes if kind.joined else 1
        facts = {
            "job": job,
            "folder": str(folder),
            "rank": rank,
            "joined": joined,
            "socket": self.socket,
            "backend": kind.backend,
        }
        program = [sys.executable, "-m", "benchmarks.worker_process", json.dumps(facts)]
        return subprocess.Popen([*launcher, *program], stdout=self.errors, stderr=self.errors, stdin=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until all are built, and have run some steps."""
        for connection in self.connections:
            connection.recv()
        self.ask("steps", WARM)

    def ask(self, what: str, count: int) -> dict[str, float]:
        """What all processes answer, which run at the same time: the most of each quantity."""
        for connection in self.connections:
            connection.send((what, count))
        answers: list[dict[str, float]] = [connection.recv() for connection in self.connections]
        return {name: max(answer[name] for answer in answers) for name in answers[0]}

    def end(self) -> None:
        """End the processes."""
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            process.kill()
            process.wait()
        self.listener.close()
        self.errors.close()


def measure(
    kinds: Mapping[str, Kind], case: str, folder: Path, rounds: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Figures of each group by quantity, from alternating rounds of about so many seconds."""
    groups: dict[str, Group] = {}
    try:
        for name, kind in kinds.items():
            groups[name] = Group(kind, case, folder)
            groups[name].wait()
        steps = {name: max(2, round(seconds / group.ask("steps", 2)["wall"])) for name, group in groups.items()}
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in groups}
        for number in range(rounds):
            for name in list(groups)[:: 1 if number % 2 else -1]:
                turns[name].append(groups[name].ask("steps", steps[name]))
        figures = {
            name: {quantity: summarize([turn[quantity] for turn in every]) for quantity in every[0]}
            for name, every in turns.items()
        }
        for name, quantities in figures.items():
            if "bytes" in quantities:
                elements = int(quantities["bytes"].median) // 4
                bare = [groups[name].ask("bare", elements)["bare"] for _ in range(rounds)]
                quantities["bare"] = summarize(bare)
        return figures
    finally:
        for group in groups.values():
            group.end()
