"""What a file for `portable` must not contain: each form is one that some client refuses, or computes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import onnx

_REFUSED = {"IsNaN", "Range", "BitShift", "BitwiseAnd", "BitwiseXor", "Attention"}
_UNSIGNED = (2, 4, 12, 13)
_BOOL = onnx.TensorProto.BOOL
_BY_OPERAND = {"Abs": (onnx.TensorProto.INT64, "Abs of integers"), "Equal": (_BOOL, "Equal of bools")}


def parts_of(part: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those nested in it."""
    yield part
    for node in part.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from parts_of(attribute.g)


def forms_of(model: onnx.ModelProto) -> set[str]:
    """The forms in a model that `portable` does not write."""
    model = onnx.shape_inference.infer_shapes(model)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    forms = {*_turned_squares(model, constants), *_read_views(model), *_gates(model, constants.keys())}
    forms |= {f"an opset of {model.opset_import[0].version}"} - {"an opset of 17"}
    for array in constants.values():
        if array.dtype.kind == "u":
            forms.add("unsigned constants")
        if array.dtype.kind == "i" and array.size and abs(array.astype(float)).max() > 2**31:
            forms.add("integers beyond 32 bits")
    dtypes: dict[str, int] = {
        name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in constants.items()
    }
    for part in parts_of(model.graph):
        scalars: set[str] = set()
        for value in (*part.input, *part.value_info, *part.output):
            dtypes[value.name] = value.type.tensor_type.elem_type
            if value.type.tensor_type.HasField("shape") and not value.type.tensor_type.shape.dim:
                scalars.add(value.name)
        sized: set[str] = set()
        known = {value.name for value in part.input} | {output for node in part.node for output in node.output}
        for node in part.node:
            forms |= set(_forms_of_node(node, dtypes, sized))
            if part is not model.graph and not set(node.input) <= known | constants.keys() | {""}:
                forms.add("a nested graph that reads what is no constant")
            if "Slice" in node.op_type and len(node.input) > 4 and (constants[node.input[4]] < 0).any():
                forms.add("a slice backwards")
            if node.op_type.startswith("Reduce") and _lie_apart(node, constants):
                forms.add("a reduction of axes apart")
            if node.op_type.startswith("Reduce") and node.output[0] in scalars:
                forms.add("a reduction to a scalar")
            follows = all(name in sized or name in constants for name in node.input)
            if node.op_type == "Shape" or (follows and not sized.isdisjoint(node.input)):
                sized.update(node.output)
    return forms


def _lie_apart(node: onnx.NodeProto, constants: Mapping[str, Any]) -> bool:
    """Whether the axes of a reduction do not lie beside each other."""
    axes = [axis for entry in node.attribute if entry.name == "axes" for axis in entry.ints]
    if len(node.input) > 1:
        axes = constants[node.input[1]].tolist()
    return bool(axes) and max(axes) - min(axes) >= len(axes)


def _turned_squares(model: onnx.ModelProto, constants: Mapping[str, Any]) -> Iterator[str]:
    """Whether a stored square matrix is a right factor, and its transpose another one."""
    turned = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Transpose"}
    read: set[tuple[str, bool]] = set()
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            swaps = any(entry.name == "transB" and entry.i for entry in node.attribute)
            name = node.input[1]
            read.add((turned.get(name, name), swaps != (name in turned)))
    for name, array in constants.items():
        if array.ndim == 2 and array.shape[0] == array.shape[1] > 1 and {(name, True), (name, False)} <= read:
            yield "a square matrix and its transpose as right factors"


def _read_views(model: onnx.ModelProto) -> Iterator[str]:
    """Whether a node reads an output that is a view."""
    outputs = {value.name for value in model.graph.output}
    read = {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type in ("Reshape", "Squeeze", "Unsqueeze") and node.output[0] in outputs & read:
            yield "an output that is a view, and is read"


def _gates(model: onnx.ModelProto, constants: Set[str]) -> Iterator[str]:
    """Whether the gate of a GELU is as OpenCV looks for it: of `x / c`, or of a multiple of `x + c * x ** 3`."""
    producers = {name: node for node in model.graph.node for name in node.output}
    behind = {kind: [node for node in producers.values() if node.op_type == kind] for kind in ("Erf", "Tanh")}
    if any(producers[node.input[0]].op_type == "Div" for node in behind["Erf"] if node.input[0] in producers):
        yield "erf of a quotient"
    for node in behind["Tanh"]:
        factors = producers[node.input[0]].input if node.input[0] in producers else ()
        sums = [producers[name] for name in factors if name in producers and producers[name].op_type == "Add"]
        if set(factors) & constants and any(constants.isdisjoint(sum.input) for sum in sums):
            yield "tanh of a multiple of a sum"


def _forms_of_node(node: onnx.NodeProto, dtypes: dict[str, int], sized: set[str]) -> Iterator[str]:
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type in _REFUSED:
        yield node.op_type
    if attributes.get("reduction", b"none") != b"none":
        yield "a scatter by addition"
    if attributes.get("direction", b"forward") == b"reverse":
        yield "a recurrence in reverse only"
    if not attributes.get("linear_before_reset", 1):
        yield "a GRU with the reset gate before the product"
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "indices of a max pool"
    if attributes.get("to", 1) in _UNSIGNED:
        yield "unsigned integers"
    if node.op_type == "Cast" and attributes["to"] == _BOOL != dtypes[node.input[0]]:
        yield "a cast to bool"
    if node.op_type == "Div" and node.input[1] in sized and dtypes[node.output[0]] != onnx.TensorProto.INT64:
        yield "a division by sizes"
    if node.op_type in _BY_OPERAND and dtypes[node.input[0]] == _BY_OPERAND[node.op_type][0]:
        yield _BY_OPERAND[node.op_type][1]
    if node.op_type == "Scan":
        states = len(node.input) - attributes["num_scan_inputs"]
        for stacked in attributes["body"].output[states:]:
            if any(size.dim_param for size in stacked.type.tensor_type.shape.dim):
                yield "a Scan that stacks items of unknown sizes"
    if min(attributes.get("axes", [attributes.get("axis", 0)])) < 0:
        yield "negative axes"
    stated = onnx.defs.get_schema(node.op_type, 17, "").attributes.items()
    if not {key for key, value in stated if value.default_value.name} <= attributes.keys():
        yield "defaults that are not stated"
