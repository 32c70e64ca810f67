"""Symbolic gradients against central differences, in float64 (Griewank and Walther 2008, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.build import Program, elaborate_model
from compiler.passes.pipeline import optimize
from compiler.training import gradient_graph
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from runtime.verification import random_feeds, sample_sizes

if TYPE_CHECKING:
    from compiler.types import Array

_STEP = 1e-6
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class GradientRow:
    """The derivative of the loss along one random direction of one tensor."""

    name: str
    symbolic: float
    numeric: float
    error: float

    @property
    def passed(self) -> bool:
        return self.error <= _TOLERANCE


def check_gradients(program: Program, model: str, seed: int = 0) -> list[GradientRow]:
    """Compare the gradient of every parameter and float input with differences of the loss on random data.

    In training mode with fixed draws, so that dropout is the same on both sides.
    """
    elaborated = elaborate_model(program, model=model, training=True, dtype=DType.F64)
    graph = optimize(gradient_graph(elaborated))
    weights = initialize(graph, seed)
    feeds = random_feeds(graph, next(iter(sample_sizes(graph))), seed)
    if "seed" in graph.inputs:
        feeds["seed"] = np.array(seed, np.int64)
    if "step" in graph.inputs:
        feeds["step"] = np.array(1.0)
    found = NumpyRunner(graph, weights).run(feeds)
    loss = NumpyRunner(type(graph)(graph.inputs, {"loss": graph.outputs["loss"]}), weights)
    generator = np.random.default_rng(seed)
    rows: list[GradientRow] = []
    for output, gradient in found.items():
        if output == "loss":
            continue
        name = output.removeprefix("grad.")
        value = feeds[name] if name in feeds else weights[name]
        direction: Array = np.asarray(generator.normal(size=value.shape))
        symbolic = float(np.sum(gradient * direction))

        def shifted(step: float, name: str = name, value: Array = value, direction: Array = direction) -> float:
            moved = value + step * direction
            return float(loss.run({**feeds, name: moved})["loss"])

        numeric = (shifted(_STEP) - shifted(-_STEP)) / (2 * _STEP)
        scale = max(abs(symbolic), abs(numeric), 1e-3)
        rows.append(GradientRow(name, symbolic, numeric, abs(symbolic - numeric) / scale))
    return rows
