"""A run of a model of two inputs on tables, for the tests of what data a run is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from grammar.source import Source
from runtime.training.run_options import Options
from runtime.training.training_run import Training

MODEL = """
model M {
    input x: [batch, 2]
    y = x -> Dense(WIDTH)
    OTHERS
    output OUTPUTS
}
train M {
    target TARGETS
    loss LOSS
    epochs 1
    SETTINGS
    data DATA
}
"""


def training(folder: Path, data: str, settings: str = "", options: Options | None = None, **parts: str) -> Training:
    """A run of a model of two inputs, its file in `folder`."""
    arguments = {"WIDTH": "1", "OTHERS": "", "OUTPUTS": "y", "TARGETS": "t: [batch, 1]", "LOSS": "mse(y, t)", **parts}
    text = MODEL
    for name, value in {**arguments, "SETTINGS": settings, "DATA": data}.items():
        text = text.replace(name, value)
    return Training(TextSource(program_of(Source(str(folder / "m.model"), text))), options=options or Options())


def rows(folder: Path, name: str, count: int = 20, shift: float = 0.0, kinds: tuple[str, ...] = ()) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(2, count))
    lines = [
        f"{a[n] + shift},{b[n]},{100 + 10 * a[n]},{kinds[n % len(kinds)] if kinds else n % 3}" for n in range(count)
    ]
    (folder / name).write_text("a,b,t,kind\n" + "\n".join(lines) + "\n")


TABLE = 'csv("train.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: "t")'
