"""A graph in pieces that run one after the other, so that some of its outputs are known before the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Input
from compiler.rewrite import replace


def pieces_of(graph: Graph, groups: Sequence[Sequence[str]]) -> list[Graph]:
    """A piece for each group of outputs, which computes them, and what the groups before it have not computed.

    What a later piece needs is an output of the first one that has it, and an input of the later ones. Outputs of no
    group are those of the last piece.
    """
    grouped = {name for group in groups for name in group}
    rest = [name for name in graph.outputs if name not in grouped]
    outputs = [[*group] for group in groups]
    outputs[-1] += rest
    piece = _first_piece(graph, outputs)
    crossing = {
        operand: f"piece/{index}"
        for index, operand in enumerate(
            dict.fromkeys(
                operand
                for node in graph
                for operand in node.operands
                if operand.node.operands and piece[operand.node] < piece[node]
            )
        )
    }
    known = {value: Input(name, value.type)() for value, name in crossing.items()}
    pieces = []
    for index, names in enumerate(outputs):
        ends = {name: graph.outputs[name] for name in names}
        ends |= {name: value for value, name in crossing.items() if piece[value.node] == index}
        before = {value: stand_in for value, stand_in in known.items() if piece[value.node] < index}
        pieces.append(_piece(graph, ends, before, crossing))
    return pieces


def _first_piece(graph: Graph, outputs: Sequence[Sequence[str]]) -> dict[Node, int]:
    """The piece that computes each node: the first that needs it."""
    piece: dict[Node, int] = {}
    for index, names in enumerate(outputs):
        for node in Graph({}, {name: graph.outputs[name] for name in names}):
            piece.setdefault(node, index)
    return piece


def _piece(graph: Graph, ends: Mapping[str, Value], before: Mapping[Value, Value], names: Mapping[Value, str]) -> Graph:
    outputs = dict(zip(ends, replace(list(ends.values()), before), strict=True))
    read = {node.result for node in Graph({}, outputs) if isinstance(node.op, Input)}
    sized = {  # a piece may compute with a size of an input that it does not read
        name: value
        for name, value in graph.inputs.items()
        if value in read or any(not isinstance(size, int) for size in value.shape)
    }
    inputs = sized | {names[value]: stand_in for value, stand_in in before.items() if stand_in in read}
    return Graph(inputs, outputs, {}, graph.name, graph.doc, graph.layers)
