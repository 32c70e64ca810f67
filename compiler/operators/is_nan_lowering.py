"""The test for "not a number" as ONNX nodes that a target has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.lowering import Emit

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


def lower_is_nan(emit: Emit, x: str) -> str:
    """Whether each number of `x` is NaN: neither infinity nor below it.

    MNN finds NaN equal to itself, OpenVINO finds it greater than a number, and onnx2torch has no `LessOrEqual`.
    """
    if emit.target.has_is_nan:
        return emit("IsNaN", x)
    infinity = np.array(np.inf, emit.type(x).dtype.numpy)
    return emit("Not", emit("Or", emit("Less", x, infinity), emit("Equal", x, infinity)))
