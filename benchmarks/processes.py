"""Whole commands beside each other, in turns: processor time of each process and the memory at its peak."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measuring import Figure, summarize

ROOT = Path(__file__).parents[1]


@dataclass
class Usage:
    """What the runs of a command took."""

    seconds: list[float] = field(default_factory=list)  # of user and system time
    peaks: list[float] = field(default_factory=list)  # MiB
    failure: str = ""

    def processor_time(self, factor: float = 1.0) -> Figure:
        """The processor time, in seconds times a factor."""
        return summarize([seconds * factor for seconds in self.seconds])

    def peak(self) -> Figure:
        """The memory, in MiB."""
        return summarize(self.peaks)


def run_in_turns(commands: Mapping[str, Sequence[str]], runs: int, *, first: bool = True) -> dict[str, Usage]:
    """The usage of Python commands by name; a `first` run that fills caches does not count."""
    usages = {name: Usage() for name in commands}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(runs + first):
        for name, arguments in commands.items():
            usage = usages[name]
            if usage.failure:
                continue
            with tempfile.TemporaryFile() as errors:
                process = subprocess.Popen(
                    [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
                )
                _, status, resources = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    errors.seek(0)
                    lines = errors.read().decode(errors="replace").strip().splitlines()
                    usage.failure = lines[-1][:200] if lines else f"status {process.returncode}"
                elif number >= first:
                    usage.seconds.append(resources.ru_utime + resources.ru_stime)
                    usage.peaks.append(resources.ru_maxrss / 1024)
    return usages
