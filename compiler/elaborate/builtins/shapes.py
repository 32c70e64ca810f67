"""Functions that inspect values, and that read or change shapes."""

from __future__ import annotations

from compiler.elaborate import axes
from compiler.elaborate.binding import bind_names
from compiler.elaborate.builtins.declaring import axis_of, binding_builtin, builtin, sizes_argument, whole_argument
from compiler.elaborate.operands import build_checked, tensor_argument
from compiler.elaborate.session import Session
from compiler.elaborate.values import NONE, Argument, CompileTimeValue, is_number, is_size
from compiler.operators.casting import Cast
from compiler.operators.shaping import DataMovement, Expand, Reshape
from grammar import codes
from grammar.source import Span


@builtin("given", "x")
def _has_argument(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return bound["x"].value is not NONE


@builtin("is_list", "x")
def _is_list(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return isinstance(bound["x"].value, (list, tuple))


@builtin("is_int", "x")
def _is_int(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return is_size(bound["x"].value)


@builtin("is_number", "x")
def _is_number(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return is_number(bound["x"].value)


@builtin("shape", "x")
def _shape(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return list(tensor_argument(session, bound["x"]).shape)


@builtin("size", "x", "axis")
def _size(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    tensor, axis = tensor_argument(session, bound["x"]), whole_argument(session, bound["axis"], "size")
    return tensor.shape[axis_of(session, tensor, axis, bound["axis"].span)]


@builtin("rank", "x")
def _rank(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return tensor_argument(session, bound["x"]).type.rank


@builtin("dtype", "x")
def _dtype(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    return tensor_argument(session, bound["x"]).type.dtype


@builtin("operator_of", "x")
def _operator_of(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    """The name of the operator that computed a tensor, skipping those that only move or cast elements."""
    tensor = tensor_argument(session, bound["x"])
    while isinstance(tensor.node.op, (DataMovement, Cast)) and len(tensor.node.operands) == 1:
        tensor = tensor.node.operands[0]
    return tensor.node.op.name


@builtin("reshape", "x", "shape")
def _reshape(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    tensor = tensor_argument(session, bound["x"])
    sizes = sizes_argument(session, bound["shape"], "reshape", inferred=True)
    return build_checked(session, lambda: Reshape(sizes)(tensor), span, [(tensor, bound["x"])], what="reshape")


@builtin("expand", "x", "shape")
def _expand(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    tensor = tensor_argument(session, bound["x"])
    sizes = sizes_argument(session, bound["shape"], "expand")
    return build_checked(session, lambda: Expand(sizes)(tensor), span, [(tensor, bound["x"])], what="expand")


@binding_builtin("rearrange")
def _rearrange(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """`rearrange(x, pattern, name: size ...)`: the sizes are passed by the names in the pattern."""
    plain = [argument for argument in arguments if argument.name is None or argument.name in ("x", "pattern")]
    bound = bind_names(session, "rearrange", ["x", "pattern"], plain, span, None)
    if len(bound) < 2:
        raise session.fault(
            codes.E401,
            "rearrange needs a tensor and a pattern",
            span,
            hint='as in `rearrange(x, "b t (h d) -> b h t d", h: 8)`',
        )
    sizes = {
        argument.name: argument
        for argument in arguments
        if argument.name is not None and argument.name not in ("x", "pattern")
    }
    return axes.rearrange(session, bound["x"], bound["pattern"], sizes, span)
