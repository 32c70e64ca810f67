"""A training that several workers share, and what its result is compared by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

MODEL = """
model M {
    input x: [batch, 2]
    y = x -> Dense(16) -> tanh -> Dropout(0.2) -> Dense(1)
    output y
}
train M {
    data csv("d.csv") -> columns(inputs: ["a", "b"], targets: "c")
    target t: [batch, 1]
    loss rmse(y, t)
    optimizer adam(lr: 0.01); epochs 3; seed 4; batch 8; validation 0.2; clip_norm 0.5
}
"""


def write_data(path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(203, 2))
    lines = [f"{a},{b},{a * b}" for a, b in rows]
    path.write_text("\n".join(["a,b,c", *lines]) + "\n")


def results(run: Path) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    from safetensors.numpy import load_file

    return json.loads((run / "history.json").read_text()), load_file(run / "weights.safetensors")


def check_same(run: Path, other: Path, tolerance: float) -> None:
    (history, weights), (other_history, other_weights) = results(run), results(other)
    for name, values in history.items():
        np.testing.assert_allclose(other_history[name], values, rtol=tolerance, err_msg=name)
    for path, array in weights.items():
        np.testing.assert_allclose(other_weights[path], array, rtol=tolerance, atol=tolerance, err_msg=path)
