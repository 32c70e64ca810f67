"""The example in the help of each command runs in an empty folder."""

from __future__ import annotations

import re
import shlex
from glob import glob
from importlib import import_module
from pathlib import Path

import click
import pytest

from nablac.commands import COMMANDS, cli
from tests.command_line import invoke, shell

NEEDS = {"tune": "optuna"}


def example_of(command: click.Command) -> list[str]:
    """The lines under `Example:` in a command's help."""
    (lines,) = re.findall(r"Example:\n((?:.*\S.*\n?)+)", command.help or "")
    return [line.strip() for line in lines.splitlines()]


def run(lines: list[str], folder: Path) -> None:
    """Run the lines in the folder, in this process where they are no more than a command and its arguments."""
    for line in lines:
        program, *arguments = shlex.split(line)
        if program == "nablac" and ">" not in arguments:
            paths = [path for argument in arguments for path in glob(argument, root_dir=folder) or [argument]]
            done = invoke(*paths, folder=folder)
            assert done.exit_code == 0, done.output
        else:
            written = shell(f"cd {shlex.quote(str(folder))} && {line}")
            assert written.returncode == 0, written.stdout + written.stderr


@pytest.mark.one_version
@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_runs_in_an_empty_folder(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    lines = example_of(import_module(f"nablac.commands.{name}").command)
    assert any(re.match(rf"nablac {name}\b", line) for line in lines)
    if name == "fmt":  # nothing to change, and so nothing printed
        lines.append("nablac fmt --check .")
    run(lines, tmp_path)


def test_the_first_example_of_all_runs(tmp_path: Path) -> None:
    run(example_of(cli), tmp_path)
