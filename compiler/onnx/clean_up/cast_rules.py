"""Casts that change nothing, and chains of casts whose first one keeps every number. Keeps the bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.onnx.clean_up.scope import Replacement, Scope, broadcasts_to, rule
from compiler.onnx.lowered import LoweredNode

if TYPE_CHECKING:
    import numpy as np
    import onnx
else:
    np = LazyModule("numpy")
    onnx = LazyModule("onnx")


@rule("a copy", "Identity")
def copy(node: LoweredNode, scope: Scope) -> str:
    """Whoever reads the copy reads the original; the copies that ends need are written later."""
    return node.operands[0]


@rule("a cast to the same dtype", "Cast")
def same_dtype(node: LoweredNode, scope: Scope) -> str | None:
    """The operand has the dtype already."""
    dtype = scope.dtype(node.operands[0])
    return node.operands[0] if dtype is not None and dtype == _target(node) else None


@rule("a cast of a widening cast", "Cast")
def widened(node: LoweredNode, scope: Scope) -> Replacement | None:
    """A first cast to a type that holds every number of its operand's is left out."""
    first = scope.behind(node.operands[0], "Cast")
    if first is None:
        return None
    dtype = scope.dtype(first.operands[0])
    if dtype is None or not _holds_all(dtype, _target(first)):
        return None
    return Replacement("Cast", first.operands[0], to=node.attributes["to"])


@rule("a negation twice", "Not")
def negated_twice(node: LoweredNode, scope: Scope) -> str | None:
    """`not not x` is `x`."""
    first = scope.behind(node.operands[0], "Not")
    return first.operands[0] if first is not None else None


@rule("an integer plus 0", "Add")
def plus_zero(node: LoweredNode, scope: Scope) -> str | None:
    """As of a key that is folded with the number 0; a float may be -0, which 0 changes."""
    for name, other in (node.operands, reversed(node.operands)):
        zero = scope.array(other)
        if zero is None or zero.dtype.kind not in "iu" or zero.any():
            continue
        shape = scope.shape(name)
        if shape is not None and broadcasts_to([shape, zero.shape], shape):
            return name
    return None


def _target(node: LoweredNode) -> np.dtype[Any]:
    dtype: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    return dtype


def _holds_all(narrow: np.dtype[Any], wide: np.dtype[Any]) -> bool:
    """Whether a type holds every number of another; NumPy also calls i64 to f64 safe."""
    if narrow.itemsize == 8 and narrow.kind in "iu" and wide.kind not in "iu":
        return False
    return np.can_cast(narrow, wide, "safe")


CASTS = (copy, same_dtype, widened, negated_twice, plus_zero)
