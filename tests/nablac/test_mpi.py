"""`mpirun nablac train`: several processes train as one, say what is wrong once, and leave good checkpoints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workers.launching import ENVIRONMENT, MPIRUN, begin, check_same, command, train, workers_of, write_files

pytest.importorskip("mpi4py", reason="the mpi extra is not installed")
pytestmark = pytest.mark.skipif(not MPIRUN.exists(), reason="the mpi extra is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("backend", "dtype", "tolerance"), [("numpy", "f64", 1e-12), ("ort", "f32", 2e-5)])
def test_workers_have_the_result_of_one_and_resume_on_another_number(
    folder: Path, backend: str, dtype: str, tolerance: float
) -> None:
    options = ("m.model", "--backend", backend, "--dtype", dtype)
    alone = train(folder, 1, *options, "--batch", "24", "-o", "alone")
    assert alone.returncode == 0, alone.stderr
    shared = train(folder, 3, *options, "-o", "shared")
    assert shared.returncode == 0, shared.stderr
    assert "batches of 24 over 3 workers" in shared.stderr and shared.stderr.count("epoch 3/3") == 1
    check_same(folder / "alone", folder / "shared", tolerance)
    for workers in (2, 1):
        epochs = str(6 - workers)
        resumed = train(folder, workers, "--resume", "shared", "--epochs", epochs, "--batch", str(24 // workers))
        assert resumed.returncode == 0, resumed.stderr
        assert train(folder, 1, "--resume", "alone", "--epochs", epochs).returncode == 0
        check_same(folder / "alone", folder / "shared", tolerance)


def test_a_mistake_is_reported_once_before_the_first_step(folder: Path) -> None:
    mistakes = (
        (["none.model"], "E901"),
        (["m.model", "--device", "cuda"], "E910"),  # known before the workers are connected
        (["m.model", "--overfit", "2", "--batch", "1"], "E890"),
    )
    for arguments, code in mistakes:
        done = train(folder, 3, *arguments, "-o", "run")
        assert done.returncode != 0 and done.stderr.count("error[") == 1 and f"error[{code}]" in done.stderr
        assert "Traceback" not in done.stderr and not (folder / "run").exists()


def test_workers_with_different_seeds_are_refused(folder: Path) -> None:
    script = 'exec "$0" -m nablac train m.model --seed $OMPI_COMM_WORLD_RANK -o run'
    launcher = command(2)[: command(2).index(sys.executable)]
    done = subprocess.run(
        [*launcher, "sh", "-c", script, sys.executable],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0 and done.stderr.count("error[") == 1
    assert "error[E890]: worker 2 of 2 has another `--seed` than the first: 1, and not 0" in done.stderr
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "signal 9"),
        (signal.SIGSTOP, "error[E891]"),
        (signal.SIGTERM, "stopped and saved"),
    ],
)
def test_a_lost_worker_ends_the_run_and_the_run_resumes(folder: Path, number: int, message: str) -> None:
    process = begin(folder, 2, "m.model", "-o", "run", "--epochs", "2000", "--worker-timeout", "3")
    try:
        deadline = time.monotonic() + 60
        while not (folder / "run" / "history.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(workers_of(process.pid)[-1], number)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and message in printed and "Traceback" not in printed
    assert printed.count("error[") <= 1
    done = len(json.loads((folder / "run" / "history.json").read_text())["loss"])
    resumed = train(folder, 1, "--resume", "run", "--epochs", str(done + 1))
    assert resumed.returncode == 0, resumed.stderr
