"""Which nodes of a plan run as one chain: elementwise operators and random draws of large tensors of one shape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from compiler.graph import Node, Operator, Value
from compiler.types import TensorType
from runtime.numpy_chains import LEAST, LEAST_COMPILED, PLAIN, Chain, LoopSettings

Computed = tuple[Node, Operator]


class ChainOperator(Operator):
    """A chain as an operator of a plan; it has no other use, and no name."""

    allocates = True
    chain: Chain
    settings: LoopSettings = PLAIN

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that it computes, in order."""
        return tuple(node for node, _ in self.chain.nodes)

    @property
    def first(self) -> Node:
        """The first of its nodes, which stands for it in messages."""
        return self.nodes[0]

    def overwriting(self, overwritten: Mapping[int, int]) -> ChainOperator:
        """This chain with some of its results, by index, written over operands."""
        chain = self.chain
        return ChainOperator(Chain(chain.nodes, chain.inputs, chain.outputs, overwritten), self.settings)

    def infer(self, *operands: TensorType, **none: Any) -> tuple[TensorType, ...]:
        """The types of the chain's results."""
        return tuple(output.type for output in self.chain.outputs)

    def compute(self, *operands: Any, **none: Any) -> Any:
        """Run the chain."""
        results = self.chain(*operands, settings=self.settings)
        return results if len(results) > 1 else results[0]

    def lower(self, emit: Any, *operands: Any, **none: Any) -> str:
        """Never called."""
        raise AssertionError("a chain is part of a plan, never of a graph")


def chain_elementwise(
    computed: Sequence[Computed],
    ends: Collection[Value],
    type_of: Callable[[Value], TensorType],
    settings: LoopSettings,
) -> list[tuple[Node, Operator, tuple[Value, ...]]]:
    """The nodes with chains in their place, each with the values that it computes.

    A node joins the chain before it if it computes a tensor of the same shape; the chain runs before the first other
    node that reads of it.
    """
    users: dict[Value, int] = {}
    for node, _ in computed:
        for operand in set(node.operands):
            users[operand] = users.get(operand, 0) + 1
    ordered: list[tuple[Node, Operator, tuple[Value, ...]]] = []
    waiting: list[Computed] = []
    computes: set[Value] = set()

    def flush() -> None:
        if len(waiting) == 1:
            ordered.append((*waiting[0], waiting[0][0].results))
        elif waiting:
            ordered.append(_chained(waiting, computes, users, ends, settings))
        waiting.clear()
        computes.clear()

    shape: tuple[object, ...] = ()
    for node, op in computed:
        joins = _is_large_and_elementwise(node, op, type_of, settings.compiled)
        other_shape = joins and bool(waiting) and type_of(node.result).shape != shape
        if other_shape or (not joins and not computes.isdisjoint(node.operands)):
            flush()
        if joins:
            shape = type_of(node.result).shape
            waiting.append((node, op))
            computes.add(node.result)
        else:
            ordered.append((node, op, node.results))
    flush()
    return ordered


def _is_large_and_elementwise(node: Node, op: Operator, type_of: Callable[[Value], TensorType], compiled: bool) -> bool:
    if not (op.elementwise or (op.by_index and not compiled)) or not node.result.type.rank:
        return False
    if not op.universal_function and not node.result.type.dtype.is_float:
        return False  # a division of integers may fail, which is reported at its own line
    count = type_of(node.result).elements
    least = LEAST_COMPILED if compiled and op.element_code(*("x" for _ in node.operands)) is not None else LEAST
    return isinstance(count, int) and count >= least


def _chained(
    nodes: Sequence[Computed],
    computes: Collection[Value],
    users: dict[Value, int],
    ends: Collection[Value],
    settings: LoopSettings,
) -> tuple[Node, Operator, tuple[Value, ...]]:
    inner: dict[Value, int] = {}
    for node, _ in nodes:
        for operand in set(node.operands):
            inner[operand] = inner.get(operand, 0) + 1
    operands = tuple(operand for operand in inner if operand not in computes)
    outputs = tuple(
        node.result for node, _ in nodes if node.result in ends or inner.get(node.result, 0) < users.get(node.result, 0)
    )
    op = ChainOperator(Chain(nodes, operands, outputs), settings)
    chained = Node(op, operands, [output.type for output in outputs])
    chained.origin = nodes[0][0].origin
    return chained, op, outputs


def results_of(ordered: Iterable[tuple[Node, Operator, tuple[Value, ...]]]) -> dict[Value, Value]:
    """The values that chains compute, by the results of their nodes."""
    return {result: value for node, _, values in ordered for result, value in zip(node.results, values, strict=True)}
