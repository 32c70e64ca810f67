"""Segments of a graph on a backend, between which workers reduce: in flat buckets, beside the next piece if asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from compiler.dims import symbols
from compiler.graph import Graph
from compiler.training.pieces import pieces_of
from compiler.training.segments import Reduced, Segment, Segments
from runtime.training.flat_arrays import LINE, aligned, starts_of
from runtime.workers.collective import By, Collective

if TYPE_CHECKING:
    from compiler.types import Array

Run = Callable[[Mapping[str, "Array"]], Mapping[str, "Array"]]
BUCKET = 4 << 20  # bytes


class SegmentBackend(Protocol):
    """What runs segments."""

    def optimize(self, graph: Graph) -> Graph:
        """The graph as it is built."""

    def build(self, graph: Graph, bound: Mapping[str, Array]) -> Run:
        """A function of an optimised graph, which writes its outputs in `bound` there and returns the others."""


@dataclass
class Bucket:
    """Tensors to reduce that lie one after the other in `array`."""

    by: By
    array: Array
    names: list[str] = field(default_factory=list)


class SegmentedRun:
    """A graph in segments.

    With `overlaps` a bucket is reduced while the rest of its segment is computed, which is then cut into pieces. The
    results have the same bits.
    """

    def __init__(
        self,
        segments: Segments,
        collective: Collective,
        batch: set[str],
        backend: SegmentBackend,
        overlaps: bool = False,
    ) -> None:
        self.segments, self.batch = segments, batch
        self.runs = [_SegmentRun(segment, collective, backend, overlaps) for segment in segments.segments]

    def run(self, feeds: Mapping[str, Array], has_examples: bool) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs by name, and the next values by path; a worker without examples adds nothing to either.

        What the workers have reduced is in memory that the next run writes over.
        """
        values = dict(feeds)
        for run in self.runs:
            run.run(values, has_examples)
        outputs, updates = self.segments.outputs, self.segments.updates
        return (
            {name: values[label] for name, label in outputs.items()},
            {path: values[label] for path, label in updates.items()},
        )


class _SegmentRun:
    def __init__(self, segment: Segment, collective: Collective, backend: SegmentBackend, overlaps: bool) -> None:
        self.segment, self.collective = segment, collective
        fixed = [part for part in segment.reductions if _is_fixed(part)]
        self.loose = [part for part in segment.reductions if not _is_fixed(part)]  # their sizes differ by batch
        self.buckets: list[Bucket] = []
        self.views: dict[str, Array] = {}
        for by, group in _groups(fixed):
            self._lay_out(by, group)
        graph = backend.optimize(segment.graph)
        apart = overlaps and len(self.buckets) > 1
        self.thread = ThreadPoolExecutor(1) if apart else None
        pieces = pieces_of(graph, [bucket.names for bucket in self.buckets]) if apart else [graph]
        self.pieces: list[tuple[Run, list[Bucket]]] = [
            (backend.build(piece, {name: self.views[name] for name in piece.outputs if name in self.views}), buckets)
            for piece, buckets in zip(pieces, [[b] for b in self.buckets] if apart else [self.buckets], strict=True)
        ]
        self.alone = backend.build(backend.optimize(segment.alone), {})

    def run(self, values: dict[str, Array], has_examples: bool) -> None:
        """Add the results to `values`, by which they are computed."""
        pending: list[Future[None]] = []
        pieces: list[tuple[Run, list[Bucket]]] = [(self._without_examples, self.buckets)]
        for piece, buckets in self.pieces if has_examples else pieces:
            values.update(piece(values))
            for bucket in buckets:
                if self.thread is None:
                    self.collective.reduce(bucket.array, bucket.by)
                else:
                    pending.append(self.thread.submit(self.collective.reduce, bucket.array, bucket.by))
        for reduction in pending:
            reduction.result()
        values.update(self.views)
        for part in self.loose:
            array = np.array(values[part.name])
            self.collective.reduce(array, By(part.by))
            values[part.name] = array

    def _lay_out(self, by: By, group: Sequence[Reduced]) -> None:
        """Buckets for tensors of one dtype, and where each tensor lies in them."""
        dtype = group[0].type.dtype.numpy
        shapes = [cast("tuple[int, ...]", part.type.shape) for part in group]
        starts = starts_of([math.prod(shape) for shape in shapes], LINE // dtype.itemsize)
        flat = aligned(starts[-1], dtype)
        names: list[str] = []
        begin = 0
        for part, shape, start, end in zip(group, shapes, starts[:-1], starts[1:], strict=True):
            self.views[part.name] = flat[start : start + math.prod(shape)].reshape(shape)
            names.append(part.name)
            if (end - begin) * dtype.itemsize >= BUCKET or end == starts[-1]:
                self.buckets.append(Bucket(by, flat[begin:end], names))
                names, begin = [], end

    def _without_examples(self, values: Mapping[str, Array]) -> Mapping[str, Array]:
        """The results of a worker that has none."""
        sizes = _sizes(self.segment.graph, values)
        results = dict(self.alone(values))
        results |= {part.name: _nothing(part, sizes) for part in self.segment.reductions if part.of_examples}
        for name, view in self.views.items():
            view[...] = results.pop(name)
        return results


def _is_fixed(part: Reduced) -> bool:
    return all(isinstance(size, int) for size in part.type.shape)


def _groups(reductions: Iterable[Reduced]) -> Iterator[tuple[By, list[Reduced]]]:
    """Reductions of one kind and dtype, in an order that is the same at every worker."""

    def kind(reduced: Reduced) -> tuple[str, str]:
        return reduced.by, str(reduced.type.dtype)

    for (by, _), group in itertools.groupby(sorted(reductions, key=kind), kind):
        yield By(by), list(group)


def _sizes(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, int]:
    """The sizes of the named dims that are whole axes of a batch."""
    sizes: dict[str, int] = {}
    for name, value in graph.inputs.items():
        if name in feeds:
            for size, length in zip(value.shape, np.shape(feeds[name]), strict=True):
                if str(size) in symbols(size):
                    sizes[str(size)] = length
    return sizes


def _nothing(part: Reduced, sizes: Mapping[str, int]) -> Array:
    """What a worker without examples adds to a reduction."""
    shape = cast("tuple[int, ...]", part.type.bind(sizes).shape)
    return np.full(shape, part.identity, part.type.dtype.numpy)
