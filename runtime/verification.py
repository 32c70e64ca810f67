"""Comparing the two backends: the outputs of one graph with the same weights and inputs.

On random inputs they have to agree within the tolerance, for 16-bit floats within the effect of rounding. On edge cases
(`runtime.feeds`), and for integers, a difference is excused if

- rounding alone moves the result as much (`runtime.rounding`);
- an operator declares that onnxruntime's kernel differs there (`Operator.edges`);
- a sum or product overflows in one order of its terms and not in another;
- onnxruntime agrees with NumPy when its optimisations are off, and an input or NumPy's result is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Graph, Node
from compiler.onnx.exporter import export
from compiler.onnx.output_names import end_names
from compiler.operators.arithmetic import Abs, Maximum
from compiler.operators.leaves import Constant, Input, Source, constant
from compiler.operators.reductions import Prod
from compiler.rewrite import with_operands
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.feeds import Feeds, edge_feeds, float_ends, random_feeds, sample_sizes
from runtime.initialization import stored_operators
from runtime.memory import require_memory_to_compare
from runtime.numpy_executor import NumpyRunner
from runtime.numpy_plan import feed_name
from runtime.onnx_session import OnnxRunner
from runtime.rounding import LEEWAY, Rounding
from runtime.unrounded import without_rounding

if TYPE_CHECKING:
    from compiler.passes.known_weights import KnownWeights
    from compiler.types import Array

__all__ = ["Comparison", "Report", "compare", "first_divergence", "random_feeds", "relative_error", "sample_sizes"]

RANDOM = "random"
_TOLERANCE = 1e-4
_ROUNDINGS = 8  # errors of so many roundings of 16-bit floats are accepted
_COPIES = 4  # of the outputs that are in memory while they are compared


@dataclass(frozen=True)
class Comparison:
    """The difference of the backends in one output for one set of inputs.

    `error` is relative to the output's largest magnitude (at least 1e-3). `nothing` is True where both outputs are all
    NaN: there is nothing to compare. `excuse` is why a difference is acceptable.
    """

    output: str
    sizes: dict[str, int]
    error: float
    nothing: bool = False
    feeds: str = RANDOM
    excuse: str | None = None


@dataclass(frozen=True)
class Divergence:
    """The first node, in the order of computation, whose results differ, with its line or its layer's path."""

    operator: str
    location: str
    type: str
    error: float


@dataclass(frozen=True)
class Report:
    """All comparisons, and if one fails the first diverging node; None if every single node agrees."""

    comparisons: tuple[Comparison, ...]
    tolerance: float
    diverging: Divergence | None = None

    @property
    def worst(self) -> Comparison:
        """The largest difference without an excuse."""
        return max(self.comparisons, key=lambda row: (row.excuse is None, row.error))

    @property
    def agrees(self) -> bool:
        """Whether all differences are within the tolerance or excused."""
        return all(row.error <= self.tolerance or row.excuse is not None for row in self.comparisons)

    @property
    def uncompared(self) -> list[str]:
        """The outputs that are all NaN at every size of random inputs."""
        compared = {row.output for row in self.comparisons if row.feeds == RANDOM and not row.nothing}
        return [name for name in dict.fromkeys(row.output for row in self.comparisons) if name not in compared]

    @property
    def passed(self) -> bool:
        """Whether every output was compared, and agrees."""
        return self.agrees and not self.uncompared


