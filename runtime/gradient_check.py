"""Symbolic gradients against central differences, in float64 (Griewank and Walther 2008, section 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.build import Program, elaborate_model
from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from compiler.training import gradient_graph
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from runtime.verification import random_feeds, sample_sizes

if TYPE_CHECKING:
    from compiler.types import Array

_STEPS = (1e-6, 1e-7, 1e-5)  # a difference that crosses a corner, as relu's, is right by a step that does not
_NOISE = 0.01  # beside the first values, many of which lie on a corner: a bias of 0
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


def check_gradients(
    program: Program,
    model: str,
    *,
    preset: str | None = None,
    hypers: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[GradientRow]:
    """Compare the gradient of every parameter and float input with differences of the loss on random data.

    In training mode with fixed draws, so that dropout is the same on both sides. Differences see through what is cut
    by `stop_gradient` or `truncate`, and so do the gradients here.
    """
    elaborated = elaborate_model(program, model=model, preset=preset, hypers=hypers, training=True, dtype=DType.F64)
    graph = optimize(gradient_graph(elaborated, cut=False))
    generator = np.random.default_rng(seed)
    weights = initialize(graph, seed)
    for name, value in weights.items():
        if f"grad.{name}" in graph.outputs:
            weights[name] = value + _NOISE * generator.normal(size=value.shape)
    sizes = [*sample_sizes(graph)][-1]  # several examples: batch normalisation of one or two is all corner
    feeds = random_feeds(graph, sizes, seed, dead=0.0)  # a mean over the items of a mask has no value of none
    if "seed" in graph.inputs:
        feeds["seed"] = np.array(seed, np.int64)
    if "step" in graph.inputs:
        feeds["step"] = np.array(1.0)
    found = NumpyRunner(graph, weights).run(feeds)
    loss = NumpyRunner(Graph(graph.inputs, {"loss": graph.outputs["loss"]}), weights)
    rows: list[GradientRow] = []
    for output, gradient in found.items():
        if output == "loss":
            continue
        name = output.removeprefix("grad.")
        value = feeds[name] if name in feeds else weights[name]
        direction: Array = np.asarray(generator.normal(size=value.shape))
        symbolic = float(np.sum(gradient * direction))

        def along(step: float, name: str = name, value: Array = value, direction: Array = direction) -> float:
            ahead, behind = (loss.run({**feeds, name: value + way * step * direction})["loss"] for way in (1, -1))
            return float(ahead - behind) / (2 * step)

        rows.append(_row(name, symbolic, along))
    return rows


def _row(name: str, symbolic: float, along: Callable[[float], float]) -> GradientRow:
    """The comparison with the difference that is nearest; steps after one that passes are not needed."""
    best: GradientRow | None = None
    for step in _STEPS:
        numeric = along(step)
        error = abs(symbolic - numeric) / max(abs(symbolic), abs(numeric), 1e-3)
        if best is None or error < best.error:
            best = GradientRow(name, symbolic, numeric, error)
        if best.passed:
            break
    assert best is not None
    return best
