"""Standard output that is full, closed or not read any more, and commands that are interrupted."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nablac import __main__

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "specs" / "lstm.model")
COMMANDS = {
    "help": "--help",
    "explain": "explain",
    "summary": f"summary {MODEL}",
    "draw": f"draw {MODEL}",
    "run": f"run {MODEL} {ROOT}/specs/data/airline-passengers.csv:passengers --json",
}


def shell(command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    text = f"{shlex.quote(sys.executable)} -m nablac {command}"
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("label", COMMANDS)
@pytest.mark.parametrize(
    ("redirected", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_output_that_cannot_be_written_is_one_line(label: str, redirected: str, reason: str) -> None:
    done = shell(f"{COMMANDS[label]} {redirected}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error[E904]: standard output cannot be written: {reason}"
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("label", COMMANDS)
def test_a_pipe_that_nobody_reads_is_no_error(label: str) -> None:
    done = shell(f"{COMMANDS[label]} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0
    assert "rror" not in done.stderr and "rupted" not in done.stderr


def test_a_model_comes_from_a_process_substitution() -> None:
    done = shell(f"check <(sleep 0.2; cat {MODEL})")
    assert done.returncode == 0, done.stderr


def test_a_check_that_says_nothing_needs_no_output() -> None:
    assert shell(f"check {MODEL} >&- 2>&-").returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_ended_compilation_leaves_no_draft(tmp_path: Path, number: int, status: int) -> None:
    command = [
        sys.executable,
        "-m",
        "nablac",
        "compile",
        str(ROOT / "specs" / "gpt.model"),
        "-o",
        tmp_path / "made.onnx",
    ]
    running = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while running.poll() is None and not list(tmp_path.iterdir()):
        time.sleep(0.005)
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    # Python ends itself by SIGINT where that cut an import of C code short; a shell shows both as 130.
    assert running.returncode == status or (number == signal.SIGINT and running.returncode == -number)
    assert list(tmp_path.iterdir()) == [] and "Traceback" not in errors
    assert ("interrupted" in errors) == (number == signal.SIGINT)


def test_an_interrupt_while_nablac_is_still_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nablac.commands.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("color", ["always", "never"])
def test_colours_are_those_asked_for(tmp_path: Path, color: str) -> None:
    wrong = tmp_path / "wrong.model"
    wrong.write_text("model M {\n    input x: [batch, 3]\n    output y\n}\n")
    for command in (f"check {wrong}", f"summary {MODEL}", f"compile {wrong}"):
        done = shell(f"{command} --color {color}")
        assert ("\033[" in done.stdout + done.stderr) == (color == "always"), command