def compare(
    graph: Graph,
    model: bytes | str | Path,
    weights: Mapping[str, Array],
    *,
    sizes: Iterable[Mapping[str, int]] | None = None,
    seed: int = 0,
    tolerance: float = _TOLERANCE,
    locate: bool = False,
    text: Graph | None = None,
    edges: bool = True,
    folded: KnownWeights | None = None,
) -> Report:
    """Compare NumPy on the graph with onnxruntime on its exported model, on random inputs and on `edges`.

    `folded` is the graph with its known weights that the model was exported from, where that is not `graph`.
    With `text`, the graph before optimisation, NumPy runs that one, so that the passes are tested as well.
    With `locate`, a failure is traced to the first node whose results differ. Edge cases that an operator refuses,
    such as indices out of range, are skipped.
    """
    whole = text is not None and all(
        op.path in weights for op in stored_operators(text)
    )  # a pass may leave weights out
    reference = text if text is not None and whole else graph
    numpy, onnx = NumpyRunner(reference, weights), OnnxRunner(model)
    excuses = _Excuses(reference, graph, model, weights, tolerance, folded)
    compared: list[Comparison] = []
    failed: tuple[float, dict[str, Array]] = (tolerance, {})
    for feeds in (*_random_feeds(graph, sizes, seed), *(edge_feeds(graph, seed) if edges else ())):
        require_memory_to_compare(graph, feeds.sizes, _COPIES)
        try:
            expected = numpy.run(feeds.arrays)
        except NablacError:
            if feeds.label == RANDOM:
                raise
            continue
        results = onnx.run({name: array for name, array in {**weights, **feeds.arrays}.items() if name in onnx.inputs})
        for name, end in zip(end_names(graph), (*graph.outputs, *graph.updates), strict=True):
            nothing = all_nan(results[name]) and all_nan(expected[end])
            row = Comparison(end, feeds.sizes, relative_error(results[name], expected[end]), nothing, feeds.label)
            if row.error > tolerance:
                row = replace(row, excuse=excuses.excuse(name, end, feeds, expected[end], results[name]))
            compared.append(row)
            if row.error > failed[0] and row.excuse is None:
                failed = (row.error, feeds.arrays)
    diverging = first_divergence(graph, weights, failed[1], tolerance) if locate and failed[1] else None
    return Report(tuple(compared), tolerance, diverging)


def _random_feeds(graph: Graph, sizes: Iterable[Mapping[str, int]] | None, seed: int) -> Iterator[Feeds]:
    for number, chosen in enumerate(sizes if sizes is not None else sample_sizes(graph)):
        yield Feeds(RANDOM, dict(chosen), random_feeds(graph, chosen, seed + number))


@dataclass(frozen=True, eq=False)
class _Excuses:
    """Finds excuses for differences; `text` is the graph that NumPy ran, `graph` the one that `model` was made from."""

    text: Graph
    graph: Graph
    model: bytes | str | Path
    weights: Mapping[str, Array]
    tolerance: float
    folded: KnownWeights | None = None

    def excuse(self, name: str, end: str, feeds: Feeds, expected: Array, actual: Array) -> str | None:
        """A short reason why `end` and the model's `name` may differ, or None."""
        if actual.shape != expected.shape or actual.dtype != expected.dtype:
            return None
        random = feeds.label == RANDOM and expected.dtype.kind not in "iub"
        if random and not self.short:
            return None
        finite = np.abs(expected.astype(np.float64))
        slack = self.tolerance * max(float(np.max(finite[np.isfinite(finite)], initial=0.0)), 1e-3)
        leeway = 1.0 if random else LEEWAY  # of edges alone, where rounding is enlarged
        if self.rounding.accounts_for(end, feeds.arrays, feeds.sizes, expected, actual, slack, leeway):
            return "rounding moves it as much"
        reason = None if random else self._reason_at_edge(name, end, feeds, expected)
        if reason is None and not random and self._overflows_before_scale(end, feeds, expected, actual):
            return "a number that overflows before it is scaled, but not with the scale in the weights"
        if reason is None and self.short and self._is_unrounded(end, feeds, expected, actual):
            return "onnxruntime does not round f16 between operators"
        return reason

    def _reason_at_edge(self, name: str, end: str, feeds: Feeds, expected: Array) -> str | None:
        """Why a difference at an edge is not a fault: a known property of an operator, or a rewrite by onnxruntime."""
        if not self._passes_agree(end, feeds, expected):
            return None
        ends = {**self.graph.outputs, **self.graph.updates}
        dependencies = set(Graph({}, {end: ends[end]}))
        every = divergences(self.graph, self.weights, feeds.arrays, self.tolerance)
        reasons = [reason for node, _, reason in every if node in dependencies]
        if reasons and all(reason is not None for reason in reasons):
            return reasons[0]
        numbers = (*feeds.arrays.values(), expected)  # rewrites must not change finite results
        if reasons or all(map(_is_finite, numbers)):
            return None
        unchanged = self.unchanged.run(
            {key: array for key, array in {**self.weights, **feeds.arrays}.items() if key in self.unchanged.inputs}
        )
        if relative_error(unchanged[name], expected) <= self.tolerance:
            return "onnxruntime's optimisations of numbers that are not finite"
        return None

    def _overflows_before_scale(self, end: str, feeds: Feeds, expected: Array, actual: Array) -> bool:
        """Whether the model differs from finite inputs only where NumPy gets no finite number with unfolded weights.

        There it has to compute what NumPy does with folded weights. Where neither gets a finite number, and the model
        none either, a sum overflows in each of them, and which infinity or NaN it is depends on its order.
        """
        if self.folded is None or not all(map(_is_finite, feeds.arrays.values())):
            return False
        known = NumpyRunner(self.folded.graph, self.folded.weights).run(feeds.arrays)[end]
        finite, of_folded, of_model = (np.isfinite(array.astype(np.float64)) for array in (expected, known, actual))
        with_folded = np.where(finite, expected, np.where(of_folded | of_model, known, actual))
        return relative_error(actual, with_folded) <= self.tolerance

    def _passes_agree(self, end: str, feeds: Feeds, expected: Array) -> bool:
        if self.text is self.graph:
            return True
        optimized = NumpyRunner(self.graph, self.weights).run(feeds.arrays)[end]
        return relative_error(optimized, expected) <= self.tolerance

    def _is_unrounded(self, end: str, feeds: Feeds, expected: Array, actual: Array) -> bool:
        """Whether each element is the NumPy result with rounding between operators, or without it."""
        unrounded = NumpyRunner(self.unrounded, self.weights).run(feeds.arrays)[end]
        rounded = np.where(_equal(actual, expected), actual, unrounded)
        return relative_error(actual, rounded) <= max(self.tolerance, _ROUNDINGS * DType.F16.eps)

    @cached_property
    def unrounded(self) -> Graph:
        return without_rounding(self.text)

    @cached_property
    def short(self) -> bool:
        """Whether the graph computes with 16-bit floats, of which a single rounding exceeds the tolerance."""
        return any(value.type.dtype.is_half for node in self.text for value in node.results)

    @cached_property
    def rounding(self) -> Rounding:
        return Rounding(self.text, self.weights)

    @cached_property
    def unchanged(self) -> OnnxRunner:
        return OnnxRunner(self.model, optimize=False)


