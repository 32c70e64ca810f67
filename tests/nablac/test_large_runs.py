"""Commands on data that is more than memory is to hold do what they do on the same data in memory."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from runtime.data.file_rows import VARIABLE
from tests.command_line import invoke
from tests.nablac.small_runs import KINDS

STEPS: tuple[tuple[str, ...], ...] = (
    ("train", "m.model", "-q", "--epochs", "2", "-o", "run"),
    ("train", "--resume", "run", "-q", "--epochs", "3"),
    ("train", "m.model", "-q", "--overfit", "4", "-o", "few"),
    ("eval", "run", "--report", "report"),
    ("tune", "m.model", "-q", "--trials", "2", "--epochs", "1", "-o", "study"),
)
FILES = ("run/weights.safetensors", "run/history.csv", "few/weights.safetensors", "report/report.html")


@pytest.mark.parametrize("kind", ["images", "text"])
def test_runs_reports_and_studies_are_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KINDS[kind].write(tmp_path)
    model = KINDS[kind].model.replace("    epochs 1\n", "    epochs 1\n    optimizer adam(lr: log(1e-3..1e-2))\n")
    (tmp_path / "m.model").write_text(model)
    results = []
    for limit in ("1GB", "1"):
        monkeypatch.setenv(VARIABLE, limit)
        for step in STEPS:
            ended = invoke(*step, folder=tmp_path)
            assert ended.exit_code == 0, ended.output
        with (tmp_path / "study" / "trials.csv").open() as file:
            trials = [(row["optimizer.lr"], row["val_loss"]) for row in csv.DictReader(file)]
        results.append(([(tmp_path / name).read_bytes() for name in FILES], trials))
        for name in ("run", "few", "report", "study"):
            (tmp_path / name).rename(tmp_path / f"{name}-{limit}")
    assert results[0] == results[1]
