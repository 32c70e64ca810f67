"""The tutorial and the how-tos, typed line by line into an empty folder, print what the pages show."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from math import isclose
from pathlib import Path

import pytest

from tests.command_line import invoke, shell
from tests.paths import ROOT

SAVED = re.compile(r"`([\w.]+)`:\n+```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TYPED = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)")
SECONDS = re.compile(r"\b\d+\.\d+ s\b")
ROUNDING = 0.02  # of numbers with a point, whose last digits training and the processor change


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def save_files(text: str, folder: Path) -> None:
    """The files that the page has the reader save."""
    for name, content in SAVED.findall(text):
        (folder / name).write_text(content, encoding="utf-8")


def steps(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a page, and the lines shown below it."""
    typed: list[tuple[str, list[str]]] = []
    for line in "".join(TYPED.findall(text)).splitlines():
        if line.startswith("$ "):
            typed.append((line[2:], []))
        elif line != "...":
            typed[-1][1].append(line)
    return typed


def agree(shown: str, printed: str) -> bool:
    """Whether a line is the one shown, but for rounding, seconds, spaces, and what `...` stands for."""
    shown, printed = (" ".join(SECONDS.sub("s", line).split()) for line in (shown, printed))
    start, dots, end = shown.partition("...")
    if dots:
        return printed.startswith(start) and printed.endswith(end)
    left, right = NUMBER.split(shown), NUMBER.split(printed)
    return len(left) == len(right) and all(
        a == b or ("." in a and re.fullmatch(NUMBER, b) is not None and isclose(float(a), float(b), rel_tol=ROUNDING))
        for a, b in zip(left, right, strict=True)
    )


def follow(text: str, folder: Path) -> None:
    """Type every command of a page."""
    save_files(text, folder)
    for command, shown in steps(text):
        program, *arguments = shlex.split(command)
        if program == "nablac":
            done = invoke(*arguments, folder=folder)
            status, printed = done.exit_code, done.output
        else:
            line = re.sub(r"^python\b", shlex.quote(sys.executable), command)
            process = shell(f"cd {shlex.quote(str(folder))} && {line}")
            status, printed = process.returncode, process.stdout + process.stderr
        assert status == 0, f"{command}\n{printed}"
        missing = [line for line in shown if not any(agree(line, other) for other in printed.splitlines())]
        assert not missing, f"{command}\n{printed}"


def test_the_tutorial_is_true_to_the_letter(tmp_path: Path) -> None:
    text = page("tutorial.md")
    assert len(steps(text)) == 10
    follow(text, tmp_path)
    assert len((tmp_path / "load.model").read_text().splitlines()) <= 30
    assert (tmp_path / "next.csv").read_text().count("\n") == 1 + 3 * 24
    for name in re.findall(r"`(runs/[\w./]+\.\w+)`", text):
        assert (tmp_path / name).is_file()


def test_the_how_tos_are_true_to_the_letter(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="one of them searches")
    follow(page("howtos.md"), tmp_path)


@pytest.mark.campaign
def test_javascript_forecasts_alike(tmp_path: Path) -> None:
    follow(page("tutorial.md"), tmp_path)
    save_files(page("howtos.md"), tmp_path)
    install = ["npm", "install", "--silent", "--prefix", str(tmp_path), "onnxruntime-web"]
    subprocess.run(install, check=True, timeout=300)
    outputs = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()
        for command in ([sys.executable, "deploy.py"], ["node", "predict.mjs"])
    ]
    assert [float(number) for number in outputs[1]] == pytest.approx([float(number) for number in outputs[0]], rel=1e-4)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("loss 0.4466  0.6 s", "loss 0.4467  1.2 s", True),
        ("loss 0.4466", "loss 0.5466", False),
        ("72 rows", "73 rows", False),
        ("note: .../load.csv", "note: /tmp/load.csv", True),
        ("north,1,77.6", "south,1,77.6", False),
        ("mae 1.5", "mae nan", False),
    ],
)
def test_lines_agree(shown: str, printed: str, same: bool) -> None:
    assert agree(shown, printed) is same
