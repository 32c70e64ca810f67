"""The nodes of a model for which a target's device has no kernel: a runtime moves their operands off it and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compiler.kernels.tables import main_operand
from compiler.lazy import LazyModule
from compiler.onnx.lowered import SOURCE
from compiler.targets import Target
from compiler.types import UNSIGNED, DType
from grammar.record import Record

if TYPE_CHECKING:
    import onnx
else:
    onnx = LazyModule("onnx")

_NAMES = {**{dtype.onnx: dtype.value for dtype in DType}, **{number: name for name, number in UNSIGNED.items()}}


class LeavingNodes(Record):
    """Nodes of one ONNX operator, on main operands of one element type, that leave the device.

    `source` is the line of the first of them, as `file:line:column`; None where no line of a program created it.
    """

    onnx_type: str
    dtype: str
    count: int
    source: str | None


def leaving_nodes(model: onnx.ModelProto, target: Target) -> list[LeavingNodes]:
    """The nodes of a model, nested ones included, for which the target's device has no kernel; most frequent first.

    Arithmetic on sizes is not counted: onnxruntime computes it on the processor, which knows the shapes, anyway.
    """
    if target.device is None:
        return []
    opset = model.opset_import[0].version
    counts: dict[tuple[str, str], tuple[int, str | None]] = {}
    for node, types in _typed_nodes(onnx.shape_inference.infer_shapes(model).graph, {}, set()):
        results, index = main_operand(node.op_type, opset)
        names = node.output if results else node.input
        dtype = types.get(names[index] if index < len(names) else "", "")
        if target.has_kernel(node.op_type, dtype, opset):
            continue
        count, source = counts.get((node.op_type, dtype), (0, None))
        if not count:
            source = next((entry.value for entry in node.metadata_props if entry.key == SOURCE), None)
        counts[node.op_type, dtype] = (count + 1, source)
    rows = [LeavingNodes(onnx_type, dtype, count, source) for (onnx_type, dtype), (count, source) in counts.items()]
    return sorted(rows, key=lambda row: (-row.count, row.onnx_type, row.dtype))


def computing_nodes(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The nodes of a model by name, nested ones included, but for arithmetic on sizes."""
    return {node.name: node for node, _ in _typed_nodes(model.graph, {}, set())}


def _typed_nodes(
    graph: onnx.GraphProto, outer: Mapping[str, str], sizes: set[str]
) -> Iterator[tuple[onnx.NodeProto, Mapping[str, str]]]:
    """Every node that is not arithmetic on sizes, with the element types of all values in its scope.

    `sizes` has the names of all constants and of what follows from shapes alone.
    """
    types = dict(outer)
    for info in (*graph.input, *graph.output, *graph.value_info):
        types[info.name] = _NAMES.get(info.type.tensor_type.elem_type, "")
    for tensor in graph.initializer:
        types[tensor.name] = _NAMES.get(tensor.data_type, "")
        sizes.add(tensor.name)
    for node in graph.node:
        if node.op_type == "Shape" or (node.input and all(name in sizes for name in node.input if name)):
            sizes.update(node.output)
            continue
        yield node, types
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _typed_nodes(attribute.g, types, sizes)
