"""Symbolic gradients against central differences, in float64 (Griewank and Walther 2008, section 1).

At a random point differences of the loss are the truth. Where numbers are exactly 0 or equal they are not: a loss may
have a corner there. So at such points the gradient is compared with itself a little to both sides. Those agree with
each other where the loss is smooth, and then the gradient between them has to agree too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.models import elaborate_model
from compiler.elaborate.program import Program
from compiler.graph import Graph
from compiler.model_spec import SEED, STEP
from compiler.passes.pipeline import optimize
from compiler.training.gradients import gradient_graph, gradient_name
from compiler.types import DType
from runtime.initialization import initialize, stored_operators
from runtime.numpy_executor import NumpyRunner
from runtime.verification import random_feeds, sample_sizes

if TYPE_CHECKING:
    from compiler.types import Array

# A difference that crosses a corner, as relu's, is right by a step that does not: the smaller, the rarer, down to where
# the rounding of the loss, divided by the step, begins to count.
_STEPS = (1e-6, 1e-7, 1e-8, 1e-9, 1e-5)
_NOISE = 0.01  # beside the first values, many of which lie on a corner: a bias of 0
_TOLERANCE = 1e-5
_ASIDE, _BESIDE_ZERO = 1e-12, 1e-30  # how far to the side of a number, and of 0, the gradient is looked at again, and
_SIDES = 4  # along how many directions, to both sides
_SPREAD = 20  # times the differences among those sides are what a gradient may differ from their mean
_COUNTERS = ((SEED, np.int64), (STEP, np.float64))


@dataclass(frozen=True)
class GradientRow:
    """The derivative of the loss along one random direction of one tensor."""

    name: str
    symbolic: float
    numeric: float
    error: float
    point: str = ""  # where many numbers are 0 or equal; at random numbers, where it is empty

    @property
    def passed(self) -> bool:
        """Whether both derivatives agree, to a relative difference of 1e-5."""
        return self.error <= _TOLERANCE


@dataclass(frozen=True)
class _Point:
    """Numbers for all inputs, parameters and buffers."""

    name: str
    values: Mapping[str, Array]


class _Check:
    """One loss and its gradients, and a random direction of each tensor they are taken with respect to."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array], own: Sequence[str]) -> None:
        self.own = own  # the model's own outputs among those of the graph
        self.runner = NumpyRunner(graph, weights)
        loss = Graph(graph.inputs, {"loss": graph.outputs["loss"]})
        self.loss, self.of_loss = (
            NumpyRunner(loss, weights),
            {*loss.inputs, *(op.path for op in stored_operators(loss))},
        )
        self.directions: dict[str, Array] = {}

    def outputs(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """All that the graph gives at these numbers."""
        with np.errstate(all="ignore"):
            return self.runner.run(values)

    def slopes(self, values: Mapping[str, Array]) -> tuple[float, dict[str, float]]:
        """The loss, and its derivatives along the directions, by the gradients."""
        outputs = self.outputs(values)
        slopes = {name: float(np.sum(outputs[gradient_name(name)] * way)) for name, way in self.directions.items()}
        return float(outputs["loss"]), slopes

    def difference(self, point: _Point, name: str, slope: float) -> GradientRow:
        """The derivative along the direction of one tensor beside the difference of the loss that is nearest."""
        value, direction = point.values[name], self.directions[name]
        others = {path: array for path, array in point.values.items() if path in self.of_loss}

        def along(step: float) -> float:
            with np.errstate(all="ignore"):
                sides = (self.loss.run({**others, name: value + way * step * direction}) for way in (1, -1))
                ahead, behind = (float(side["loss"]) for side in sides)
            return (ahead - behind) / (2 * step)

        return _row(name, slope, along, point.name)


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
    by `stop_gradient` or `truncate`, and so do the gradients here. What a text has in another float type is in f64 too.
    At the zeros of inputs, parameters and errors there are rows for gradients that are wrong, and no others.
    """
    elaborated = elaborate_model(
        program, model=model, preset=preset, hypers=hypers, training=True, dtype=DType.F64, one_float=True
    )
    gradient = gradient_graph(elaborated, cut=False)
    own = {f"output {name}": value for name, value in elaborated.graph.outputs.items()}
    inputs = {**elaborated.graph.inputs, **gradient.inputs}
    graph = optimize(Graph(inputs, {**gradient.outputs, **own}, {}, gradient.name))
    generator = np.random.default_rng(seed)
    weights = initialize(graph, seed)
    sizes = [*sample_sizes(graph)][-1]  # several examples: batch normalisation of one or two is all corner
    feeds = random_feeds(graph, sizes, seed, dead=0.0)  # a mean over the items of a mask has no value of none
    feeds |= {name: np.array(seed if name == SEED else 1.0, dtype) for name, dtype in _COUNTERS if name in feeds}
    values, checked = {**weights, **feeds}, _Check(graph, weights, tuple(own))
    tensors = {gradient_name(name): name for name in values}
    for name in (tensors[output] for output in gradient.outputs if output in tensors):
        shape = values[name].shape
        if name in weights:
            values[name] = values[name] + _NOISE * generator.normal(size=shape)
        checked.directions[name] = np.asarray(generator.normal(size=shape))
    random = _Point("", values)
    _, slopes = checked.slopes(values)
    rows = [checked.difference(random, name, slope) for name, slope in slopes.items()]
    targets = elaborated.training.targets if elaborated.training is not None else {}
    for point in _edges(checked, values, {**weights, **feeds}, set(feeds), [name for name in targets if name in feeds]):
        rows += _compare_with_both_sides(checked, point, generator)
    return rows


def _edges(
    checked: _Check, random: Mapping[str, Array], first: Mapping[str, Array], fed: set[str], targets: list[str]
) -> Iterator[_Point]:
    """Where many numbers are 0 or equal."""
    yield _Point("the first values", first)
    wrt = set(checked.directions)
    for name, chosen in (("inputs of 0", fed & wrt), ("parameters of 0", wrt - fed)):
        yield _Point(name, {**random, **{tensor: np.zeros_like(random[tensor]) for tensor in chosen}})
    results = checked.outputs(random)
    outputs = [results[name] for name in checked.own]
    exact = {
        target: output
        for target in targets
        for output in outputs
        if output.shape == random[target].shape and output.dtype == random[target].dtype
    }
    if exact:
        yield _Point("errors of 0", {**random, **exact})


def _row(name: str, symbolic: float, along: Callable[[float], float], point: str) -> GradientRow:
    """The comparison with the difference that is nearest; steps after one that passes are not needed."""
    best: GradientRow | None = None
    for step in _STEPS:
        numeric = along(step)
        error = abs(symbolic - numeric) / max(abs(symbolic), abs(numeric), 1e-3)
        error = error if error == error else np.inf  # NaN agrees with nothing
        if best is None or error < best.error:
            best = GradientRow(name, symbolic, numeric, error, point)
        if best.passed:
            break
    assert best is not None
    return best


def _compare_with_both_sides(checked: _Check, point: _Point, generator: np.random.Generator) -> list[GradientRow]:
    """The gradients at a point that are wrong: not what all those beside it agree on, nor what differences say."""
    loss, slopes = checked.slopes(point.values)
    beside: list[dict[str, float]] = []
    for _ in range(_SIDES):
        way = {name: _perturbation(point.values[name], generator) for name in checked.directions}
        for sign in (1, -1):
            there = {name: value + sign * way[name] if name in way else value for name, value in point.values.items()}
            beside.append(checked.slopes(there)[1])
    rows = []
    for name, slope in slopes.items():
        sides = np.array([side[name] for side in beside])
        if not np.isfinite([loss, *sides]).all():
            continue  # of a loss that is not finite, or slopes beside it that are not, nothing is known
        mean, spread = float(sides.mean()), float(np.ptp(sides))
        if not abs(slope - mean) <= _SPREAD * spread + _TOLERANCE * max(abs(slope), abs(mean), 1e-3):
            rows.append(checked.difference(point, name, slope))
    return [row for row in rows if not row.passed]


def _perturbation(value: Array, generator: np.random.Generator) -> Array:
    """A little to a random side of each number: less than any loss bends, and more than its rounding."""
    scale = np.where(value == 0, _BESIDE_ZERO, _ASIDE * np.abs(value))
    return np.asarray(scale * generator.normal(size=value.shape))
