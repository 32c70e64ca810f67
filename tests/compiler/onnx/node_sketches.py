"""Small graphs of ONNX nodes, written as tables: what the clean-up is tried on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from compiler.dims import Dim
from compiler.onnx.lowered import LoweredNode
from compiler.types import DType, TensorType

OPSET = 21
F32, I64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
X, XN, N = {"x": (F32, (2, 3, 4))}, {"x": (F32, ("n", 3, 4))}, {"n": (I64, (3,))}


def step(kind: str, *operands: Any, out: str = "y", kept: bool = False, **attributes: Any) -> tuple[Any, ...]:
    return kind, operands, out, kept, attributes


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


class Sketch:
    """A few nodes, with the types of their values, as the clean-up asks for them."""

    opset = OPSET

    def __init__(self, inputs: dict[str, Any], steps: list[Any], untyped: tuple[str, ...]) -> None:
        self.constants: dict[str, np.ndarray] = {}
        self.inputs = [onnx.helper.make_tensor_value_info(name, *type) for name, type in inputs.items()]
        self.nodes = [
            LoweredNode(kind, [self._name(operand) for operand in operands], out.split(), attributes, kept=kept)
            for kind, operands, out, kept, attributes in steps
        ]
        inferred = onnx.shape_inference.infer_shapes(self.model(self.nodes, ["y"]), data_prop=True).graph
        known = [*inferred.input, *inferred.output, *inferred.value_info]
        self.types = {info.name: type for info in known if info.name not in untyped and (type := type_of(info))}

    def _name(self, operand: Any) -> str:
        return operand if isinstance(operand, str) else self.constant(operand)

    def known_type(self, name: str) -> TensorType | None:
        return self.types.get(name)

    def array(self, name: str) -> np.ndarray | None:
        return self.constants.get(name)

    def constant(self, array: np.ndarray) -> str:
        name = f"{array.dtype}{array.tolist()}"
        self.constants[name] = array
        return name

    def model(self, nodes: list[LoweredNode], ends: list[str]) -> onnx.ModelProto:
        copies = [onnx.helper.make_node("Identity", [end], [f"{end}.end"]) for end in ends]
        outputs = [onnx.helper.make_empty_tensor_value_info(f"{end}.end") for end in ends]
        stored = [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        written = [*(node.proto() for node in nodes), *copies]
        proto = onnx.helper.make_graph(written, "sketch", self.inputs, outputs, stored)
        return onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)


def type_of(info: onnx.ValueInfoProto) -> TensorType | None:
    tensor = info.type.tensor_type
    known = {dtype.onnx: dtype for dtype in DType}
    if tensor.elem_type not in known or not tensor.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else Dim.named(dim.dim_param) for dim in tensor.shape.dim]
    return TensorType(known[tensor.elem_type], tuple(sizes))


@dataclass
class Row:
    """Nodes whose end is `y`, and the kinds of those that are left; None where all are left alone."""

    of: str
    title: str
    inputs: dict[str, Any]
    steps: list[Any]
    left: list[str] | None = None
    untyped: tuple[str, ...] = field(default=())


F64, F16, I32 = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32
MAX = np.iinfo(np.int64).max
BOTH = {"x": (F32, ("n", 3, 4)), "z": (F32, ("n", 3, 4))}
FLAG = {"x": (onnx.TensorProto.BOOL, (3,))}


def cut(x: str, start: int, stop: int, axis: int, out: str = "y", stride: int = 1) -> tuple[Any, ...]:
    return step("Slice", x, ints(start), ints(stop), ints(axis), ints(stride), out=out)


def sum_of(x: str, *axes: int, out: str = "y", keep: int = 0, kind: str = "ReduceSum") -> tuple[Any, ...]:
    return step(kind, x, ints(*axes), out=out, keepdims=keep)
