"""What the exporter needs of ONNX's own objects: their names, their types, their schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.types import TensorType

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array
else:
    onnx = LazyModule("onnx")


SOURCE, LAYER = "source", "layer"  # keys of a node's metadata: `file:line:column`, and the layer's path


def value_info(name: str, type: TensorType) -> onnx.ValueInfoProto:
    """The name and the type of an input, an output or a value between."""
    shape = [size if isinstance(size, int) else str(size) for size in type.shape]
    return onnx.helper.make_tensor_value_info(name, type.dtype.onnx, shape)


@cache
def default_attributes(onnx_type: str, opset: int) -> dict[str, Any]:
    """The attributes of an ONNX operator that have a default, with it."""
    attributes = onnx.defs.get_schema(onnx_type, opset, "").attributes
    return {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in attributes.items()
        if attribute.default_value.name
    }


@cache
def supports_bf16(onnx_type: str, opset: int) -> bool:
    """Whether an ONNX operator supports bf16 wherever it supports f32."""
    schema = onnx.defs.get_schema(onnx_type, opset, "")
    constraints = [set(constraint.allowed_type_strs) for constraint in schema.type_constraints]
    return all("tensor(bfloat16)" in allowed for allowed in constraints if "tensor(float)" in allowed)


def constant_name(array: Array) -> str:
    """A name that tells a small constant's value."""
    if array.size == 1:
        return f"constant_{array.reshape(-1)[0]}"
    if array.ndim == 1 and array.size <= 6 and array.dtype.kind == "i":
        return "constant_" + "_".join(map(str, array))
    return "constant"


def names_read(node: onnx.NodeProto) -> set[str]:
    """Every name that a node reads, in its nested graphs too."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            names.update(output.name for output in attribute.g.output)
    for inner in _nested(node):
        names |= names_read(inner)
    return names


def carry_values(body: onnx.GraphProto, states: int, values: Mapping[str, tuple[TensorType, str, str]]) -> None:
    """Make outer values that a Scan's body reads further states of it: for each its type, and names of the states."""
    rename_all = {name: before for name, (_, before, _) in values.items()}
    for node in body.node:
        rename(node, rename_all)
    inputs, outputs = list(body.input), list(body.output)
    del body.input[:], body.output[:]
    before = [value_info(name, type) for type, name, _ in values.values()]
    after = [value_info(name, type) for type, _, name in values.values()]
    body.input.extend([*inputs[:states], *before, *inputs[states:]])
    body.output.extend([*outputs[:states], *after, *outputs[states:]])
    body.node.extend(onnx.helper.make_node("Identity", [name], [following]) for _, name, following in values.values())


def rename(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """Exchange names that a node reads or writes, in its nested graphs too."""
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            if name in renamed:
                names[index] = renamed[name]
    for inner in _nested(node):
        rename(inner, renamed)


def _nested(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a node's own graphs."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from attribute.g.node
