"""`nablac train --engine ray`: the workers of a cluster train as one, and are restarted or end the run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from grammar.diagnostics import NablacError
from nablac.commands.ray_training import RayTraining, require_processors
from tests.command_line import invoke, succeed, surroundings
from tests.workers.launching import check_same, write_files

WORKERS = ("--workers", "2", "--engine", "ray")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("ray", reason="the ray extra is not installed")
    from runtime.workers.ray_cluster import connect

    with connect(cpus=2) as cluster:
        yield cluster.address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `nablac train` as a process with a group of its own, as a shell does."""
    command = [sys.executable, "-m", "nablac", "train", *arguments, *WORKERS]
    return subprocess.Popen(
        command, cwd=folder, env=surroundings(OMP_NUM_THREADS="1"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0,
    )  # fmt: skip


def wait_for_epoch(process: subprocess.Popen[str], run: Path, epoch: int = 1) -> int:
    """Wait until a run has finished the epoch; returns the number of those that it has finished."""
    deadline = time.monotonic() + 120
    while (done := _epochs(run)) < epoch and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return done


def _epochs(run: Path) -> int:
    history = run / "history.json"  # written atomically
    return len(json.loads(history.read_text())["loss"]) if history.exists() else 0


def processes(folder: Path, name: bytes = b"") -> list[int]:
    """Those whose working directory is the folder, by the beginning of their name."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").samefile(folder) and (path / "cmdline").read_bytes().startswith(name):
                numbers.append(int(path.name))
        except OSError:  # it has ended
            continue
    return sorted(numbers)


def last_worker(folder: Path) -> int:
    return processes(folder, b"ray::TrainingWorker")[-1]


def test_a_command_restarts_its_workers_and_ends_with_all_it_has_started(folder: Path) -> None:
    pytest.importorskip("ray", reason="the ray extra is not installed")
    process = start(folder, "m.model", "--dtype", "f64", "--epochs", "5000", "--batch", "30", "-o", "run", "--elastic")
    done = wait_for_epoch(process, folder / "run")
    os.kill(last_worker(folder), signal.SIGKILL)
    wait_for_epoch(process, folder / "run", done + 5)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 130 and "stopped and saved; resume with:   nablac train --resume" in printed, printed
    assert "of 2 has died: the run continues from its last checkpoint with 2 workers\n" in printed
    assert printed.count("batches of 60 over 2 workers") == 2
    assert not processes(folder)
    check_resumed(folder, 1e-12, "m.model", "--dtype", "f64")


def check_resumed(folder: Path, tolerance: float, *options: str) -> None:
    """The run, with an epoch more by this process, has the result of a run by one worker."""
    epochs = str(_epochs(folder / "run") + 1)
    succeed("train", "--resume", "run", "--epochs", epochs, folder=folder)
    succeed("train", *options, "--epochs", epochs, "--batch", "60", "-o", "alone", folder=folder)
    check_same(folder / "alone", folder / "run", tolerance)


def test_a_worker_that_hangs_ends_the_run_which_one_process_resumes(folder: Path, address: str) -> None:
    options = ("m.model", "--backend", "ort")
    process = start(
        folder,
        *options,
        "--epochs",
        "5000",
        "--batch",
        "30",
        "-o",
        "run",
        "--worker-timeout",
        "2",
        "--address",
        address,
    )
    wait_for_epoch(process, folder / "run")
    os.kill(last_worker(folder), signal.SIGSTOP)
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 2 and printed.count("error[") == 1 and "Traceback" not in printed, printed
    assert "error[E891]: a worker has not answered for 2 seconds: all workers end" in printed
    check_resumed(folder, 2e-5, *options)


def test_a_cluster_that_cannot_be_used_is_refused(folder: Path) -> None:
    pytest.importorskip("ray", reason="the ray extra is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            connection, _ = server.accept()
            connection.sendall(b"220 ready for mail\r\n")
            connection.close()

        threading.Thread(target=greet, daemon=True).start()
        for address, message in (
            (f"127.0.0.1:{port}", "what answers there is not Ray"),
            ("here", "is not the address"),
        ):
            done = invoke("train", "m.model", *WORKERS, "--address", address, folder=folder)
            assert done.exit_code == 2 and "error[E893]" in done.stderr and message in done.stderr
    done = invoke("train", "m.model", *WORKERS, "--address", f"127.0.0.1:{port}", folder=folder)
    assert done.exit_code == 2 and "connection refused" in done.stderr and not (folder / "runs").exists()


@dataclass(frozen=True)
class Lent:
    cpus: int
    free_cpus: int
    is_own: bool = False
    gpus: int = 0
    free_gpus: int = 0


@pytest.mark.parametrize(
    ("workers", "threads", "cluster", "message"),
    [
        (2, 1, Lent(4, 4, gpus=1, free_gpus=1), "2 workers need 2 GPUs, and the cluster has 1"),
        (2, 1, Lent(4, 4, gpus=2, free_gpus=2), None),
        (2, 2, Lent(3, 3), "2 workers with 2 threads each need 4 processors, and the cluster has 3"),
        (2, 1, Lent(8, 1), "2 workers need 2 processors, and the cluster has 8, 7 of them in use"),
        (3, 1, Lent(2, 2, is_own=True), "3 workers need 3 processors, and this machine has 2"),
        (2, 2, Lent(4, 4), None),
    ],
)
def test_more_workers_than_processors_are_refused(
    workers: int, threads: int, cluster: Lent, message: str | None
) -> None:
    training = RayTraining([], lambda folder: [], workers, 600.0, threads, gpus=int(cluster.gpus > 0))
    if message is None:
        require_processors(cluster, training)
    else:
        with pytest.raises(NablacError) as refused:
            require_processors(cluster, training)
        assert str(refused.value).splitlines()[0] == f"error[E893]: {message}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "3"), "something has to start 3 workers: `mpirun -n 3 nablac train FILE`"),
        (("--engine", "mpi"), "something has to start 2 workers"),
        (("--engine", "ray"), "`--engine ray` needs the number of workers"),
        (("--elastic",), "`--elastic` is for `--engine ray`"),
        (("--address", "auto"), "`--address` is for `--engine ray`"),
    ],
)
def test_options_of_workers_that_do_not_fit(folder: Path, options: tuple[str, ...], message: str) -> None:
    done = invoke("train", "m.model", *options, folder=folder)
    assert done.exit_code == 2 and message in done.stderr
