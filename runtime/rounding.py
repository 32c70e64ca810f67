"""The effect of rounding on a graph's results: which differences between two runtimes it explains.

The operands of every operator that rounds are perturbed at random by one or two units in the last place: sums and
products in any order, and approximations of functions, are exact for such operands (Higham 2002, section 1.5). Zeros
change their sign, and subnormal numbers may become 0: runtimes need not keep either. A difference in an element that
moves as far, or jumps, as `argmax` does between equal elements, is explained by rounding (Vignes 1993).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.dims import evaluate
from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Abs
from compiler.operators.comparison import Equal, Less, Where
from compiler.operators.leaves import Input, constant
from compiler.rewrite import rebuild, with_ends
from runtime.feeds import float_ends
from runtime.numpy_executor import NumpyRunner

if TYPE_CHECKING:
    from compiler.types import Array

_RUNS = 24
_PATIENCE = 8  # runs after which some element has moved, if rounding moves any
LEEWAY = 8.0
_NOISE = "rounding of operand"


class Rounding:
    """A graph whose operands are perturbed by one or two units in the last place."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array]) -> None:
        self.noises: dict[str, tuple[Value, float, float]] = {}
        self.graph = self._add_noise(graph)
        self.runner = NumpyRunner(self.graph, weights)

    def accounts_for(
        self,
        name: str,
        feeds: Mapping[str, Array],
        sizes: Mapping[str, int],
        expected: Array,
        other_result: Array,
        slack: float,
        leeway: float = LEEWAY,
    ) -> bool:
        """Whether rounding explains every element of a result that differs between two runtimes by more than `slack`.

        A difference may be `leeway` times the spread of the perturbed runs. Where either result is not finite, some
        run has to have given that infinity or NaN, or the runs have to surround that number.
        """
        base, other = expected.astype(np.float64), other_result.astype(np.float64)
        left = ~_near(base, other, slack)
        finite = np.isfinite(base) & np.isfinite(other)
        spread, met = np.zeros(base.shape), np.zeros(base.shape, bool)
        lowest, highest = np.full(base.shape, np.inf), np.full(base.shape, -np.inf)
        for number in range(_RUNS):
            moved = self._run(feeds, sizes, number)[name].astype(np.float64)
            spread = np.maximum(spread, _gap(base, moved))
            met |= _near(moved, other, 0.0)
            lowest = np.where(np.isfinite(moved), np.minimum(lowest, moved), lowest)
            highest = np.where(np.isfinite(moved), np.maximum(highest, moved), highest)
            whole = expected.dtype.kind in "iub"
            explained = spread > 0 if whole else _near(base, other, slack + leeway * spread)
            explained = np.where(finite, explained, met | _between(lowest, highest, other, slack, leeway))
            if not (left & ~explained).any():
                return True
            if number + 1 == _PATIENCE and not (left & (spread > 0)).any():
                return False
        return False

    def _run(self, feeds: Mapping[str, Array], sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        noises: dict[str, Array] = {}
        for name, (value, lowest, highest) in self.noises.items():
            shape, dtype = [evaluate(size, sizes) for size in value.shape], value.type.dtype.numpy
            noises[name] = rng.choice(np.array([lowest, 1.0, highest]), shape).astype(dtype)
        return self.runner.run({**feeds, **noises})

    def _add_noise(self, graph: Graph) -> Graph:
        new: dict[Value, Value] = {}
        for node in graph:
            rebuilt = rebuild(node, new)
            if _rounds(node):
                operands = tuple(self._perturb(operand) for operand in rebuilt.operands)
                changed = Node(node.op, operands, [result.type for result in node.results])
                new.update(zip(node.results, changed.results, strict=True))
        noisy = with_ends(graph, new)
        noises = {name: value for name, (value, _, _) in self.noises.items()}
        return Graph({**graph.inputs, **noises}, noisy.outputs, noisy.updates, graph.name)

    def _perturb(self, operand: Value) -> Value:
        dtype = operand.type.dtype
        if not dtype.is_float:
            return operand
        ends, zero = float_ends(dtype.numpy), constant(0.0, dtype)
        step = 2 * float(ends.eps)
        small = Less()(Abs()(operand), constant(float(ends.smallest_normal), dtype))
        below = operand * self._noise(operand, 0.0, 1.0)
        moved = operand * self._noise(operand, 1 - step, 1 + step)
        finite = Less()(Abs()(moved), constant(math.inf, dtype))
        normal = Where()(finite, moved, operand)  # a largest number is finite, however it is rounded
        signed = operand * self._noise(operand, -1.0, -1.0)
        return Where()(Equal()(operand, zero), signed, Where()(small, below, normal))

    def _noise(self, like: Value, lowest: float, highest: float) -> Value:
        """An input of random factors: 1, or one of two others."""
        name = f"{_NOISE} {len(self.noises)}"
        noise = Input(name, like.type)()
        self.noises[name] = noise, lowest, highest
        return noise


def _rounds(node: Node) -> bool:
    """Whether an operator computes with floats, rather than only moving, selecting or counting them."""
    if not node.op.rounds or not node.operands:
        return False
    return all(result.type.dtype.is_float for result in node.results)


def _near(a: Array, b: Array, slack: float | Array) -> Array:
    """Where elements differ by no more than `slack`."""
    return np.asarray(_gap(a, b) <= slack)


def _between(lowest: Array, highest: Array, other: Array, slack: float, leeway: float) -> Array:
    """Where elements are finite, and outside a range by no more than `slack` plus `leeway` times its width."""
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = slack + leeway * (highest - lowest)
        inside = (other >= lowest - beyond) & (other <= highest + beyond)
    return np.asarray(np.isfinite(other) & (lowest <= highest) & inside)


def _gap(a: Array, b: Array) -> Array:
    """The distance of elements: 0 where they are equal or both NaN, infinity where only one is finite."""
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return np.where(np.isnan(gap), np.inf, gap)
