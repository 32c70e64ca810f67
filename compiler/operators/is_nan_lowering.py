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
    """Whether each number of `x` is NaN: neither infinity nor below it. MNN finds NaN equal to itself."""
    if emit.target.has_is_nan:
        return emit("IsNaN", x)
    return emit("Not", emit("LessOrEqual", x, np.array(np.inf, emit.type(x).dtype.numpy)))
