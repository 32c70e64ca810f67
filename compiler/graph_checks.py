"""The invariants of a graph, checked after each pass in tests, so that a fault shows up in the pass that causes it."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.graph import Graph, Node
from compiler.operators.control import Scan
from compiler.operators.leaves import Input, Placeholder, Stored
from compiler.types import TensorType, TypeMismatch


class VerifyError(Exception):
    """A graph that is not well formed: a bug in the compiler."""


def verify(graph: Graph) -> None:
    """Raise VerifyError where a graph, or a graph nested in it, is not well formed.

    Every node's types are those that its operator infers; the inputs are `Input` nodes with distinct labels, and no
    others are reached; each path has one node; an update has the type of what it updates; nested graphs are closed.
    """
    _verify(graph, graph.name)


def _verify(graph: Graph, graph_name: str) -> None:
    _inputs(graph, graph_name)
    stored: dict[str, Node] = {}
    for node in graph:
        where = f"{graph_name}: {node.op.name}" + (f" of {node.origin.path}" if node.origin.path else "")
        for operand in node.operands:
            if operand.node.results[operand.index] is not operand:
                raise VerifyError(f"{where} has an operand that is not a result of its node")
        _types(node, where)
        if isinstance(node.op, Stored):
            other = stored.setdefault(node.op.path, node)
            if other is not node:
                raise VerifyError(f"{where}: two nodes are `{node.op.path}`: {other.op} and {node.op}")
            if node.op.path in graph.inputs:
                raise VerifyError(f"{where}: `{node.op.path}` is also an input")
            if node.op.initial is not None:
                _initial(node.op.initial, node.op.type, f"{where}: the initializer of `{node.op.path}`")
        elif isinstance(node.op, Input) and node.result not in graph.inputs.values():
            raise VerifyError(f"{where}: `{node.op.label}` is reached, but is not an input of the graph")
        for nested in node.op.graphs:
            _body(node, nested, where)
    _updates(graph, stored, graph_name)


def _inputs(graph: Graph, graph_name: str) -> None:
    for label, value in graph.inputs.items():
        if not isinstance(value.node.op, Input):
            raise VerifyError(f"{graph_name}: the input `{label}` is made by {value.node.op}")
        if value.node.op.label != label:
            raise VerifyError(f"{graph_name}: the input `{label}` is labelled `{value.node.op.label}`")
    if len(set(graph.inputs.values())) < len(graph.inputs):
        raise VerifyError(f"{graph_name}: one value is two inputs")


def _types(node: Node, where: str) -> None:
    try:
        inferred = node.op.infer(*(operand.type for operand in node.operands))
    except TypeMismatch as mismatch:
        raise VerifyError(f"{where} refuses its operands: {mismatch}") from mismatch
    expected = (inferred,) if isinstance(inferred, TensorType) else tuple(inferred)
    types = tuple(result.type for result in node.results)
    if expected != types:
        raise VerifyError(f"{where} is {_listed(types)}, but its operator infers {_listed(expected)}")
    if any(result.node is not node or result.index != index for index, result in enumerate(node.results)):
        raise VerifyError(f"{where} has results that belong to another node")


def _initial(initial: Graph, type: TensorType, where: str) -> None:
    if set(initial.inputs) - {"seed"} or len(initial.outputs) != 1 or initial.updates:
        raise VerifyError(f"{where} takes {list(initial.inputs)} and gives {list(initial.outputs)}")
    (value,) = initial.outputs.values()
    if value.type != type:
        raise VerifyError(f"{where} gives {value.type}, not {type}")
    _verify(initial, where)


def _body(node: Node, body: Graph, where: str) -> None:
    """A nested graph takes everything from its inputs."""
    if body.updates:
        raise VerifyError(f"{where}: its step updates {list(body.updates)}")
    for inner in body:
        if isinstance(inner.op, Placeholder) and not isinstance(inner.op, Input):
            raise VerifyError(f"{where}: its step is not closed: it reaches {inner.op}")
    if isinstance(node.op, Scan):
        _step(node.op, body, where)
    _verify(body, f"{where}'s step")


def _step(scan: Scan, body: Graph, where: str) -> None:
    if not 1 <= scan.slices <= len(body.inputs) - scan.states or scan.states > len(body.outputs):
        raise VerifyError(
            f"{where} has {scan.states} states and {scan.slices} sequences, "
            f"and its step {len(body.inputs)} inputs and {len(body.outputs)} outputs"
        )


def _updates(graph: Graph, stored: Mapping[str, Node], graph_name: str) -> None:
    """A buffer that nothing reads is not reached: only the others can be compared."""
    for path, value in graph.updates.items():
        if path in stored and stored[path].result.type != value.type:
            raise VerifyError(
                f"{graph_name}: `{path}` is {stored[path].result.type}, but its next value is {value.type}"
            )


def _listed(types: tuple[TensorType, ...]) -> str:
    return ", ".join(map(str, types))
