"""The tutorial and the how-tos, typed line by line into an empty folder, print what the pages show."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta
from math import isclose, pi, sin
from pathlib import Path
from random import Random
from shutil import which

import onnxruntime
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


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader who has come to the end of the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial")
    follow(page("tutorial.md"), folder)
    return folder


def test_the_tutorial_is_true_to_the_letter(tutorial: Path) -> None:
    text = page("tutorial.md")
    assert len(steps(text)) == 12
    assert len((tutorial / "load.model").read_text().splitlines()) <= 30
    assert (tutorial / "next.csv").read_text().count("\n") == 1 + 3 * 24
    for name in re.findall(r"`(runs/[\w./]+\.\w+)`", text):
        assert (tutorial / name).is_file()


def write_consumption(path: Path) -> None:
    """A table as a German spreadsheet saves it: four columns of two places, some cells empty, in cp1252."""
    random = Random(3)
    lines = ["Ort;Zeitpunkt;Außentemperatur;Wind m/s;Verbrauch"]
    for place, level in ("Köln", 900), ("Ulm", 300):
        for hour in range(24 * 24):
            time = datetime(2024, 9, 1) + timedelta(hours=hour)
            numbers = 9 + random.gauss(0, 2), random.random(), level * (1 + 0.3 * sin(time.hour * pi / 12))
            cells = [f"{number:.2f}".replace(".", ",") if random.random() > 0.01 else "n/a" for number in numbers]
            lines.append(";".join([place, f"{time:%d.%m.%Y %H:%M}", *cells]))
    path.write_bytes("\n".join(lines).encode("cp1252"))


def test_another_table_needs_what_the_tutorial_says(tmp_path: Path) -> None:
    text = page("tutorial.md")
    save_files(text, tmp_path)
    write_consumption(tmp_path / "mine.csv")
    (source,) = re.findall(r"^\| the file \| `(.*?)`", text, re.MULTILINE)
    changes = [
        ('csv("load.csv")', source),
        ('by("station")', 'by("Ort")'),
        ('calendar("time"', 'calendar("Zeitpunkt"'),
        ('["load", "temperature"', '["Verbrauch", "Außentemperatur", "Wind m/s"'),
        ('target: "load"', 'target: "Verbrauch"'),
        ("[batch, time, 6]", "[batch, time, 7]"),
        ("horizon: 24", "horizon: 12"),
        ("Dense(24)", "Dense(12)"),
        ("[batch, 24, 1]", "[batch, 12, 1]"),
        ("epochs     8", "epochs     1"),
    ]
    model = (tmp_path / "load.model").read_text(encoding="utf-8")
    for before, after in changes:
        assert before in model
        model = model.replace(before, after)
    (tmp_path / "mine.model").write_text(model, encoding="utf-8")
    for line in ("check mine.model", "train mine.model -o run", "predict run mine.csv -o next.csv"):
        done = invoke(*line.split(), folder=tmp_path)
        assert done.exit_code == 0, done.output
    predicted = (tmp_path / "next.csv").read_text(encoding="utf-8").splitlines()
    assert predicted[0] == "Ort,Zeitpunkt,step,predicted_Verbrauch"
    assert [line.rpartition(",")[0] for line in predicted[1::12]] == [
        "Köln,25.09.2024 00:00,1",
        "Ulm,25.09.2024 00:00,1",
    ]
    for option, message in (
        (', separator: ";"', "separator"),
        (', decimal: ","', 'decimal: ","'),
        (', encoding: "cp1252"', 'encoding: "cp1252"'),
    ):
        (tmp_path / "less.model").write_text(model.replace(option, ""), encoding="utf-8")
        done = invoke("train", "less.model", "-o", "less", folder=tmp_path)
        assert done.exit_code != 0 and message in done.stderr.partition("help: ")[2]


def test_the_how_tos_are_true_to_the_letter(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="one of them searches")
    follow(page("howtos.md"), tmp_path)


@pytest.mark.campaign
def test_javascript_forecasts_alike(tutorial: Path) -> None:
    text = page("howtos.md")
    save_files(text, tutorial)
    (install,) = re.findall(r"`(npm install [\w-]+)`", text)
    subprocess.run([*install.split(), "--silent", "--prefix", str(tutorial)], check=True, timeout=300)
    (run,) = re.findall(r"`(node \S+)`", text)
    assert printed_numbers(run.split(), tutorial) == pytest.approx(forecast(tutorial)[:2], rel=1e-4)


def printed_numbers(command: list[str], folder: Path) -> list[float]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def forecast(folder: Path) -> list[float]:
    """What the tutorial has predicted for the first station."""
    with (folder / "next.csv").open() as file:
        return [float(row["predicted_load"]) for row in csv.DictReader(file) if row["station"] == "north"]


@pytest.fixture(scope="module")
def headers() -> Path:
    """The folder of onnxruntime's C++ header; the test is skipped where there is none."""
    folders = [os.environ.get("ONNXRUNTIME_INCLUDE", ""), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime"]
    here = [Path(folder) for folder in folders if folder and (Path(folder) / "onnxruntime_cxx_api.h").is_file()]
    if not here:
        pytest.skip("no C++ header: install libonnxruntime-dev, or set ONNXRUNTIME_INCLUDE to the folder of another")
    return here[0]


@pytest.mark.skipif(sys.platform != "linux" or which("g++") is None, reason="g++ on Linux compiles the program")
def test_cpp_forecasts_alike(headers: Path, tutorial: Path) -> None:  # in this order: no tutorial without headers
    text = page("howtos.md")
    save_files(text, tutorial)
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (tutorial / "ort" / "lib").mkdir(parents=True)
    (tutorial / "ort" / "include").symlink_to(headers)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tutorial / "ort" / "lib" / name).symlink_to(library)
    (build,) = re.findall(r"^g\+\+ .*$", text, re.MULTILINE)
    subprocess.run([*shlex.split(build), "-Wall", "-Wextra", "-Werror"], cwd=tutorial, check=True)
    assert printed_numbers(["./predict"], tutorial) == pytest.approx(forecast(tutorial), rel=1e-4)
    (tutorial / "past.txt").write_text("1 2 3")
    assert subprocess.run(["./predict"], cwd=tutorial, capture_output=True, text=True).returncode == 1


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
