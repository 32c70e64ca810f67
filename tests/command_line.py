"""The command line for tests.

`invoke` runs it in this process; `process` and `shell` are for tests whose subject is signals, streams or start-up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from nablac.commands import main
from tests.paths import ROOT

_LONGEST = 300  # seconds of a line of a shell
_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Ended:
    """The result of a command: its exit status and its output on each stream."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both streams, for the message of an assertion."""
        return self.stdout + self.stderr


def invoke(*arguments: str | Path, folder: Path | None = None, stdin: str | bytes = "") -> Ended:
    """Run `nablac` with these arguments in this process, with its own handling of errors, signals and exit status."""
    argv = patch.object(sys, "argv", ["nablac", *map(str, arguments)])
    streams = CliRunner().isolation(input=stdin, env={"COLUMNS": "100"})
    with chdir(folder or Path.cwd()), argv, streams as (stdout, stderr, _):
        try:
            main()
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            sys.stdout.flush()
            sys.stderr.flush()
            return Ended(ended.code, stdout.getvalue().decode(), stderr.getvalue().decode())
    raise AssertionError("main always exits")


def succeed(*arguments: str | Path, folder: Path | None = None) -> Ended:
    """The same for a command that has to succeed."""
    done = invoke(*arguments, folder=folder)
    assert done.exit_code == 0, done.output
    return done


def surroundings(**changed: str) -> dict[str, str]:
    """The environment of a process that runs this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **changed}


def process(*arguments: str | Path, folder: Path | None = None) -> subprocess.Popen[str]:
    """Start `nablac` as a separate process, which a test may signal or kill.

    Its lines are not counted: what it does at a signal must not be what a tracer does then.
    """
    command: list[Any] = [sys.executable, "-m", "nablac", *arguments]
    environment = surroundings()
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    running = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _started.append(running)
    return running


def end_processes() -> None:
    """Kill the processes that a test has left behind, as one that fails while they run."""
    for running in _started:
        running.kill()
        running.wait()
    _started.clear()


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `nablac` is this checkout, for pipes, redirections and substitutions."""
    defined = f'nablac() {{ "{sys.executable}" -m nablac "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", defined + command], capture_output=True, text=True, env=surroundings(), timeout=_LONGEST
    )
