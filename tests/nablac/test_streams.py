"""Standard output that is full, closed or no longer read, and commands that are interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grammar.diagnostics import NablacError
from nablac import __main__
from runtime.boundary import read_stream
from runtime.data.csv_file import Format
from runtime.data.table_blocks import table_blocks
from runtime.input_files import Reading
from tests.command_line import invoke, process, shell, surroundings
from tests.paths import ROOT

MODEL = str(ROOT / "specs" / "lstm.model")
COMMANDS = {
    "help": "--help",
    "explain": "explain",
    "summary": f"summary {MODEL}",
    "draw": f"draw {MODEL}",
    "run": f"run {MODEL} {ROOT}/specs/data/airline-passengers.csv:passengers --json",
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("label", COMMANDS)
@pytest.mark.parametrize(
    ("redirected", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_output_that_cannot_be_written_is_one_line(label: str, redirected: str, reason: str) -> None:
    done = shell(f"nablac {COMMANDS[label]} {redirected}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error[E904]: standard output cannot be written: {reason}"
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("label", COMMANDS)
def test_a_pipe_without_a_reader_is_no_error(label: str) -> None:
    done = shell(f"nablac {COMMANDS[label]} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0
    assert "rror" not in done.stderr and "rupted" not in done.stderr


def test_a_closed_stdin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "error[E903]: the file cannot be read\n --> <stdin>\n  = it is closed"
    for command in (f"run {MODEL}", "check"):
        done = shell(f"nablac {command} - <&-")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", closed + "\n"), command
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it then; predict and generate read it so
    for read in (lambda: next(table_blocks("-", Format(), Reading(), 1)), lambda: read_stream(Path("-"))):
        with pytest.raises(NablacError) as caught:
            read()
        assert str(caught.value) == closed


def test_a_model_comes_from_a_process_substitution() -> None:
    done = shell(f"nablac check <(sleep 0.2; cat {MODEL})")
    assert done.returncode == 0, done.stderr


def test_a_check_without_output_needs_no_stdout() -> None:
    assert shell(f"nablac check {MODEL} >&- 2>&-").returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_ended_compilation_leaves_no_draft(tmp_path: Path, number: int, status: int) -> None:
    for _ in range(20):  # on a busy machine it may finish before the signal comes
        running = process("compile", ROOT / "specs" / "gpt.model", "-o", tmp_path / "m.onnx")
        while running.poll() is None and not list(tmp_path.iterdir()):
            time.sleep(0.005)
        running.send_signal(number)
        _, errors = running.communicate()
        if running.returncode != 0:
            break
        (tmp_path / "m.onnx").unlink()
    # Python ends itself by SIGINT if that interrupted an import of C code; a shell shows both as 130.
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
def test_colours_follow_the_option(tmp_path: Path, color: str) -> None:
    wrong = tmp_path / "wrong.model"
    wrong.write_text("model M {\n    input x: [batch, 3]\n    output y\n}\n")
    for command in (("check", wrong), ("summary", MODEL), ("compile", wrong)):
        assert ("\033[" in invoke(*command, "--color", color).output) == (color == "always"), command


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    ("command", "status"), [(f"check {MODEL}", 0), ("check nothing.model", 2), ("nothing", 2), (f"summary {MODEL}", 0)]
)
def test_a_closed_stderr_does_not_change_the_status(command: str, status: int, redirected: str) -> None:
    done = shell(f"nablac {command} {redirected}")
    assert (done.returncode, done.stderr) == (status, "")
    assert bool(done.stdout) == command.startswith("summary")


LINE = """model Line {
    input x: [batch, 1]
    y = x -> Dense(1)
    output y
}

train Line {
    target t: [batch, 1]
    loss mse(y, t)
    epochs 30
    data csv("line.csv") -> columns(inputs: ["a"], targets: ["b"])
}
"""


def test_training_continues_without_a_reader_of_its_messages(tmp_path: Path) -> None:
    (tmp_path / "line.model").write_text(LINE)
    (tmp_path / "line.csv").write_text("a,b\n" + "".join(f"{n},{2 * n}\n" for n in range(20)))
    done = shell(f"nablac train {tmp_path}/line.model -o {tmp_path}/run 2>&1 | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert (tmp_path / "run" / "weights.safetensors").is_file() and (tmp_path / "run" / "model.onnx").is_file()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_exact_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "漢.model"
    path.write_text("model M {\n    input x: [batch, 4], y: [batch, 5]\n    output x + y # 漢\n}\n", "utf-8")
    environment = surroundings(PYTHONIOENCODING=encoding)
    command = [sys.executable, "-m", "nablac", "check", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, env=environment)
    (error,) = json.loads(done.stdout.decode(encoding))["errors"]
    assert (done.returncode, error["code"], error["file"]) == (1, "E301", str(path))


@pytest.mark.parametrize("command", [["check", "漢.model"], ["explain", "E501"], ["summary", MODEL]])
def test_an_encoding_that_lacks_letters_is_no_error(command: list[str], tmp_path: Path) -> None:
    environment = surroundings(PYTHONIOENCODING="ascii")
    arguments = [sys.executable, "-m", "nablac", *command]
    done = subprocess.run(arguments, capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == (2 if command[0] == "check" else 0), done.stderr


def test_control_characters_in_a_wrong_option_are_escaped() -> None:
    done = invoke("check", "\x1b[31mred.model", "--nothing=\x1b]0;title\x07")
    assert done.exit_code == 2 and "\x1b" not in done.stderr and "\x07" not in done.stderr
