"""Comparing the variants of a graph with the graph as written, on NumPy in f64 and on onnxruntime as it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from compiler.dump import dump
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.onnx.exporter import export
from compiler.onnx.output_names import end_names
from compiler.passes.pipeline import names_to_disable, pass_settings
from compiler.targets import NUMPY
from compiler.types import DType
from grammar.diagnostics import NablacError
from grammar.record import Record
from runtime.feeds import Feeds
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from runtime.rounding import LEEWAY, Rounding
from runtime.verification import relative_error
from tests.equivalence.subjects import RANDOM, Subject, feeds_of, weights_of
from tests.equivalence.variants import Builder, PassRuns, Variant

TOLERANCE = 1e-6  # of f64
SINGLE = 1e-4  # of f32, which is compared with f64


class Difference(Record):
    """An end of a graph that a variant changes beyond rounding."""

    subject: str
    kind: str
    variant: str
    runtime: str
    feeds: str
    end: str
    what: str


class Row(Record):
    """Inputs and the results of the graph as written; whether some operator of it overflows, although they are finite.

    What the equations lose by overflow, passes may keep (docs/language.md, "Edge cases of numbers"): the square of
    1e200 is infinite, and the gradient of a norm of it NaN step by step, and 0 by a closed form.
    """

    feeds: Feeds
    ends: dict[str, Any]
    overflows: bool

    def expected(self, end: str, actual: Any) -> Any:
        """What is expected of an end; of elements that were lost by overflow the actual ones."""
        expected = self.ends[end]
        if not self.overflows or actual.shape != expected.shape or expected.dtype.kind != "f":
            return expected
        return np.where(np.isfinite(expected), expected, actual)


class Reference:
    """A graph as written, in f64, with its results on all inputs; those that an operator refuses are left out."""

    def __init__(self, subject: Subject, edges: bool = True, strict: bool = True) -> None:
        self.subject, self.strict = subject, strict
        self.builder, self.runs = Builder(subject), PassRuns()
        self.graph = self.builder.as_written(DType.F64)
        self.weights = weights_of(self.graph)
        runner = NumpyRunner(self.graph, self.weights)
        self.rows: list[Row] = []
        self.compared = 0
        self.digests: dict[Graph, bytes] = {}
        self.seen: set[Hashable] = set()
        for feeds in feeds_of(self.graph):
            if feeds.label == RANDOM or edges:
                with suppress(NablacError):
                    ends, overflows = _ends_and_overflow(runner, feeds.arrays)
                    finite = all(np.isfinite(array).all() for array in feeds.arrays.values() if array.dtype.kind == "f")
                    self.rows.append(Row(feeds, ends, overflows and finite))

    @cached_property
    def rounding(self) -> Rounding:
        return Rounding(self.graph, self.weights)

    def check(self, variant: Variant, onnx: bool = True) -> Iterator[Difference]:
        """The differences of a variant on NumPy, and on onnxruntime where its graphs are not for NumPy."""
        try:
            graph = variant.optimized(self.builder.build(DType.F64, variant.disabled), self.runs)
            if not self._is_new(variant.later, self._verified(graph)):
                return
            known = variant.known(graph, self.weights)
            if self._is_new("numpy", self._verified(known.graph)):
                runner = NumpyRunner(known.graph, known.weights)
                yield from self._compared(variant, "numpy", runner, TOLERANCE)
            exports = variant.target.name != NUMPY.name and onnx
            if exports and self._is_new("exported", variant.exporting, self._verified(known.graph)):
                yield from self._on_onnxruntime(variant, known.graph, known.weights)
        except Exception as error:
            if not (isinstance(error, NablacError) and "E912" in str(error)):  # a target that has no such kernel
                yield self._difference(variant, "", "", "", f"{type(error).__name__}: {error}"[:600])

    def _verified(self, graph: Graph) -> bytes:
        """A digest of the text of a graph, which is checked to be well formed."""
        if graph not in self.digests:
            verify(graph)
            self.digests[graph] = hashlib.sha1(dump(graph).encode()).digest()
        return self.digests[graph]

    def _is_new(self, *key: Hashable) -> bool:
        """Whether no variant had this so far."""
        is_new = key not in self.seen
        self.seen.add(key)
        return is_new

    def _on_onnxruntime(self, variant: Variant, graph: Graph, weights: Mapping[str, Any]) -> Iterator[Difference]:
        runner: Any = None
        with pass_settings(variant.disabled):
            for dtype in (DType.F64, DType.F32):
                if dtype is DType.F32:
                    single = variant.optimized(self.builder.build(dtype, variant.disabled), self.runs)
                    known = variant.known(single, _single(self.weights))
                    graph, weights = known.graph, known.weights
                model = export(graph, weights=weights, target=variant.target)
                model.producer_name = ""
                data = model.SerializeToString(deterministic=True)
                if not self._is_new("onnxruntime", hashlib.sha1(data).digest()):
                    return
                try:
                    runner = _Exported(graph, OnnxRunner(data, optimize=False, threads=1), dtype)
                    break
                except NablacError:
                    if dtype is DType.F32:
                        raise
        tolerance = TOLERANCE if runner.dtype is DType.F64 else SINGLE
        yield from self._compared(variant, f"onnxruntime in {runner.dtype}", runner, tolerance)

    def _compared(self, variant: Variant, runtime: str, runner: Any, tolerance: float) -> Iterator[Difference]:
        for row in self.rows:
            feeds = row.feeds
            if tolerance > TOLERANCE and feeds.label != RANDOM:
                continue  # `nablac verify` compares f32 at the edges
            try:
                results = runner.ends(feeds.arrays) if isinstance(runner, _Exported) else _ends(runner, feeds.arrays)
            except NablacError as error:
                yield self._difference(variant, runtime, feeds.label, "", str(error)[:600])
                continue
            self.compared += 1
            for name, array in row.ends.items():
                actual = results[name].astype(array.dtype) if array.dtype.kind == "f" else results[name]
                error = relative_error(actual, row.expected(name, actual))
                if error <= tolerance or self._is_rounding(name, feeds, array, actual, tolerance):
                    continue
                if feeds.label != RANDOM and isinstance(runner, _Exported) and self._is_kernel(name, feeds, actual):
                    continue
                yield self._difference(variant, runtime, feeds.label, name, f"{error:.3g} {feeds.sizes}")

    def _is_rounding(self, name: str, feeds: Feeds, expected: Any, actual: Any, tolerance: float) -> bool:
        if feeds.label == RANDOM and tolerance == TOLERANCE and self.strict:
            return False
        finite = np.abs(expected.astype(np.float64))
        slack = tolerance * max(float(np.max(finite[np.isfinite(finite)], initial=0.0)), 1e-3)
        plain = name.partition(" ")[2]
        return self.rounding.accounts_for(plain, feeds.arrays, feeds.sizes, expected, actual, slack, LEEWAY)

    def _is_kernel(self, name: str, feeds: Feeds, actual: Any) -> bool:
        """Whether onnxruntime has this result at an edge without any pass too, so that no pass is the reason."""
        if self.without_passes is None:
            return False
        return relative_error(actual, self.without_passes.ends(feeds.arrays)[name]) <= TOLERANCE

    @cached_property
    def without_passes(self) -> _Exported | None:
        """The graph as written, in f64 on onnxruntime; None where that has no kernel for some operator."""
        with pass_settings(names_to_disable()):
            model = export(self.graph, weights=self.weights).SerializeToString()
        try:
            return _Exported(self.graph, OnnxRunner(model, optimize=False, threads=1), DType.F64)
        except NablacError:
            return None

    def _difference(self, variant: Variant, runtime: str, feeds: str, end: str, what: str) -> Difference:
        return Difference(self.subject.name, self.subject.kind, variant.title(), runtime, feeds, end, what)


class _Exported:
    """An exported graph in onnxruntime, by the names of the graph's ends."""

    def __init__(self, graph: Graph, runner: OnnxRunner, dtype: DType) -> None:
        self.graph, self.runner, self.dtype = graph, runner, dtype

    def ends(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        fed = {name: array for name, array in feeds.items() if name in self.runner.inputs}
        results = self.runner.run(_single(fed) if self.dtype is DType.F32 else fed)
        names = iter(end_names(self.graph))
        outputs = {f"output {name}": results[next(names)] for name in self.graph.outputs}
        return outputs | {f"update {path}": results[next(names)] for path in self.graph.updates}


def _ends(runner: NumpyRunner, feeds: Mapping[str, Any]) -> dict[str, Any]:
    return _ends_and_overflow(runner, feeds)[0]


def _ends_and_overflow(runner: NumpyRunner, feeds: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The ends of a graph, and whether the processor noted an overflow on the way."""
    inputs = {name: array for name, array in feeds.items() if name in runner.graph.inputs}
    arrays, sizes = runner.signature.check(inputs, checked=runner.weights)
    plan, overflows = runner.plan(sizes), []
    with np.errstate(all="ignore", over="call", call=lambda kind, flag: overflows.append(kind)):
        results = plan.run({**runner.weights, **arrays})
    names = [*(f"output {name}" for name in runner.graph.outputs), *(f"update {path}" for path in runner.graph.updates)]
    return {name: np.array(array) for name, array in zip(names, results, strict=True)}, bool(overflows)


def _single(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in ((name, np.asarray(arrays[name])) for name in arrays)
    }
