"""Which values are finite whatever the inputs are, as long as the weights are and no arithmetic overflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.graph import Node, Value
from compiler.lazy import LazyModule
from compiler.operators.arithmetic import Add, Mul, Neg, Sub
from compiler.operators.casting import Cast
from compiler.operators.comparison import Where
from compiler.operators.leaves import Constant, Stored

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")

_MOST_NODES = 200  # of an expression; a larger one is taken to be infinite


def is_finite(value: Value) -> bool:
    """Whether a value is finite by its expression: integers, weights, and their sums and products, moved or not."""
    waiting, seen = [value], {value}
    while waiting:
        if len(seen) > _MOST_NODES:
            return False
        value = waiting.pop()
        if not value.type.dtype.is_float:
            continue
        operands = _deciding(value.node)
        if operands is None:
            return False
        waiting += [operand for operand in operands if operand not in seen]
        seen.update(operands)
    return True


def _deciding(node: Node) -> tuple[Value, ...] | None:
    """The operands that a node's result is finite with; None where that cannot be said."""
    op, operands = node.op, node.operands
    match op:
        case Constant():
            return () if np.isfinite(op.compute()).all() else None
        case Stored():
            return ()
        case Where():
            return operands[1:]
        case Add() | Sub() | Mul() | Neg() | Cast():
            return operands
    return op.moved_operands(*operands) or None
