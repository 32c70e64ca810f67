"""Symbolic gradients against central differences, in float64 (Griewank and Walther 2008, section 1).

At a random point the gradient is compared with differences of the loss. Where numbers are exactly 0 or equal, the loss
may not be differentiable. There the gradient is compared with the gradients at nearby points on both sides: where these
agree with each other the loss is smooth, and the gradient between them has to agree too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.models import TextSource
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

# A difference across a kink, such as relu's, is wrong; a smaller step rarely crosses one, but amplifies the rounding of
# the loss. So several steps are tried.
_STEPS = (1e-6, 1e-7, 1e-8, 1e-9, 1e-5)
_NOISE = 0.01  # added to the initial values, many of which lie on a kink, such as a bias of 0
_TOLERANCE = 1e-5
_ASIDE, _BESIDE_ZERO = 1e-12, 1e-30  # the distance of the nearby points from a number, and from 0
_SIDES = 4  # directions in which nearby points are taken, on both sides
_SPREAD = 20  # how far a gradient may be from the mean of those nearby, in multiples of their spread
_COUNTERS = ((SEED, np.int64), (STEP, np.float64))


@dataclass(frozen=True)
class GradientRow:
    """The derivative of the loss along one random direction of one tensor."""

    name: str
    symbolic: float
    numeric: float
    error: float
    point: str = ""  # the edge case, where many numbers are 0 or equal; empty at the random point

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
        """The outputs of the graph at these values."""
        with np.errstate(all="ignore"):
            return self.runner.run(values)

    def slopes(self, values: Mapping[str, Array]) -> tuple[float, dict[str, float]]:
        """The loss, and its derivatives along the directions, by the gradients."""
        outputs = self.outputs(values)
        slopes = {
            name: float(np.sum(outputs[gradient_name(name)] * direction)) for name, direction in self.directions.items()
        }
        return float(outputs["loss"]), slopes

    def difference(self, point: _Point, name: str, slope: float) -> GradientRow:
        """The derivative along the direction of one tensor, with the closest difference of the loss."""
        value, direction = point.values[name], self.directions[name]
        others = {path: array for path, array in point.values.items() if path in self.of_loss}

        def numeric_slope(step: float) -> float:
            with np.errstate(all="ignore"):
                sides = (self.loss.run({**others, name: value + sign * step * direction}) for sign in (1, -1))
                ahead, behind = (float(side["loss"]) for side in sides)
            return (ahead - behind) / (2 * step)

        return _row(name, slope, numeric_slope, point.name)


def check_gradients(
    program: Program,
    model: str,
    *,
    preset: str | None = None,
    hypers: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[GradientRow]:
    """Compare the gradient of every parameter and float input with differences of the loss on random data.

    The model is in training mode with fixed random draws, so that dropout is the same on both sides. Differences ignore
    `stop_gradient` and `truncate`, and so do the gradients here. All floats are f64, whatever the text says.
    At the edge cases (zeros of inputs, parameters and errors) only wrong gradients have rows.
    """
    source = TextSource(program, model, preset, hypers or {}, dtype=DType.F64, one_float=True)
    elaborated = source.spec(training=True)
    gradient = gradient_graph(elaborated, cut=False)
    own = {f"output {name}": value for name, value in elaborated.graph.outputs.items()}
    inputs = {**elaborated.graph.inputs, **gradient.inputs}
    graph = optimize(Graph(inputs, {**gradient.outputs, **own}, {}, gradient.name))
    generator = np.random.default_rng(seed)
    weights = initialize(graph, seed)
    sizes = [*sample_sizes(graph)][-1]  # several examples: batch normalisation of one or two is not smooth
    feeds = random_feeds(graph, sizes, seed, dead=0.0)  # a mean over an empty mask is not defined
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
    checked: _Check, random: Mapping[str, Array], first: Mapping[str, Array], inputs: set[str], targets: list[str]
) -> Iterator[_Point]:
    """The points where many numbers are 0 or equal."""
    yield _Point("the first values", first)
    wrt = set(checked.directions)
    for name, chosen in (("inputs of 0", inputs & wrt), ("parameters of 0", wrt - inputs)):
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


def _row(name: str, symbolic: float, numeric_slope: Callable[[float], float], point: str) -> GradientRow:
    """The comparison with the closest difference; steps after one that passes are not tried."""
    best: GradientRow | None = None
    for step in _STEPS:
        numeric = numeric_slope(step)
        error = abs(symbolic - numeric) / max(abs(symbolic), abs(numeric), 1e-3)
        error = error if error == error else np.inf  # NaN agrees with nothing
        if best is None or error < best.error:
            best = GradientRow(name, symbolic, numeric, error, point)
        if best.passed:
            break
    assert best is not None
    return best


def _compare_with_both_sides(checked: _Check, point: _Point, generator: np.random.Generator) -> list[GradientRow]:
    """The wrong gradients at a point: those that differ from their neighbours, which agree, and from differences."""
    loss, slopes = checked.slopes(point.values)
    nearby: list[dict[str, float]] = []
    for _ in range(_SIDES):
        shifts = {name: _perturbation(point.values[name], generator) for name in checked.directions}
        for sign in (1, -1):
            shifted = {name: point.values[name] + sign * shift for name, shift in shifts.items()}
            nearby.append(checked.slopes({**point.values, **shifted})[1])
    rows = []
    for name, slope in slopes.items():
        sides = np.array([slopes_nearby[name] for slopes_nearby in nearby])
        if not np.isfinite([loss, *sides]).all():
            continue  # nothing can be said where the loss or a slope nearby is not finite
        mean, spread = float(sides.mean()), float(np.ptp(sides))
        if not abs(slope - mean) <= _SPREAD * spread + _TOLERANCE * max(abs(slope), abs(mean), 1e-3):
            rows.append(checked.difference(point, name, slope))
    return [row for row in rows if not row.passed]


def _perturbation(value: Array, generator: np.random.Generator) -> Array:
    """A small random shift of each number: too small for the loss to curve, and larger than its rounding."""
    scale = np.where(value == 0, _BESIDE_ZERO, _ASIDE * np.abs(value))
    return np.asarray(scale * generator.normal(size=value.shape))
