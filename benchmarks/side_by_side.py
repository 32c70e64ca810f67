"""This checkout against another one: `python -m benchmarks.side_by_side ../other`, as ratios of processor time.

The two take turns at each command, so that a busy machine is as busy for both. The other one is usually a worktree of
an earlier commit: `git worktree add --detach ../other COMMIT`.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "check specs/lstm.model",
    "compile specs/lstm.model --no-verify -o OUT/model.onnx",
    "compile specs/resnet.model --train --no-verify -o OUT/model.onnx",
    "compile specs/transformer.model --train --no-verify -o OUT/model.onnx",
    "compile specs/gpt.model --train --no-verify -o OUT/model.onnx",
    "train specs/rnn.model --epochs 20 -q -o OUT/run",
    "train specs/lstm.model --epochs 3 -q -o OUT/run",
    "train specs/cnn.model --epochs 1 -q -o OUT/run",
    "train specs/transformer.model --epochs 1 --limit-batches 10 -q -o OUT/run",
)


def processor_time(checkout: Path, command: str, caches: Path) -> float:
    """The seconds of user and system time that a command takes, as a process in its checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(checkout), "PYTHONPYCACHEPREFIX": str(caches), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = command.replace("OUT", folder).split()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        line = [sys.executable, "-m", "nablac", *arguments]
        subprocess.run(line, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="another checkout of nablac")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    checkouts = (options.other.resolve(), ROOT)
    caches = Path(tempfile.mkdtemp())
    try:
        print(f"{'':<76} {'other':>8} {'this':>8}  ratio")
        for command in COMMANDS:
            times: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
            for _ in range(options.runs + 1):  # the first run fills caches
                for checkout in checkouts:
                    times[checkout].append(processor_time(checkout, command, caches))
            other, this = (statistics.median(each[1:]) for each in times.values())
            print(f"{command:<76} {other * 1000:5.0f} ms {this * 1000:5.0f} ms {this / other:6.2f}", flush=True)
    finally:
        shutil.rmtree(caches)


if __name__ == "__main__":
    main()
