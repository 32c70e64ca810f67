"""What the exporter needs of ONNX's own objects: their names, their types, their schemas."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from compiler.dims import Size
from compiler.lazy import LazyModule
from compiler.types import TensorType

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array
else:
    onnx = LazyModule("onnx")


def value_info(name: str, type: TensorType) -> onnx.ValueInfoProto:
    """The name and the type of an input, an output or a value between."""
    return onnx.ValueInfoProto(name=name, type=_type(type.dtype.onnx, type.shape))


@lru_cache(maxsize=256)  # neighbours have the same type
def _type(dtype: int, shape: tuple[Size, ...]) -> onnx.TypeProto:
    sizes = [size if isinstance(size, int) else str(size) for size in shape]
    return onnx.helper.make_tensor_type_proto(dtype, sizes)


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
