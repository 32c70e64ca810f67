"""A graph as text: stable, so that two dumps can be compared line by line."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.attribute_kinds import format_attribute
from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.leaves import Constant, Input, Stored


def dump(graph: Graph, *, origins: bool = False) -> str:
    """The graph, a line for each input, weight, node and end; with `origins`, where each node comes from.

    Values are numbered in the order of the nodes; the steps of recurrences stand indented below them.
    """
    return "\n".join(_lines(graph, origins, "")) + "\n"


def _lines(graph: Graph, origins: bool, indent: str) -> Iterator[str]:
    names: dict[Value, str] = {}
    yield f"{indent}graph {graph.name}"
    for label, value in graph.inputs.items():
        names[value] = label
        yield f"{indent}  input {label}: {value.type}"
    for node in graph:
        match node.op:
            case Stored(path=path):
                names[node.result] = path
                yield f"{indent}  {node.op.name} {path}: {node.result.type}"
            case Input(label=label):
                names.setdefault(node.result, label)
            case Constant() if node.result.type.rank == 0:
                names[node.result] = str(node.op.scalar()).lower()
    number = 0
    for node in graph:
        if node.results[0] in names:
            continue
        for result in node.results:
            names[result] = f"%{number}"
            number += 1
        results = ", ".join(names[result] for result in node.results)
        operands = ", ".join(names[operand] for operand in node.operands)
        types = ", ".join(str(result.type) for result in node.results)
        origin = _origin(node) if origins else ""
        yield f"{indent}  {results} = {_operator(node.op)}({operands}): {types}{origin}"
        for body in node.op.graphs:
            yield from _lines(body, origins, f"{indent}    ")
    for name, value in graph.outputs.items():
        yield f"{indent}  output {name} = {names[value]}"
    for path, value in graph.updates.items():
        yield f"{indent}  update {path} = {names[value]}"


def _operator(op: Operator) -> str:
    """An operator's name and those of its attributes that differ from their defaults."""
    if isinstance(op, Constant):
        return "constant"
    written = []
    for name, value in zip(op.fields, op.attributes, strict=True):
        if not isinstance(value, Graph) and (not hasattr(type(op), name) or value != getattr(type(op), name)):
            written.append(f"{name}={format_attribute(value)}")
    return f"{op.name}{{{', '.join(written)}}}" if written else op.name


def _origin(node: Node) -> str:
    written = " ".join(filter(None, (node.origin.path, str(node.origin.span) if node.origin.span else "")))
    return f"  # {written}" if written else ""
