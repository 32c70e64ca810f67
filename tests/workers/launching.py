"""Runs of `nablac train` by several workers, and their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.paths import ROOT

MPIRUN = Path(sys.executable).parent / "mpirun"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
MODEL = """
model M {
    input x: [batch, 2]
    y = x -> Dense(16) -> tanh -> Dropout(0.2) -> Dense(1)
    output y
}
train M {
    data csv("d.csv") -> columns(inputs: ["a", "b"], targets: "c")
    target t: [batch, 1]
    loss rmse(y, t)
    optimizer adam(lr: 0.01); epochs 3; seed 4; batch 8; validation 0.2; clip_norm 0.5
}
"""


def write_files(folder: Path) -> None:
    """Write the model and its data to a folder, as `m.model` and `d.csv`."""
    (folder / "m.model").write_text(MODEL)
    rows = np.random.default_rng(0).normal(size=(203, 2))
    lines = [f"{a},{b},{a * b}" for a, b in rows]
    (folder / "d.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")


def command(workers: int, *arguments: str) -> list[str]:
    """`nablac train` by so many workers."""
    launcher = [str(MPIRUN), "--allow-run-as-root", "--oversubscribe", "-n", str(workers)] if workers > 1 else []
    return [*launcher, sys.executable, "-m", "nablac", "train", *arguments]


def train(folder: Path, workers: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A finished run."""
    return subprocess.run(
        command(workers, *arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


def begin(folder: Path, workers: int, *arguments: str) -> subprocess.Popen[str]:
    """A run that goes on."""
    return subprocess.Popen(
        command(workers, *arguments),
        cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def results(run: Path) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """The history of a run, and its weights."""
    from safetensors.numpy import load_file

    return json.loads((run / "history.json").read_text()), load_file(run / "weights.safetensors")


def check_same(run: Path, other: Path, tolerance: float) -> None:
    """AssertionError where two runs have different results."""
    (history, weights), (other_history, other_weights) = results(run), results(other)
    for name, values in history.items():
        np.testing.assert_allclose(other_history[name], values, rtol=tolerance, err_msg=name)
    for path, array in weights.items():
        np.testing.assert_allclose(other_weights[path], array, rtol=tolerance, atol=tolerance, err_msg=path)


def workers_of(launcher: int) -> list[int]:
    """The Python processes below a launcher, by their numbers."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            program = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == launcher and "nablac" in program:
            found.append(int(status.parent.name))
    return sorted(found)
