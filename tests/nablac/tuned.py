"""A small model with ranges of every kind, its data, and studies of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from tests.command_line import Ended, invoke

TEXT = """
model Net(units = 2..8, act = choice(relu, tanh)) {
    input x: [batch, 2]
    output y = x -> Dense(units) -> act -> Dense(1)
}

train Net {
    target t: [batch, 1]
    loss       mse(y, t)
    optimizer  choice(adam(lr: log(1e-3..1e-1)), sgd(lr: 0.01..0.1))
    epochs     3
    batch      16
    validation 0.25
    data       csv("rows.csv") -> columns(inputs: ["a", "b"], targets: ["c"])
}
"""
CLOCKED = ("seconds",)  # the only column that two equal studies may differ in


def write_model(folder: Path, text: str = TEXT) -> Path:
    """The model's file, with its data beside it."""
    inputs = np.random.default_rng(0).normal(size=(48, 2))
    rows = "".join(f"{a:.4f},{b:.4f},{a * b + a:.4f}\n" for a, b in inputs)
    (folder / "rows.csv").write_text("a,b,c\n" + rows)
    file = folder / "net.model"
    file.write_text(text)
    return file


def tune(folder: Path, *arguments: str | Path, file: str = "net.model") -> Ended:
    """A study, which succeeds, of a model's file in a folder."""
    ended = invoke("tune", *([file] if file else []), *arguments, folder=folder)
    assert ended.exit_code == 0, ended.output
    return ended


def rows(study: Path) -> list[dict[str, str]]:
    """The table of a study's trials."""
    with (study / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def unclocked(study: Path) -> list[dict[str, Any]]:
    """The table, without what depends on how busy the machine is."""
    return [{name: value for name, value in row.items() if name not in CLOCKED} for row in rows(study)]
