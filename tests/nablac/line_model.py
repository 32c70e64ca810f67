"""A small model with an import, and its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MODEL = """from "parts.model" import Body

model Line(units = 4) {
    input x: [batch, 3]
    y = x -> Body(units) -> Dense(1)
    output y
}

train Line {
    target t: [batch, 1]
    loss mse(y, t)
    optimizer adam(lr: 1e-2)
    epochs 3
    batch 16
    validation 0.25
    seed 5
    data csv("line.csv") -> standardize() -> columns(inputs: ["a", "b", "c"], targets: ["t"])
}
"""


def write_line(folder: Path) -> Path:
    """Write `m.model`, what it imports, and its table into a folder; the folder."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(80, 3))
    lines = [",".join(f"{cell:.6f}" for cell in (*row, row.sum())) for row in rows]
    (folder / "line.csv").write_text("a,b,c,t\n" + "\n".join(lines) + "\n")
    (folder / "m.model").write_text(MODEL)
    (folder / "parts.model").write_text(
        "layer Body(units) {\n    input x: [batch, n]\n    output x -> Dense(units, activation: tanh)\n}\n"
    )
    return folder
