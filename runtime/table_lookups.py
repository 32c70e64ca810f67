"""Indices that are out of range for a model's tables: tokens without a row, labels without a class.

Negative indices are out of range too, although NumPy and ONNX count them from the end, and `one_hot` would turn them
into zeros. Indices are checked as the model computes them: it may replace some first, such as a label `ignore`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Size, evaluate, symbols
from compiler.graph import Graph, Node, Value
from compiler.lookups import inputs_behind, lookups, lookups_of_several_axes, table_limits
from compiler.operators.indexing import OneHot
from compiler.operators.leaves import Constant, Input, Source
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.stopped import StoppedByData

KEY = "nablac.tables"  # of the metadata


@dataclass(frozen=True, eq=False)
class Outside:
    """The first index of a look-up that is out of range for its table of `size` entries, at `index` of the indices."""

    node: Node
    name: str  # of the input that it comes from
    number: int
    index: tuple[int, ...]
    size: int
    whole: bool  # whether the indices have a row for each row of the input


class TableCheck:
    """The look-ups of a graph whose indices are computed from its inputs."""

    def __init__(self, graph: Graph) -> None:
        of_one = (
            _Checked(graph, lookup.node, lookup.indices, (lookup.size,)) for lookup in lookups(graph, complete=True)
        )
        of_several = (_Checked(graph, *lookup) for lookup in lookups_of_several_axes(graph))
        self._checked = [lookup for lookup in (*of_one, *of_several) if lookup.names]

    @property
    def read(self) -> frozenset[str]:
        """The inputs that the check reads."""
        return frozenset(name for lookup in self._checked for name in lookup.read)

    def outside(self, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> Iterator[Outside]:
        """The first out-of-range index of each look-up."""
        for lookup in self._checked:
            if not all(symbols(size) <= sizes.keys() for size in lookup.sizes) or not lookup.names <= arrays.keys():
                continue
            limits = np.array([evaluate(size, sizes) for size in lookup.sizes])  # along the last axis, or for all
            suspects = [name for name in sorted(lookup.names) if _is_outside(arrays[name], int(limits.min()))]
            indices = lookup.indices(arrays) if suspects else None
            if indices is None:
                continue
            wrong = np.argwhere((indices < 0) | (indices >= limits))
            if len(wrong):
                index = tuple(int(axis) for axis in wrong[0])
                size = int(limits[index[-1]] if len(limits) > 1 else limits[0])
                whole = indices.ndim > 0 and len(indices) == len(arrays[suspects[0]])
                yield Outside(lookup.node, suspects[0], int(indices[index]), index, size, whole)

    def check(self, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
        """NablacError (E806) for each input with an index that is out of range for a table."""
        wrong: dict[str, Diagnostic] = {}
        for miss in self.outside(arrays, sizes):
            node = miss.node
            table = "`one_hot`" if isinstance(node.op, OneHot) else "the table"
            wrong.setdefault(miss.name, _not_in_table(miss.name, miss.number, miss.size, node.origin.span, table))
        if wrong:
            raise NablacError(*wrong.values())


class _Checked:
    """A look-up with the graph that computes its indices, built when it is first needed."""

    def __init__(self, graph: Graph, node: Node, indices: Value, sizes: tuple[Size, ...]) -> None:
        self.node, self.sizes, self._indices, self._inputs = node, sizes, indices, graph.inputs
        self.names = frozenset(inputs_behind(indices))

    @cached_property
    def _graph(self) -> Graph | None:
        """The graph from inputs to indices; None if they depend on weights too."""
        graph = Graph({}, {"indices": self._indices})
        sources = [node for node in graph if isinstance(node.op, Source)]
        if any(not isinstance(node.op, (Input, Constant)) for node in sources):
            return None
        inputs = {node.op.label: node.result for node in sources if isinstance(node.op, Input)}
        dims = _dims(result for node in graph for result in node.results)
        sized = {name: value for name, value in self._inputs.items() if _dims([value]) & dims}  # they determine sizes
        return Graph({**sized, **inputs}, graph.outputs)

    @cached_property
    def _runner(self) -> Any:
        from runtime.numpy_executor import NumpyRunner

        assert self._graph is not None
        return NumpyRunner(self._graph, {})

    @property
    def read(self) -> frozenset[str]:
        """The inputs that the indices depend on, by their numbers or by their sizes."""
        return self.names | (self._graph.inputs.keys() if self._graph is not None else frozenset())

    def indices(self, arrays: Mapping[str, Array]) -> Array | None:
        """The indices that the model computes from its inputs; None if some inputs are missing."""
        if self._graph is None or not self._graph.inputs.keys() <= arrays.keys():
            return None
        indices: Array = self._runner.run({name: arrays[name] for name in self._graph.inputs})["indices"]
        return indices


def table_metadata(graph: Graph) -> dict[str, str]:
    """The metadata on inputs whose every number is looked up: the size of the smallest table of each."""
    smallest: dict[str, int] = {}
    for lookup in lookups(graph, complete=True):
        for name in inputs_behind(lookup.indices, complete=True):
            if isinstance(lookup.size, int):
                smallest[name] = min(lookup.size, smallest.get(name, lookup.size))
    return {KEY: json.dumps(smallest)} if smallest else {}


def check_stored(metadata: Mapping[str, str], arrays: Mapping[str, Array]) -> None:
    """NablacError (E806) for an index out of range by the metadata of a compiled file (see `table_metadata`)."""
    wrong = []
    for name, size in json.loads(metadata.get(KEY, "{}")).items():
        if name in arrays and _is_outside(arrays[name], size):
            outside = arrays[name][(arrays[name] < 0) | (arrays[name] >= size)]
            wrong.append(_not_in_table(name, outside[0], size, None))
    if wrong:
        raise NablacError(*wrong)


def outside_of_table(
    graph: Graph, feeds: Mapping[str, Any], sizes: Mapping[str, int], stopped: StoppedByData
) -> NablacError | None:
    """The error for an index out of range, if that is why a graph stopped; reported at the same line."""
    wrong: list[Diagnostic] = []
    for name, limit in table_limits(graph, sizes).items():
        numbers = np.asarray(feeds[name]) if name in feeds else np.zeros(0)
        outside = numbers[(numbers >= limit) | (numbers < -limit)]
        if outside.size:
            (span, *_) = (diagnostic.span for diagnostic in stopped.diagnostics)
            wrong.append(_not_in_table(name, outside[0], limit, span))
    return NablacError(*wrong) if wrong else None


def _dims(values: Iterable[Value]) -> set[str]:
    return {name for value in values for size in value.shape for name in symbols(size)}


def _is_outside(array: Array, size: int) -> bool:
    """Whether some number is below 0, or not below `size`."""
    return bool(array.size) and bool(array.min() < 0 or array.max() >= size)


def _not_in_table(name: str, number: Any, entries: int, span: Span | None, table: str = "the table") -> Diagnostic:
    """The diagnostic for a number of an input that is out of range for a table."""
    message = f"`{name}` holds {number}, and {table} that it looks up has {entries} entries"
    if table != "the table":
        message = f"`{name}` holds {number}, and {table} has {entries} entries"
    hint = f"its numbers are from 0 to {entries - 1}"
    return Diagnostic(codes.E806, message, span, place=f"input `{name}`", hint=hint)
