"""A graph of f16 as onnxruntime computes it: in f32, and rounded to f16 only at its inputs and outputs.

Its CPU provider has few f16 kernels: it casts operands to f32 and results to f16, and removes a cast that is directly
followed by its inverse. An intermediate value that is too large for f16 therefore does not become infinite.
"""

from __future__ import annotations

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import Cast
from compiler.operators.leaves import Source
from compiler.rewrite import with_operands
from compiler.types import DType


def without_rounding(graph: Graph) -> Graph:
    """`graph` with f32 instead of f16 between operators, except for the operands of discontinuous operators."""
    new: dict[Value, Value] = {}
    for node in graph:
        if isinstance(node.op, Source):
            results = node.results
        else:
            rounds = node.op.discontinuous or bool(node.op.graphs)
            results = _applied(node, [_operand(before, new[before], rounds) for before in node.operands], rounds)
        new.update((before, _wide(value)) for before, value in zip(node.results, results, strict=True))

    def ends(values: dict[str, Value]) -> dict[str, Value]:
        return {name: _as(new[value], value.type.dtype) for name, value in values.items()}

    return Graph(graph.inputs, ends(dict(graph.outputs)), ends(dict(graph.updates)), graph.name)


def _applied(node: Node, operands: list[Value], rounds: bool) -> tuple[Value, ...]:
    """The results of the node on new operands, which have their original types if it `rounds`."""
    if rounds or all(new is before for new, before in zip(operands, node.operands, strict=True)):
        return with_operands(node, tuple(operands)).results
    results = node.op(*operands)
    return results if isinstance(results, tuple) else (results,)


def _operand(before: Value, value: Value, rounds: bool) -> Value:
    return _as(value, before.type.dtype) if rounds else value


def _wide(value: Value) -> Value:
    return _as(value, DType.F32) if value.type.dtype == DType.F16 else value


def _as(value: Value, dtype: DType) -> Value:
    return value if value.type.dtype == dtype else Cast(dtype)(value)
