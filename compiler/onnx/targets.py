"""What the runtimes load: opsets and IR versions, and the dtypes that a kernel lacks.

A kernel whose version is open-ended matches only where it starts at the operator's own since-version, so that the
newest opset is the one that loads least: a model is stamped with the lowest opset that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule

if TYPE_CHECKING:
    import onnx
else:
    onnx = LazyModule("onnx")

LOWEST_OPSET = 17
HIGHEST_OPSET = 24  # from 25 on onnxruntime takes Attention apart, and at 28 it lacks kernels of its own
IR_VERSION = 10
LARGEST_FILE = (2 << 30) - (64 << 20)  # bytes of weights in one file: protobuf stops at 2 GiB, and nodes need room too


@dataclass(frozen=True)
class Target:
    """A runtime and the newest that it loads."""

    name: str
    opset: int
    ir_version: int


TARGETS = (
    Target("onnxruntime 1.32", 28, 14),
    Target("onnxruntime-gpu 1.31", 26, 13),
    Target("onnxruntime 1.23, the last for Intel Macs", 23, 11),
)

# What onnxruntime's CPU provider computes in f32 and not in f64 (f16 it converts on the way). Its LSTM and GRU are
# there in f64, and refuse to run. A model that holds one of these passes the checker and runs by NumPy.
CPU_LACKS_F64 = frozenset(
    {
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Attention",
        "AveragePool",
        "Conv",
        "ConvTranspose",
        "Cosh",
        "Erf",
    }
    | {"GRU", "LSTM", "RNN", "Sinh", "Tan"}
)


def loaded_by(opset: int) -> tuple[str, ...]:
    """The names of the runtimes that load a model of this opset."""
    return tuple(target.name for target in TARGETS if target.opset >= opset and target.ir_version >= IR_VERSION)


def cpu_lacks(model: onnx.ModelProto) -> tuple[str, ...]:
    """The ONNX operators of a model that onnxruntime's CPU provider cannot run in the dtype they have there."""
    double = onnx.TensorProto.DOUBLE
    lacking: set[str] = set()
    waiting, doubles = [model.graph], {tensor.name for tensor in model.graph.initializer if tensor.data_type == double}
    while waiting:
        graph = waiting.pop()
        for info in (*graph.input, *graph.output, *graph.value_info):
            if info.type.tensor_type.elem_type == double:
                doubles.add(info.name)
        for node in graph.node:
            if node.op_type in CPU_LACKS_F64 and not doubles.isdisjoint((*node.input, *node.output)):
                lacking.add(node.op_type)
            waiting.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))
    return tuple(sorted(lacking))
