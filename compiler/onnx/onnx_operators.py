"""Facts about ONNX's operators that their schemas do not state."""

from __future__ import annotations

from functools import cache

from compiler.graph import Operator
from compiler.operators.arithmetic import Elementwise

IN_ORDER = ("Reshape", "Squeeze", "Unsqueeze")  # they keep the elements in their order: the shape says all
# Operators that onnxruntime's optimizer does not move transposes through; it moves them through others, or drops those.
KEEP_LAYOUT = frozenset({"Attention", "Conv", "ConvTranspose", "GRU", "LSTM", "MatMul", "RNN", "Scan", "Shape"})
# Elementwise operators that broadcast, and into which ours are lowered that have no ONNX operator of their own.
_PARTS = ("BitShift", "BitwiseAnd", "BitwiseXor", "Mod", "Where")


@cache
def elementwise() -> frozenset[str]:
    """The operators that work element by element."""
    operators = (operator for operator in Operator.registry.values() if issubclass(operator, Elementwise))
    return frozenset({*(operator.onnx for operator in operators if hasattr(operator, "onnx")), *_PARTS})


@cache
def broadcasting() -> frozenset[str]:
    """The elementwise operators of several operands, which broadcast."""
    kinds = {
        operator.onnx
        for operator in Operator.registry.values()
        if issubclass(operator, Elementwise) and len(operator.operand_names) > 1 and hasattr(operator, "onnx")
    }
    return frozenset({*kinds, *_PARTS})
