"""Constant folding after lowering: what depends on small constants alone is computed when the model is compiled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.onnx.clean_up.scope import Scope
from compiler.onnx.lowered import LoweredNode

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.types import Array
else:
    np = LazyModule("numpy")
    onnx = LazyModule("onnx")

SMALL = 4096  # bytes of a constant that is read here, and that a folded one may take


def fold(node: LoweredNode, scope: Scope) -> list[str] | None:
    """The results of a node as constants; None where an operand is not a small constant, or a result would be large."""
    arrays: list[Array] = []
    for name in node.operands:
        array = scope.array(name) if name else None
        if array is None:
            return None
        arrays.append(array)
    if not arrays or any(True for _ in node.bodies) or _elements(node, arrays) > SMALL:
        return None
    results = _compute(node, arrays, scope.writer.opset)
    if results is None or sum(result.nbytes for result in results) > SMALL:
        return None
    return [scope.constant(result) for result in results]


def _elements(node: LoweredNode, arrays: list[Array]) -> float:
    """An upper bound of a result's elements, for the operators whose operands are numbers that say it."""
    if node.onnx_type == "Range":
        start, stop, step = (float(array) for array in arrays)
        return max(0.0, (stop - start) / step)
    if node.onnx_type == "Expand":
        return float(arrays[0].size) * math.prod(float(size) for size in arrays[1])
    return 0.0


def _compute(node: LoweredNode, arrays: list[Array], opset: int) -> list[Array] | None:
    """The results by onnx's own evaluator; None where it has no kernel or refuses the operands."""
    from onnx.reference import ReferenceEvaluator

    bare = LoweredNode(node.onnx_type, [f"x{index}" for index in range(len(arrays))], node.results, node.attributes)
    graph = onnx.helper.make_graph(
        [bare.proto()],
        "constant",
        [onnx.helper.make_empty_tensor_value_info(name) for name in bare.operands],
        [onnx.helper.make_empty_tensor_value_info(name) for name in bare.results],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            computed: Any = ReferenceEvaluator(model).run(None, dict(zip(bare.operands, arrays, strict=True)))
    except (ArithmeticError, AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    return [np.asarray(result) for result in computed]
