"""`python -m tests.workers.kills`: runs of 2 to 4 workers, one of which is killed at a random moment, and then another.

Each run is resumed until it ends, on as many workers or on fewer: 4, then 2, then 1. Its weights and its history have
the bits of a run that nobody killed where the number stayed the same, and agree to 1e-6 otherwise. Some workers hang
(SIGSTOP) instead, which the others notice by `--worker-timeout`. A run counts that the signal ended: by the exit status
that the launcher has of a killed worker, or by E891 of those that wait for one that hangs. Any other ending is a
failure.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.workers.launching import begin, check_same, workers_of, write_files

BATCH = 24  # of all workers together
EPOCHS = "12"
TOLERANCE = 1e-6
LONGEST = 600.0  # seconds that a run may take, also on a busy machine
BACKENDS = ("numpy", "ort")
KILLED = 128 + signal.SIGKILL  # the exit status of a launcher
ENDED_FIRST = "ended first"
PATHS = ((2, 2), (3, 3), (4, 4), (4, 2, 1), (3, 2, 1), (2, 4, 1))  # the workers of a run, and of its resumed ones


@dataclass
class Campaign:
    """The runs in a folder; `seconds` are the fewest of a run that nobody has killed, by its backend and workers."""

    folder: Path
    generator: random.Random
    seconds: dict[tuple[str, int], float]
    hangs: bool = False  # rather than kills: only these need a short limit

    def arguments(self, backend: str, workers: int) -> tuple[str, ...]:
        """The options of a new run."""
        batch = str(BATCH // workers)
        return ("m.model", "--backend", backend, "--dtype", "f64", "--epochs", EPOCHS, "--batch", batch, "-q")

    def run_whole(self, backend: str, workers: int) -> None:
        """The run that nobody kills."""
        started = time.monotonic()
        running = begin(self.folder, workers, *self.arguments(backend, workers), "-o", f"{backend}-{workers}")
        output, _ = running.communicate(timeout=LONGEST)
        assert running.returncode == 0, output
        self.seconds[backend, workers] = time.monotonic() - started

    def disturb(self, backend: str, path: tuple[int, ...], number: signal.Signals) -> list[str]:
        """What became of a run on the workers of `path`, of which all but the last are sent a signal."""
        shutil.rmtree(self.folder / "part", ignore_errors=True)
        endings = []
        for workers in path[:-1]:
            started, running = time.monotonic(), self._go_on(backend, workers)
            delay = self.generator.uniform(0.0, 1.0) * self.seconds[backend, workers]
            endings.append(self._send(running, number, delay))
            if endings == [ENDED_FIRST]:  # a new run, when less else is running on the machine
                self.seconds[backend, workers] = min(self.seconds[backend, workers], time.monotonic() - started)
        (last,) = path[-1:]
        output, _ = (running := self._go_on(backend, last)).communicate(timeout=LONGEST)
        assert running.returncode == 0, output
        same = set(path) == {last}
        check_same(self.folder / f"{backend}-{last}", self.folder / "part", 0.0 if same else TOLERANCE)
        return endings

    def _go_on(self, backend: str, workers: int) -> subprocess.Popen[str]:
        """The run, resumed where it has begun; its folder appears at once, with all that is needed."""
        timeout = ("--worker-timeout", "2" if self.hangs else "600")
        if (self.folder / "part").exists():
            return begin(self.folder, workers, "--resume", "part", "-q", *timeout)
        return begin(self.folder, workers, *self.arguments(backend, workers), "-o", "part", *timeout)

    def _send(self, running: subprocess.Popen[str], number: signal.Signals, delay: float) -> str:
        """The name of the signal to a random worker that ended a run, or ENDED_FIRST; AssertionError otherwise."""
        time.sleep(delay)
        while number == signal.SIGSTOP and running.poll() is None and not (self.folder / "part").exists():
            time.sleep(0.02)  # MPI itself starts without a time limit
        workers: list[int] = []
        while running.poll() is None and not (workers := workers_of(running.pid)):
            time.sleep(0.01)
        if workers:
            try:
                os.kill(self.generator.choice(workers), number)
            except ProcessLookupError:  # it has just ended
                workers = []
        try:
            output, _ = running.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            for worker in workers_of(running.pid):
                os.kill(worker, signal.SIGKILL)
            running.kill()
            raise AssertionError(f"the run has not ended {LONGEST:g} s after a signal") from None
        assert "Traceback" not in output and output.count("error[") <= 1, output
        if running.returncode == 0:
            return ENDED_FIRST
        is_signal = "error[E891]" in output if number == signal.SIGSTOP else running.returncode == KILLED
        assert workers and is_signal, f"exit status {running.returncode} without a signal:\n{output}"
        return number.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, metavar="COUNT", help="kills of running workers")
    parser.add_argument("--hangs", type=int, default=6, metavar="COUNT", help="workers that hang")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        campaign = Campaign(Path(name), random.Random(options.seed), {})
        write_files(campaign.folder)
        for backend in BACKENDS:
            for workers in (1, 2, 3, 4):
                campaign.run_whole(backend, workers)
        for number, wanted in ((signal.SIGKILL, options.kills), (signal.SIGSTOP, options.hangs)):
            campaign.hangs = number == signal.SIGSTOP
            sent = runs = 0
            while sent < wanted:
                backend, path = BACKENDS[runs % 2], PATHS[runs // 2 % len(PATHS)]
                runs += 1
                started = time.monotonic()
                try:
                    endings = campaign.disturb(backend, path, number)
                except AssertionError as error:
                    failures += 1
                    sent += 1
                    print(f"{number.name} {backend} {path}: LOST: {error}", flush=True)
                    continue
                sent += sum(ending != ENDED_FIRST for ending in endings)
                print(
                    f"{number.name} {sent}: {backend} on {path} workers: {', '.join(endings)}"
                    f" ({time.monotonic() - started:.0f} s)",
                    flush=True,
                )
    print(f"{failures} runs lost or different")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
