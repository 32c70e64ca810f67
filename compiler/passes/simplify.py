"""Identities: what changes nothing goes, what undoes the step before goes with it.

Rules that could change a result's bits beyond the sign of zero are not here.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Add, Div, Mul, Neg, Pow, Sqrt, Sub
from compiler.operators.casting import Cast
from compiler.operators.shaping import Expand, Flip, Reshape, Squeeze, Transpose, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.operators.source import Constant
from compiler.passes.fold_constants import SMALL
from compiler.rewrite import rewrite


def simplify(graph: Graph) -> Graph:
    """`graph` with the identities applied, each node once, producers first."""
    return rewrite(graph, identity)


def identity(node: Node) -> Sequence[Value] | None:
    """The replacement of a node that an identity makes simpler; None where none does."""
    if len(node.results) != 1:
        return None
    made = _shape_identity(node) or _number_identity(node)
    return [made] if made is not None else None


def _shape_identity(node: Node) -> Value | None:
    result = node.results[0]
    match node:
        case Node(op=Transpose(outer), operands=(Value(node=Node(op=Transpose(inner), operands=(x,))),)):
            order = tuple(inner[axis] for axis in outer)
            return x if order == tuple(range(len(order))) else Transpose(order)(x)
        case Node(op=Transpose(order), operands=(x,)) if order == tuple(range(len(order))):
            return x
        case Node(op=Reshape() | Expand() | Slice(), operands=(x,)) if x.type == result.type:
            return x
        case Node(op=Reshape(), operands=(Value(node=Node(op=Reshape() | Squeeze() | Unsqueeze(), operands=(x,))),)):
            return x if x.type == result.type else Reshape(result.shape)(x)
        case Node(op=Squeeze() | Unsqueeze(), operands=(Value(node=Node(op=Squeeze() | Unsqueeze(), operands=(x,))),)):
            return x if x.type == result.type else None
        case Node(op=Flip(axes), operands=(Value(node=Node(op=Flip(others), operands=(x,))),)) if axes == others:
            return x
        case Node(op=Cast(), operands=(x,)) if x.type == result.type:
            return x
    return None


def _number_identity(node: Node) -> Value | None:
    result = node.results[0]
    match node:
        case Node(op=Add(), operands=(x, y)) if everywhere(y, 0) and x.type == result.type:
            return x
        case Node(op=Add(), operands=(x, y)) if everywhere(x, 0) and y.type == result.type:
            return y
        case Node(op=Sub(), operands=(x, y)) if everywhere(y, 0) and x.type == result.type:
            return x
        case Node(op=Mul(), operands=(x, y)) if everywhere(y, 1) and x.type == result.type:
            return x
        case Node(op=Mul(), operands=(x, y)) if everywhere(x, 1) and y.type == result.type:
            return y
        case Node(op=Div() | Pow(), operands=(x, y)) if everywhere(y, 1) and x.type == result.type:
            return x
        case Node(op=Pow(), operands=(x, y)) if everywhere(y, 2) and x.type == result.type:
            return x * x
        case Node(op=Pow(), operands=(x, y)) if everywhere(y, 0.5) and x.type == result.type:
            root: Value = Sqrt()(x)  # as the NumPy kernel has it: of -infinity a power is infinity
            return root
        case Node(op=Neg(), operands=(Value(node=Node(op=Neg(), operands=(x,))),)):
            return x
    return None


def everywhere(value: Value, number: float) -> bool:
    """Whether a value is this number in every element."""
    op = value.node.op
    if isinstance(op, Expand):
        return everywhere(value.node.operands[0], number)
    if not isinstance(op, Constant) or len(op.data) > SMALL:
        return False
    return bool(op.data) and (op.compute() == number).all() if op.type.rank else op.scalar() == number