def tolerance_of(graphs: Iterable[Graph], roundings: int = _ROUNDINGS) -> float:
    """The accepted relative difference: 1e-4, or the error of so many roundings of the shortest float in the graphs."""
    types = {value.type.dtype for graph in graphs for node in graph for value in node.results}
    return max(_TOLERANCE, roundings * max((dtype.eps for dtype in types if dtype.is_float), default=0.0))


def first_divergence(
    graph: Graph, weights: Mapping[str, Array], feeds: Mapping[str, Any], tolerance: float
) -> Divergence | None:
    """The first node for which onnxruntime and NumPy give different results for the same operands."""
    for node, error, _ in divergences(graph, weights, feeds, tolerance):
        location = str(node.origin.span) if node.origin.span is not None else node.origin.path
        return Divergence(node.op.name, location, ", ".join(str(result.type) for result in node.results), error)
    return None


def divergences(
    graph: Graph, weights: Mapping[str, Array], feeds: Mapping[str, Any], tolerance: float
) -> Iterator[tuple[Node, float, str | None]]:
    """The nodes whose results differ by more than the tolerance for identical operands.

    The operands are those that onnxruntime computed. Each node comes with the error of its results, and the excuse for
    it or None.
    """
    nodes = [node for node in graph if not isinstance(node.op, Source)]
    results = {result: f"node {number}.{result.index}" for number, node in enumerate(nodes) for result in node.results}
    every = Graph(graph.inputs, {name: result for result, name in results.items()}, {}, graph.name)
    results_of_onnx = OnnxRunner(export(every, weights=weights).SerializeToString()).run(dict(feeds))
    for node in nodes:
        inputs = {
            operand: f"operand {position}"
            for position, operand in enumerate(node.operands)
            if not isinstance(operand.node.op, Constant)
        }
        formal = {operand: Input(name, operand.type)() for operand, name in inputs.items()}
        alone = with_operands(node, tuple(formal.get(operand, operand) for operand in node.operands))
        outputs = {results[old]: new for old, new in zip(node.results, alone.results, strict=True)}
        sized = {name: value for name, value in graph.inputs.items() if name in feeds}
        single = Graph({**sized, **{name: formal[operand] for operand, name in inputs.items()}}, outputs)
        operands = {
            name: results_of_onnx[results[operand]] if operand in results else _source(operand.node, weights, feeds)
            for operand, name in inputs.items()
        }
        arrays = {**{name: feeds[name] for name in sized}, **operands}
        expected = NumpyRunner(single).run(arrays)
        error = max(relative_error(results_of_onnx[name], expected[name]) for name in outputs)
        if error > tolerance:
            both = [*(results_of_onnx[name] for name in outputs), *expected.values()]
            yield node, error, _reason(alone, single, arrays, operands.values(), both)


