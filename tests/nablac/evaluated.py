"""Small models to evaluate: forecasters of a series and classifiers of a table, with their data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import invoke

FORECASTER = """
model Forecaster(units = 6) {
    input x: f32[batch, time, %(inputs)d]
    output y = x -> SimpleRNN(units) -> Dense(%(outputs)d) -> rearrange("b (h c) -> b h c", c: %(columns)d)
}
train Forecaster {
    target next: f32[batch, %(horizon)d, %(columns)d]
    loss mse(y, next)
    metric mae(y, next)
    optimizer adam(lr: 1e-2)
    epochs 4
    validation 0.25
    data csv("series.csv") -> standardize() -> window(%(names)s, length: 6, horizon: %(horizon)d%(target)s)
}
"""


def forecaster(names: list[str], targets: list[str], horizon: int) -> str:
    """The text of a forecaster of some columns from some columns, so many rows at once."""
    target = f", target: {json.dumps(targets)}" if targets != names else ""
    sizes = {"inputs": len(names), "columns": len(targets), "horizon": horizon, "outputs": horizon * len(targets)}
    return FORECASTER % {**sizes, "names": json.dumps(names), "target": target}


def series(rows: int = 90) -> np.ndarray:
    """Two columns that are alike after 8 rows, on a trend."""
    time = np.arange(rows)
    noise = np.random.default_rng(0).normal(size=(rows, 2))
    return np.stack([100 + time + 20 * np.sin(time * math.pi / 4), 5 * np.cos(time * math.pi / 4)], axis=1) + noise


def write_series(path: Path, numbers: np.ndarray) -> None:
    days = np.datetime64("2024-01-30") + np.arange(len(numbers))
    rows = [f"{day},{a!r},{b!r}" for day, (a, b) in zip(days, numbers.tolist(), strict=True)]
    path.write_text("\n".join(["day,a,b", *rows]) + "\n")


def train_forecaster(folder: Path, names: list[str], targets: list[str], horizon: int) -> Path:
    write_series(folder / "series.csv", series())
    (folder / "m.model").write_text(forecaster(names, targets, horizon))
    done = invoke("train", folder / "m.model", "-o", folder / "run", "-q")
    assert done.exit_code == 0, done.output
    return folder / "run"


KINDS = {
    "one column": (["a"], ["a"], 1),
    "both columns, three rows at once": (["a", "b"], ["a", "b"], 3),
    "another column": (["b"], ["a"], 2),
}


def figures_of(*arguments: str | Path) -> dict[str, Any]:
    """What `nablac eval` says as JSON."""
    done = invoke("eval", *arguments, "--json", "-q")
    assert done.exit_code == 0, done.output
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


CLASSIFIER = """
model Sorts {
    input x: [batch, 2]
    output logits = x -> Dense(%(outputs)s)
}
train Sorts {
    target kind: %(type)s
    loss %(loss)s(logits, kind)
    metric %(metric)s(logits, kind)
    optimizer adam(lr: 5e-2)
    epochs 5
    test 0.3
    data csv("rows.csv") -> standardize(columns: ["u", "v"]) -> columns(inputs: ["u", "v"], targets: %(target)s)
}
"""
CLASSIFIERS = {
    "classes by name": ("3", "i64[batch]", "cross_entropy", "accuracy", '"kind"', "classes", ["high", "low", "mid"]),
    "yes or no": ("1", "[batch, 1]", "binary_cross_entropy", "binary_accuracy", '"is_high"', "binary", ["0", "1"]),
    "several labels": (
        "2",
        "[batch, 2]",
        "binary_cross_entropy",
        "binary_accuracy",
        '["is_high", "is_odd"]',
        "labels",
        [],
    ),
    "a margin": ("1", "[batch, 1]", "hinge", "mae", '"sign"', "margin", ["-1", "1"]),
    "numbers": ("1", "[batch, 1]", "mse", "mae", '"sum"', "regression", []),
}


def write_table(folder: Path) -> None:
    """Write the table `rows.csv` of two numbers and what can be told from them."""
    generator = np.random.default_rng(1)
    lines = ["u,v,kind,is_high,is_odd,sign,sum"]
    for number in range(120):
        u, v = generator.normal(size=2)
        total = u + v + generator.normal() / 3
        kind = "low" if total < -0.7 else "high" if total > 0.7 else "mid"
        lines.append(
            f"{u:.4f},{v:.4f},{kind},{int(total > 0.7)},{number % 2},{1 if total > 0 else -1},{50 + 9 * total:.3f}"
        )
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")


def check_nearly(first: Any, second: Any, where: str = "") -> None:
    """Two trees of figures, equal but for rounding of f32."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for name in first:
            check_nearly(first[name], second[name], f"{where}/{name}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            check_nearly(*pair, f"{where}/{index}")
    elif isinstance(first, float):
        assert first == pytest.approx(second, rel=2e-3, abs=1e-5), where
    else:
        assert first == second, where


def classifier(case: str) -> str:
    """The text of a classifier."""
    return CLASSIFIER % dict(zip(("outputs", "type", "loss", "metric", "target"), CLASSIFIERS[case], strict=False))


def train_classifier(folder: Path, case: str) -> Path:
    """The run of a classifier in a new folder, with its model `m.model` and its table `rows.csv` beside it."""
    folder.mkdir()
    write_table(folder)
    (folder / "m.model").write_text(classifier(case))
    assert invoke("train", folder / "m.model", "-o", folder / "run", "-q").exit_code == 0
    return folder / "run"
