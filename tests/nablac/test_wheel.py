"""The wheel as installed has one top-level name, and works beside modules with the names of the checkout's folders."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from nablac.commands import COMMANDS
from tests.paths import ROOT

pytestmark = pytest.mark.one_version
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "nablac", "grammar", "compiler", "runtime", "specs")
MODEL = """
model Line {
    input x: [batch, 2]
    y = x -> Dense(1)
    output y
}
train Line {
    target t: [batch, 1]
    loss mse(y, t)
    epochs 1
    batch 4
    data npz("d.npz")
}
"""
TEXTS = """
model Letters {
    input x: i64[batch, T]
    y = x -> Embedding(27, 4) -> GRU(4, sequences: true) -> Dense(27)
    output y
}
train Letters {
    target t: i64[batch, T]
    loss cross_entropy(y, t)
    epochs 1
    batch 2
    data text("letters.txt") -> characters(length: 4)
}
"""
ARGUMENTS = {
    "init": ("forecast",),
    "check": ("line.model",),
    "fmt": ("line.model",),
    "compile": ("line.model", "-o", "line.onnx"),
    "run": ("line.model", "x.npy"),
    "predict": ("line", "x.npy"),
    "train": ("line.model", "-o", "trained"),
    "tune": ("ranges.model", "--trials", "2", "--jobs", "2", "-o", "study"),
    "eval": ("line.model", "--data", "d.npz", "--report", "report"),
    "compare": ("one", "two", "--report", "page.html"),
    "generate": ("letters", "ab", "--tokens", "3"),
    "grad": ("line.model", "-o", "gradient.onnx"),
    "summary": ("line.model",),
    "draw": ("line.model", "-o", "line.svg"),
    "verify": ("line.model",),
    "profile": ("line.model", "--train", "--backend", "ort", "--runs", "2", "--report", "page.html"),
    "plan": ("line.model", "--workers", "2", "-o", "plan.svg"),
    "bench": ("line.model", "--rounds", "2", "--threads", "1", "--form", "as compiled"),
    "explain": ("E303",),
    "doctor": (),
    "completion": ("bash",),
}
BEFORE = {
    "compare": (("train", "line.model", "-o", "one"), ("train", "line.model", "-o", "two", "--seed", "1")),
    "predict": (("train", "line.model", "-o", "line"),),
    "generate": (("train", "letters.model", "-o", "letters"),),
}

# Runs `python -m nablac` for each line, a folder and arguments, and answers with status, stdout and stderr.
COMMAND_LINE = """
import json, os, runpy, sys
from click.testing import CliRunner

for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    sys.argv = ["nablac", *arguments]
    with CliRunner().isolation() as (stdout, stderr, _):
        try:
            runpy.run_module("nablac", run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        sys.stdout.flush()
        sys.stderr.flush()
        # Within: the streams that write to these close them when they are collected.
        answer = [status, stdout.getvalue().decode(), stderr.getvalue().decode()]
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built where an earlier build has left a module that no longer exists."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    stale = source / "build" / "lib" / "compiler" / "gone.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", source / "dist", source], check=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `import nablac` imports the unpacked wheel."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Coverage measures the checkout, and this runs a copy.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**kept, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(site / "cache")}


@pytest.fixture(scope="module")
def command_line(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that runs commands of the wheel, one after the other: a process for each took most of the time."""
    command = [sys.executable, "-c", COMMAND_LINE]
    with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) as running:
        yield running
        assert running.stdin is not None
        running.stdin.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with modules of the names of the checkout's folders, which must not be imported."""
    for name in ("compiler", "specs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} of the user was imported')\n")
    for name in ("runtime", "grammar"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the user was imported')\n")
    (tmp_path / "line.model").write_text(MODEL)
    (tmp_path / "ranges.model").write_text(MODEL.replace("epochs 1", "epochs 1\n    optimizer sgd(lr: 0.01..0.1)"))
    (tmp_path / "letters.model").write_text(TEXTS)
    (tmp_path / "letters.txt").write_text("abcdefgh abcdefgh abcdefgh abcdefgh\n" * 4)
    x = np.arange(32, dtype=np.float32).reshape(16, 2)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "d.npz", x=x, t=x[:, :1])
    return tmp_path


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (top_level,) = (name for name in names if name.endswith("top_level.txt"))
        assert archive.read(top_level).split() == [b"nablac"]
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nablac"}
    assert not any(name.endswith("gone.py") for name in names)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    for folder in ("nablac", "grammar", "compiler", "runtime", "specs"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                assert (name if folder == "nablac" else f"nablac/{name}") in inside


def test_the_wheel_offers_its_trackers(environment: dict[str, str]) -> None:
    """Each is imported without the package that it needs."""
    script = (
        "from importlib.metadata import entry_points\n"
        "import sys\n"
        "loaded = {entry.name: entry.load().__module__ for entry in entry_points(group='nablac.trackers')}\n"
        "print(loaded, {'mlflow', 'wandb'} & set(sys.modules))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    modules = {"mlflow": "nablac.trackers.mlflow_tracker", "wandb": "nablac.trackers.wandb_tracker"}
    assert ended.stdout == f"{modules} set()\n", ended.stderr


def test_every_command_has_a_case() -> None:
    assert set(ARGUMENTS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_beside_modules_of_the_folders_names(
    name: str, command_line: subprocess.Popen[str], folder: Path
) -> None:
    assert command_line.stdin is not None and command_line.stdout is not None
    for arguments in (*BEFORE.get(name, ()), (name, *ARGUMENTS[name])):
        print(json.dumps([str(folder), arguments]), file=command_line.stdin, flush=True)
        status, stdout, stderr = json.loads(command_line.stdout.readline())
        assert status == 0, stderr
        assert "of the user" not in stdout + stderr


def test_nablac_is_imported_beside_modules_of_the_folders_names(environment: dict[str, str], folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(
        "import nablac, numpy, sys\n"
        "model = nablac.compile('line.model')\n"
        "print(model(x=numpy.ones((3, 2), 'f4'))['y'].shape)\n"
        "model.train(epochs=1)\n"
        "model.to_onnx('line.onnx')\n"
        "assert all(hasattr(nablac, name) for name in dir(nablac))\n"
        "print(sorted({'grammar', 'compiler', 'runtime', 'specs'} & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["(3, 1)", "[]"]
