"""16-bit floats by f32 that is rounded to them, for runtimes without kernels for such floats.

onnxruntime on a CPU would compute f16 in f32 without rounding between operators, and has no products of bf16. Here
every result of 16 bits is computed in f32, cast to 16 bits and back: the numbers are those of the graph, to the bit
where an operator's f32 kernel is exact.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import Cast
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Input, Source, label_of
from compiler.origins import origins
from compiler.types import DType, TensorType


def emulate_halves(graph: Graph) -> Graph:
    """`graph`, whose inputs, outputs and updates have no 16-bit floats, with f32 that is rounded in their place."""
    if not any(value.type.dtype.is_half for node in graph for value in node.results):
        return graph
    new = _emulated(graph, {})

    def ends(values: Mapping[str, Value]) -> dict[str, Value]:
        return {name: new.get(value, value) for name, value in values.items()}

    return Graph(graph.inputs, ends(graph.outputs), ends(graph.updates), graph.name, graph.doc, graph.layers)


def _emulated(graph: Graph, new: dict[Value, Value]) -> dict[Value, Value]:
    """The new values of a graph; those of its inputs of 16 bits are in `new`."""
    with origins() as set_origin:
        for node in graph:
            if node.results[0] in new:
                continue
            operands = [new.get(operand, operand) for operand in node.operands]
            set_origin(node.origin)
            new.update(zip(node.results, _results(node, operands), strict=True))
    return new


def _results(node: Node, operands: list[Value]) -> tuple[Value, ...]:
    halves = any(value.type.dtype.is_half for value in (*node.operands, *node.results))
    if isinstance(node.op, Scan):
        return _recurrence(node.op).apply(*operands).results
    if not halves:
        changed = any(new is not before for new, before in zip(operands, node.operands, strict=True))
        return node.op.apply(*operands).results if changed else node.results
    if isinstance(node.op, Constant):
        return (Constant.of(node.op.compute().astype(DType.F32.numpy))(),)
    assert not isinstance(node.op, Source), f"{node} is not a value of a step"
    if isinstance(node.op, Cast):
        dtype = node.op.dtype
        (value,) = operands
        if not dtype.is_half:
            return (value if dtype is DType.F32 else Cast(dtype)(value),)
        return (_rounded(value, dtype),)
    results = node.op.apply(*operands).results
    if not node.op.rounds or node.op.positions is not None:  # its results are elements of its operands
        return results
    return tuple(
        _rounded(result, before.type.dtype) if before.type.dtype.is_half else result
        for result, before in zip(results, node.results, strict=True)
    )


def _rounded(value: Value, dtype: DType) -> Value:
    return Cast(DType.F32)(Cast(dtype)(value))


def _recurrence(scan: Scan) -> Scan:
    """A recurrence with such values in its steps."""
    inputs: dict[str, Value] = {}
    new: dict[Value, Value] = {}
    for name, value in scan.body.inputs.items():
        if value.type.dtype.is_half:
            new[value] = Input(label_of(value), _wide(value.type))()
        inputs[name] = new.get(value, value)
    new = _emulated(Graph({}, scan.body.outputs), new)
    outputs = {name: new.get(value, value) for name, value in scan.body.outputs.items()}
    body = Graph(inputs, outputs, {}, scan.body.name, scan.body.doc, scan.body.layers)
    return scan.replace(body=body)


def _wide(type: TensorType) -> TensorType:
    return type.with_dtype(DType.F32)