def _source(node: Node, weights: Mapping[str, Array], feeds: Mapping[str, Any]) -> Any:
    """The array that is fed to an input, a parameter or a buffer."""
    name = feed_name(node)
    return feeds[name] if name in feeds else weights[name]


def _reason(
    node: Node, single: Graph, feeds: Mapping[str, Array], operands: Collection[Array], results: Collection[Array]
) -> str | None:
    """Why an operator may have several correct results for the same operands, `results` among them, or None."""
    whole = [result.type.dtype.numpy for result in node.results if result.type.dtype.is_integer]
    if node.op.edges and any(_at_edge(array, whole) for array in operands):
        return f"`{node.op.name}`, {node.op.edges[0]}"
    overflows = all(map(_is_finite, operands)) and not all(map(_is_finite, results))
    if overflows and _sums_overflow(node, single, feeds):
        kind = "products" if isinstance(node.op, Prod) else "sums"
        return f"`{node.op.name}`, {kind} that overflow in one order and not in another"
    return None


def _sums_overflow(node: Node, single: Graph, feeds: Mapping[str, Array]) -> bool:
    """Whether an operator's sums or products may overflow in some order of their terms or factors.

    So the absolute values are summed, and factors below 1 are left out of products.
    """
    adds_up = (node.op.wide or node.op.sums) and not node.op.safe_sums
    if not adds_up:
        return False
    operands = [Abs()(operand) if operand.type.dtype.is_float else operand for operand in node.operands]
    if isinstance(node.op, Prod):
        operands = [Maximum()(operand, constant(1, operand.type.dtype)) for operand in operands]
    totals = with_operands(node, tuple(operands)).results
    sums = NumpyRunner(Graph(single.inputs, dict(zip(single.outputs, totals, strict=True)))).run(feeds)
    terms = max((array.size for array in feeds.values()), default=1)  # a mean may divide after its sum
    floats = [array for array in sums.values() if array.dtype.kind not in "iub"]
    largest = (float(np.max(array.astype(np.float64), initial=0.0)) for array in floats)
    return any(
        not total * terms < float(float_ends(array.dtype).max) for total, array in zip(largest, floats, strict=True)
    )


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def _at_edge(array: Array, whole: Sequence[np.dtype[Any]]) -> bool:
    """Whether some number is not finite, near the limits of its dtype, or outside the integer dtypes `whole`."""
    if array.dtype.kind == "b" or not array.size:
        return False
    if array.dtype.kind in "iu":
        ends = np.iinfo(array.dtype)
        return bool((array == ends.max).any() or (ends.min < 0 and (array == ends.min).any()))
    largest = np.max(np.abs(array.astype(np.float64)))
    beyond = min(float(float_ends(array.dtype).max) / 16, *(float(np.iinfo(dtype).max) for dtype in whole), math.inf)
    return not largest < beyond  # NaN is not


def relative_error(actual: Array, expected: Array) -> float:
    """The largest difference, relative to the largest magnitude (at least 1e-3); NaN equals NaN."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return float("inf")
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    with np.errstate(invalid="ignore"):
        gap = np.abs(np.where(same, 0.0, a - b))
    if not np.isfinite(gap).all():
        return float("inf")
    largest = float(np.max(gap))
    if actual.dtype.kind in "iub":  # whole numbers are equal, or they are not
        return max(1.0, largest)
    scale = max(float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)), 1e-3)
    return largest / scale


def _equal(a: Array, b: Array) -> Array:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def all_nan(array: Array) -> bool:
    return array.size > 0 and array.dtype.kind not in "iub" and bool(np.isnan(array.astype(np.float64)).all())
