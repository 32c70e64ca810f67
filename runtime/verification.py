"""The two backends against each other: one graph, the same weights and inputs, the outputs compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Dim, evaluate, symbols
from compiler.graph import Graph
from compiler.lookups import known_size, table_limits
from compiler.onnx.exporter import end_names, export
from compiler.operators.source import Source
from runtime.initialization import stored
from runtime.memory import require_compared
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner

if TYPE_CHECKING:
    from compiler.types import Array

BATCHES = (1, 2, 7)
LENGTHS = (5, 3, 16)
_COPIES = 4  # of the outputs, while they are compared
_LARGEST = 512  # a size is doubled up to this where a smaller one leaves nothing, as a window wider than its image


@dataclass(frozen=True)
class Comparison:
    """One output at one set of sizes: how far the backends are apart.

    `error` is relative to the output's largest magnitude (at least 1e-3), `absolute` is the difference itself. Where
    both are NaN everywhere there is nothing to compare: `nothing` says so.
    """

    output: str
    sizes: dict[str, int]
    error: float
    absolute: float
    nothing: bool = False


@dataclass(frozen=True)
class Divergence:
    """The first node, in the order of computation, whose results differ; `place` is its line, or its layer."""

    operator: str
    place: str
    type: str
    error: float


@dataclass(frozen=True)
class Report:
    """All comparisons; `diverging` is looked for where one fails, and None where every single node agrees."""

    comparisons: tuple[Comparison, ...]
    tolerance: float
    diverging: Divergence | None = None

    @property
    def worst(self) -> Comparison:
        return max(self.comparisons, key=lambda each: each.error)

    @property
    def agrees(self) -> bool:
        """Whether no difference was found."""
        return all(each.error <= self.tolerance for each in self.comparisons)

    @property
    def uncompared(self) -> list[str]:
        """The outputs that are nothing but NaN at every size."""
        compared = {each.output for each in self.comparisons if not each.nothing}
        return [name for name in dict.fromkeys(each.output for each in self.comparisons) if name not in compared]

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
    tolerance: float = 1e-4,
    locate: bool = False,
    text: Graph | None = None,
) -> Report:
    """Run NumPy on the graph and onnxruntime on the model it became, on random inputs, at several sizes.

    With `text`, the graph that `graph` was optimised from, NumPy runs that one, and the passes are compared as well.
    With `locate`, a failure is traced to the first node whose results differ.
    """
    whole = text is not None and all(op.path in weights for op in stored(text))  # a pass may leave weights out
    numpy, onnx = NumpyRunner(text if text is not None and whole else graph, weights), OnnxRunner(model)
    found: list[Comparison] = []
    failed: tuple[float, dict[str, Any]] = (tolerance, {})
    for number, chosen in enumerate(sizes if sizes is not None else sample_sizes(graph)):
        require_compared(graph, chosen, _COPIES)
        feeds = random_feeds(graph, chosen, seed + number)
        expected = numpy.run(feeds)
        given = onnx.run({name: array for name, array in {**weights, **feeds}.items() if name in onnx.inputs})
        for name, ours in zip(end_names(graph), (*graph.outputs, *graph.updates), strict=True):
            nothing = all_nan(given[name]) and all_nan(expected[ours])
            made = Comparison(ours, dict(chosen), *errors(given[name], expected[ours]), nothing)
            found.append(made)
            if made.error > failed[0]:
                failed = (made.error, feeds)
    diverging = first_divergence(graph, weights, failed[1], tolerance) if locate and failed[1] else None
    return Report(tuple(found), tolerance, diverging)


def first_divergence(
    graph: Graph, weights: Mapping[str, Array], feeds: Mapping[str, Any], tolerance: float
) -> Divergence | None:
    """The first node whose results differ by more than the tolerance, all of them computed by both backends."""
    results = [result for node in graph if not isinstance(node.op, Source) for result in node.results]
    every = Graph(graph.inputs, {f"node {place}": result for place, result in enumerate(results)}, {}, graph.name)
    expected = NumpyRunner(every, weights).run(feeds)
    runner = OnnxRunner(export(every, weights=weights).SerializeToString())
    given = runner.run(dict(feeds))
    for name, value in every.outputs.items():
        error, _ = errors(given[name], expected[name])
        if error > tolerance:
            origin = value.node.origin
            place = str(origin.span) if origin.span is not None else origin.path
            return Divergence(value.node.op.name, place, str(value.type), error)
    return None


def errors(given: Array, expected: Array) -> tuple[float, float]:
    """The largest difference, relative to the largest magnitude and as it is; NaN in the same places is none."""
    if given.shape != expected.shape or given.dtype != expected.dtype:
        return float("inf"), float("inf")
    a, b = given.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        gap = np.abs(np.where(same, 0.0, a - b))
    if not np.isfinite(gap).all():
        return float("inf"), float("inf")
    largest = float(np.max(gap))
    if given.dtype.kind in "iub":  # whole numbers are equal, or they are not
        return max(1.0, largest), largest
    scale = max(float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)), 1e-3)
    return largest / scale, largest


def all_nan(array: Array) -> bool:
    return array.size > 0 and array.dtype.kind not in "iub" and bool(np.isnan(array.astype(np.float64)).all())


# Inputs to run on


def sample_sizes(graph: Graph) -> Iterator[dict[str, int]]:
    """Sizes for the named dims: the first axis of an input as a batch, the others as lengths."""
    names: dict[str, bool] = {}
    for value in graph.inputs.values():
        for axis, size in enumerate(value.shape):
            for name in sorted(symbols(size)):
                names[name] = names.get(name, False) or axis == 0
    inner = {size for node in graph for result in node.results for size in result.shape if isinstance(size, Dim)}
    for batch, length in zip(BATCHES, LENGTHS, strict=True):
        lengths = iter(range(length, length + len(names)))
        sizes = {name: batch if first else next(lengths) for name, first in names.items()}
        while any(known_size(size, sizes) < 1 for size in inner) and max(sizes.values()) < _LARGEST:
            sizes = {name: size if names[name] else 2 * size for name, size in sizes.items()}
            if all(names.values()):
                break
        yield sizes
        if not names:
            return


def random_feeds(graph: Graph, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    """Standard normal floats, and whole numbers that are valid where the graph looks them up in a table."""
    rng = np.random.default_rng(seed)
    limits = table_limits(graph, sizes)
    feeds: dict[str, Array] = {}
    for name, value in graph.inputs.items():
        shape = [evaluate(size, sizes) for size in value.shape]
        dtype = value.type.dtype
        if dtype.is_float:
            feeds[name] = rng.normal(size=shape).astype(dtype.numpy)
        elif dtype.is_integer:
            high = min(limits.get(name, 2), int(np.iinfo(dtype.numpy).max))
            feeds[name] = rng.integers(0, high, size=shape).astype(dtype.numpy)
        else:
            feeds[name] = _mask(rng, shape)
    return feeds


def _mask(rng: np.random.Generator, shape: list[int]) -> Array:
    """True mostly, and always first: a row with nothing to attend to has no answer to compare."""
    mask = np.asarray(rng.random(shape) < 0.8)
    if shape:
        mask[..., 0] = True
    return mask
