"""A graph whose weights are known: what depends on weights alone becomes a weight, which is computed once.

A derived tensor is computed when it is read, and not kept, so that they need not all fit in memory beside the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph, Node, Value
from compiler.lazy import LazyModule
from compiler.lazy_weights import LazyWeights, shape_of
from compiler.numpy_kernels import kernel_of
from compiler.operators.leaves import Constant, Derived, Placeholder, Stored
from compiler.passes.known import behind_inputs, bytes_of, updated
from compiler.passes.pipeline import Stage, run_stage
from compiler.rewrite import with_replaced
from compiler.targets import ORT_CPU, Target
from compiler.types import TypeMismatch
from grammar.record import Record

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

MODEST = 1 << 14  # bytes that a derived tensor may take whatever it is derived from


class KnownWeights(Record):
    """A graph, and its tensors by path: those of the model that it still reads, and those derived from them."""

    graph: Graph
    weights: Mapping[str, Array]
    derived: Mapping[str, tuple[str, ...]]  # by path, the paths of the tensors that one was computed from

    @property
    def sources(self) -> set[str]:
        """The paths of all tensors that others were computed from."""
        return {path for paths in self.derived.values() for path in paths}


def with_known_weights(
    graph: Graph, weights: Mapping[str, Array], target: Target = ORT_CPU, *, keep: bool = False
) -> KnownWeights:
    """`graph` with what depends on `weights` alone folded into weights for a target.

    With `keep` each weight stays a tensor of its own name, so that another can take its place. In any case those stay
    that the graph updates, and those that `weights` lacks or has in another shape.
    """
    if keep:
        return KnownWeights(graph, weights, {})
    unknown = {*updated(graph)}
    for node in graph:
        if isinstance(node.op, Stored):
            path = node.op.path
            if path not in weights or shape_of(weights, path) != node.op.type.shape:
                unknown.add(node.result)
    graph = behind_inputs(graph, unknown, lambda hidden: run_stage(hidden, Stage.WEIGHTS, target))
    derived = _Derivation(graph, unknown, target).leaves()
    folded = with_replaced(graph, {value: leaf.result for value, leaf in derived.items()})
    operators: dict[str, Any] = {leaf.op.path: leaf.op for leaf in derived.values() if isinstance(leaf.op, Derived)}
    arrays = _Arrays(folded, weights, {leaf: value for value, leaf in derived.items()})
    return KnownWeights(folded, arrays, {path: op.sources for path, op in operators.items()})


class _Derivation:
    """Finds the values of a graph that are known and worth storing."""

    def __init__(self, graph: Graph, unknown: set[Value], target: Target) -> None:
        self.graph = graph
        self.has_views = target.has_views
        self.sources: dict[
            Value, dict[Node, None]
        ] = {}  # of every known value, the stored tensors in order of first use
        for node in graph:
            self._record(node, unknown)

    def _record(self, node: Node, unknown: set[Value]) -> None:
        if isinstance(node.op, Stored):
            if node.result not in unknown:
                self.sources[node.result] = {node: None}
            return
        if isinstance(node.op, Constant):
            self.sources[node.result] = {}
            return
        is_known = node.operands and all(operand in self.sources for operand in node.operands)
        if not is_known or isinstance(node.op, Placeholder) or node.op.graphs or node.op.has_sizes:
            return
        sources = {leaf: None for operand in node.operands for leaf in self.sources[operand]}
        bytes = [self._bytes(result) for result in node.results]
        limit = max(MODEST, 2 * sum(self._bytes(leaf.result) or 0 for leaf in sources))
        if all(size is not None and size <= limit for size in bytes) and not _may_fail(node):
            self.sources.update(dict.fromkeys(node.results, sources))

    def _bytes(self, value: Value) -> int | None:
        """The bytes that storing a value takes; none for a view of another where the runtime has views."""
        while self.has_views and value.node.op.views_operand:
            value = value.node.operands[0]
            if isinstance(value.node.op, Stored):
                return 0
        return bytes_of(value)

    def leaves(self) -> dict[Value, Node]:
        """The values to store, each with the leaf that takes its place."""
        read = self._read()
        too_large = self._too_large_to_store(read)
        taken = {node.op.path for node in self.graph if isinstance(node.op, Stored)}
        taken.update(self.graph.inputs, self.graph.outputs)
        leaves: dict[Value, Node] = {}
        for value in read:
            sources = self.sources[value]
            if isinstance(value.node.op, Stored) or value in too_large:
                continue
            if not sources:
                continue
            largest = max(sources, key=lambda leaf: bytes_of(leaf.result) or 0)
            path = _unique(f"{_path(largest)}.folded", taken)
            leaves[value] = Derived(path, value.type, None, tuple(map(_path, sources))).apply()
        return leaves

    def _read(self) -> list[Value]:
        """The known values that something reads which is not known, stored tensors among them."""
        read: dict[Value, None] = {}
        for node in self.graph:
            if any(result not in self.sources for result in node.results):
                read.update(dict.fromkeys(operand for operand in node.operands if operand in self.sources))
        read.update(dict.fromkeys(end for end in self.graph.ends if end in self.sources))
        return list(read)

    def _too_large_to_store(self, read: list[Value]) -> set[Value]:
        """Large values that would be stored beside the large tensors that they come from, or beside each other.

        Those that share a large source are stored together or not at all.
        """
        group: dict[Node, Node] = {}  # of each large source, another of its group, or itself

        def first(leaf: Node) -> Node:
            while group.setdefault(leaf, leaf) is not leaf:
                leaf = group[leaf]
            return leaf

        def large(value: Value) -> list[Node]:
            return [leaf for leaf in self.sources[value] if (bytes_of(leaf.result) or 0) > MODEST]

        for value in read:
            for leaf in large(value):
                group[first(leaf)] = first(large(value)[0])
        before: dict[Node, int] = {}
        after: dict[Node, int] = {}
        for leaf in list(group):
            before[first(leaf)] = before.get(first(leaf), MODEST) + (bytes_of(leaf.result) or 0)
        for value in read:
            for leaf in large(value)[:1]:
                after[first(leaf)] = after.get(first(leaf), 0) + (self._bytes(value) or 0)
        return {
            value
            for value in read
            for leaf in large(value)[:1]
            if (self._bytes(value) or 0) > MODEST and after[first(leaf)] > before[first(leaf)]
        }


class _Arrays(LazyWeights):
    """The tensors of a graph by path; those that are derived are computed anew whenever they are read."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array], values: Mapping[Node, Value]) -> None:
        stored = {node.op.path: node for node in graph if isinstance(node.op, Stored)}
        self.derived = {path: values[node] for path, node in stored.items() if node in values}
        self.paths = [path for path in stored if path in self.derived or path in weights]
        self.weights = weights

    def __contains__(self, path: object) -> bool:
        return path in self.derived or path in self.weights

    def __getitem__(self, path: str) -> Array:
        value = self.derived.get(path)
        return compute_known(value, self.weights) if value is not None else self.weights[path]

    def shape(self, path: str) -> tuple[int, ...]:
        value = self.derived.get(path)
        return value.type.numeric_shape if value is not None else shape_of(self.weights, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def compute_known(value: Value, weights: Mapping[str, Array]) -> Array:
    """A known value, by the operators' own kernels; nothing that is no longer needed is kept."""
    nodes = Graph({}, {"value": value}).nodes
    last = {operand: node for node in nodes for operand in node.operands}
    arrays: dict[Value, Array] = {}
    with np.errstate(all="ignore"):
        for node in nodes:
            if isinstance(node.op, Stored):
                results: Any = np.asarray(weights[node.op.path], node.op.type.dtype.numpy)
            else:
                results = kernel_of(node, node.op)(*(arrays[operand] for operand in node.operands))
            several = results if isinstance(results, tuple) else (results,)
            arrays.update(zip(node.results, map(np.asarray, several), strict=True))
            for operand in set(node.operands):
                if last[operand] is node:
                    del arrays[operand]
    return arrays[value]


def _may_fail(node: Node) -> bool:
    """Whether a kernel may refuse its operands, as a look-up outside of its table; it is then left to run time."""
    if not node.op.index_operands:
        return False
    if not all(isinstance(operand.node.op, Constant) for operand in node.operands if operand.type.dtype.is_integer):
        return True
    operands = [
        operand.node.op.compute()
        if isinstance(operand.node.op, Constant)
        else np.broadcast_to(
            np.zeros((), operand.type.dtype.numpy), [size for size in operand.shape if isinstance(size, int)]
        )
        for operand in node.operands
    ]
    try:
        kernel_of(node, node.op)(*operands)
    except (ArithmeticError, IndexError, ValueError, TypeMismatch):
        return True
    return False


def _path(leaf: Node) -> str:
    assert isinstance(leaf.op, Stored)
    return leaf.op.path


def _unique(path: str, taken: set[str]) -> str:
    """A path like `path` that is not taken; it is taken from then on."""
    number, base = 1, path
    while path in taken:
        number += 1
        path = f"{base}_{number}"
    taken.add(path)
    return path
