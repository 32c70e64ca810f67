"""Runs that are stopped by a signal, which saves first, or killed at any moment, resume to the same bits."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nablac.commands.signals import collected_signals
from tests.command_line import process
from tests.nablac.test_train import BACKENDS, FORECASTER


def begun(folder: Path, name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a run of many epochs, and wait until it has finished one."""
    running = process("train", FORECASTER, *arguments, "--epochs", "100000", "-o", name, folder=folder)
    while running.poll() is None and not (folder / name / "history.csv").exists():
        time.sleep(0.02)
    return running


def interrupted(tmp_path: Path, number: int) -> tuple[int, str]:
    running = begun(tmp_path, "run")
    running.send_signal(number)
    _, errors = running.communicate()
    return running.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_prints_how_to_resume(tmp_path: Path, number: int) -> None:
    status, errors = interrupted(tmp_path, number)
    assert status == 128 + number  # 130 after Ctrl-C, 143 after SIGTERM, as a shell shows them
    assert errors.splitlines()[-1] == "stopped and saved; resume with:   nablac train --resume run"
    assert "Traceback" not in errors
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*.safetensors"))) >= 1
    assert not list((tmp_path / "run").rglob("*.part"))


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_second_signal_ends_the_command_at_once(number: signal.Signals, error: type[BaseException]) -> None:
    with pytest.raises(error) as ended, collected_signals() as caught:
        signal.raise_signal(number)
        assert caught == [number]
        signal.raise_signal(number)
    assert getattr(ended.value, "code", None) == {signal.SIGTERM: 143}.get(number)


def killed_and_resumed(folder: Path, backend: str, seconds: float, epochs: str) -> bool:
    """Kill a run after a time and resume it to its end; returns whether it was killed before it had finished."""
    shutil.rmtree(folder / "part", ignore_errors=True)
    arguments = ("train", FORECASTER, "--backend", backend, "--epochs", epochs, "-q", "-o", "part")
    running = process(*arguments, folder=folder)
    try:
        running.wait(timeout=seconds)
        killed = False
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
        killed = True
    running.communicate()
    if not (folder / "part").exists():  # killed before its folder was created, which is atomic
        again = process(*arguments, folder=folder)
    else:
        again = process("train", FORECASTER, "-q", "--resume", "part", folder=folder)
    output, errors = again.communicate(timeout=120)
    assert again.returncode == 0, output + errors
    return killed


def same(folder: Path) -> None:
    for name in ("history.csv", "weights.safetensors"):
        assert (folder / "whole" / name).read_bytes() == (folder / "part" / name).read_bytes(), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_run_resumes_as_the_run_that_was_not(tmp_path: Path, backend: str) -> None:
    running = begun(tmp_path, "part", "--backend", backend, "-q")
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    epochs = str(len((tmp_path / "part" / "history.csv").read_text().splitlines()) + 3)
    for options in (("--resume", "part"), ("--backend", backend, "-o", "whole")):
        done = process("train", FORECASTER, *options, "--epochs", epochs, "-q", folder=tmp_path)
        assert done.wait() == 0, done.communicate()
        done.communicate()
    same(tmp_path)


KILLS, SIGNALS = 100, 30  # of the campaign, on each backend


@pytest.mark.campaign
@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_runs_resume_as_the_run_that_was_not(tmp_path: Path, backend: str) -> None:
    whole = process("train", FORECASTER, "--backend", backend, "--epochs", "40", "-q", "-o", "whole", folder=tmp_path)
    started = time.monotonic()
    assert whole.wait(timeout=120) == 0
    whole.communicate()
    length = time.monotonic() - started
    generator = random.Random(7)
    killed = 0
    while killed < KILLS:
        killed += killed_and_resumed(tmp_path, backend, generator.uniform(0.0, 1.0) * length, "40")
        same(tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("backend", BACKENDS)
def test_runs_that_a_signal_stops_resume_as_the_run_that_was_not(tmp_path: Path, backend: str) -> None:
    """Ctrl-C and SIGTERM in turn, at any moment; a run that was started prints how to resume, and resumes."""
    arguments = ("train", FORECASTER, "--backend", backend, "--epochs", "40", "-q", "-o")
    whole = process(*arguments, "whole", folder=tmp_path)
    started = time.monotonic()
    assert whole.wait(timeout=120) == 0
    whole.communicate()
    length = time.monotonic() - started
    generator = random.Random(11)
    stopped = 0
    while stopped < SIGNALS:
        shutil.rmtree(tmp_path / "part", ignore_errors=True)
        number = (signal.SIGINT, signal.SIGTERM)[stopped % 2]
        running = process(*arguments, "part", folder=tmp_path)
        time.sleep(generator.uniform(0.0, 1.0) * length)
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
        assert "Traceback" not in errors
        assert not list(tmp_path.rglob("*.part")), "a draft is left"
        if running.returncode == 0:  # finished before the signal came
            continue
        stopped += 1
        begun, done = (tmp_path / "part").exists(), (tmp_path / "part" / "model.onnx").exists()
        # Before nablac's first line and after its last one, the signal ends Python with status -number.
        assert running.returncode in ({128 + number} if begun and not done else {128 + number, -number}), errors
        again = ("train", FORECASTER, "-q", "--resume", "part") if begun else (*arguments, "part")
        resumed = process(*again, folder=tmp_path)
        output, errors = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, output + errors
        same(tmp_path)
