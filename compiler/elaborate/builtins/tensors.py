"""Functions that create, join, split, multiply and differentiate tensors."""

from __future__ import annotations

from functools import partial

from compiler.dims import Dim, Size
from compiler.elaborate import axes
from compiler.elaborate.builtins.declaring import (
    axis_of,
    binding_builtin,
    builtin,
    dtype_option,
    list_argument,
    sizes_argument,
    whole_argument,
)
from compiler.elaborate.operands import as_tensor, build_checked, tensor_argument
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, CompileTimeValue, describe, is_number, is_size
from compiler.elaborate.work import DERIVED, NODE, of_graph
from compiler.graph import Graph, Node, NotDifferentiable, Value
from compiler.operators.indexing import Iota
from compiler.operators.leaves import constant
from compiler.operators.making import cast
from compiler.operators.shaping import Concat, Expand, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Label
from grammar.source import Span

MOST_PARTS = 10_000  # of a split


def _filled(name: str, value: float | None) -> None:
    parameters = ("shape",) if value is not None else ("shape", "value")

    @builtin(name, *parameters, optional=("dtype",))
    def _fill(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
        dtype = dtype_option(session, bound)
        fill = value if value is not None else bound["value"].value
        scalar = as_tensor(session, fill if dtype is not DType.BOOL or value is None else bool(fill), span, dtype)
        sizes = sizes_argument(session, bound["shape"], name)
        if not sizes:
            return scalar
        return build_checked(session, lambda: Expand(sizes)(scalar), span, [], what=name)


_filled("zeros", 0)
_filled("ones", 1)
_filled("full", None)


@builtin("iota", "size", optional=("dtype",))
def _iota(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    count = bound["size"].value
    if not is_size(count):
        raise session.fault(codes.E404, f"iota takes a size, got {describe(count)}", bound["size"].span)
    counted = session.make(lambda: Iota(count)(), span)
    if "dtype" not in bound:
        return counted
    dtype = dtype_option(session, bound)
    return session.make(lambda: cast(counted, dtype), span)


@builtin("cast", "x", "dtype")
def _cast(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    dtype = bound["dtype"].value
    if not isinstance(dtype, DType):
        raise session.fault(codes.E404, f"`dtype` of cast must be a dtype, got {describe(dtype)}", bound["dtype"].span)
    value = bound["x"].value
    if isinstance(value, bool):
        tensor = as_tensor(session, value, span, DType.BOOL)
    elif is_number(value) and (dtype is DType.BOOL or (isinstance(value, float) and dtype.is_integer)):
        tensor = as_tensor(session, value, span, DType.F64 if isinstance(value, float) else DType.I64)
    elif isinstance(value, Dim) or is_number(value):
        return as_tensor(session, value, span, dtype)
    else:
        tensor = tensor_argument(session, bound["x"])
    return session.make(lambda: cast(tensor, dtype), span)


@builtin("widen", "x")
def _widen(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    """A tensor converted to f32 if it holds 16-bit floats, otherwise unchanged; for sums."""
    tensor = tensor_argument(session, bound["x"])
    return session.make(lambda: cast(tensor, tensor.type.dtype.wide), span)


@builtin("stack", "tensors", optional=("axis",))
def _stack(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    items = list_argument(session, bound["tensors"], "stack")
    if not items:
        raise session.fault(codes.E415, "stack takes a list of at least one tensor", span)
    session.charge(len(items) * NODE, span)
    dtype = next((item.type.dtype for item in items if isinstance(item, Value)), session.float_type)
    tensors = [as_tensor(session, item, bound["tensors"].span, dtype) for item in items]
    axis = whole_argument(session, bound["axis"], "stack") if "axis" in bound else 0
    index = axis_of(session, tensors[0], axis, span, among=tensors[0].type.rank + 1)
    operands = [(tensor, bound["tensors"]) for tensor in tensors]
    return build_checked(
        session,
        lambda: Concat(index)(*(Unsqueeze((index,))(tensor) for tensor in tensors)),
        span,
        operands,
        what="stack",
    )


@builtin("split", "x", "parts", optional=("axis",))
def _split(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    tensor, parts = tensor_argument(session, bound["x"]), bound["parts"].value
    axis = whole_argument(session, bound["axis"], "split") if "axis" in bound else -1
    index = axis_of(session, tensor, axis, span)
    size = tensor.shape[index]
    count = len(parts) if isinstance(parts, list) else parts
    if isinstance(count, int) and count > MOST_PARTS:
        raise session.fault(codes.E509, f"a split into more than {MOST_PARTS:,} parts", bound["parts"].span)
    if isinstance(parts, list) and all(is_size(part) for part in parts):
        sizes: list[Size] = [part for part in parts if is_size(part)]
        total: Size = 0
        for part in sizes:
            total = total + part
        if total != size:
            raise session.fault(
                codes.E301,
                f"split: the parts add up to {total}, but axis {axis} of {tensor.type} has {size}",
                bound["parts"].span,
            )
    elif isinstance(parts, int) and not isinstance(parts, bool) and parts > 0:
        if size % parts != 0:
            raise session.fault(
                codes.E301,
                f"split: axis {axis} of {tensor.type} does not divide into {parts} equal parts",
                bound["parts"].span,
            )
        sizes = [size // parts] * parts
    else:
        raise session.fault(
            codes.E404,
            f"split takes a number of parts or a list of sizes, got {describe(parts)}",
            bound["parts"].span,
        )
    slices: list[CompileTimeValue] = []
    start: Size = 0
    for part in sizes:
        cut = Slice((index,), (start,), (start + part,))
        slices.append(session.make(partial(cut, tensor), span))
        start = start + part
    return slices


@binding_builtin("einsum")
def _einsum(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
    if (
        not arguments
        or not isinstance(arguments[0].value, str)
        or any(argument.name is not None for argument in arguments)
    ):
        raise session.fault(
            codes.E401,
            "einsum needs a pattern, followed by its tensors",
            span,
            hint='as in `einsum("b q d, b k d -> b q k", q, k)`',
        )
    return axes.einsum(session, arguments[0], arguments[1:], span)


@builtin("spread", "x", "target", optional=("form",))
def _spread(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    """`x`, declared as the spread of `target`, so that a model trained on scaled data outputs it in raw units."""
    from compiler.comparisons import Form

    x, target = (tensor_argument(session, bound[name]) for name in ("x", "target"))
    forms = [form.value for form in Form if form != Form.LOCATION]
    form = bound["form"].value if "form" in bound else Form.SCALE
    if not isinstance(form, str) or form not in forms:
        known = ", ".join(f'"{form}"' for form in forms)
        message = f"`form` of spread must be one of {known}, got {describe(form)}"
        raise session.fault(codes.E404, message, bound["form"].span)
    session.spreads.append((x, target, Form(form)))
    return x


@builtin("gradient", "y", "x")
def _gradient(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    """The gradient of a scalar with respect to a tensor: for penalties, and for differential equations."""
    from compiler.gradient import gradients
    from compiler.gradient_stop import find_gradient_stop

    y, x = (tensor_argument(session, bound[name]) for name in ("y", "x"))
    if y.type.rank or not y.type.dtype.is_float or not x.type.dtype.is_float:
        wrong, which = (y, "y") if y.type.rank or not y.type.dtype.is_float else (x, "x")
        hint = "reduce it first, as in `gradient(sum(y), x)`" if wrong is y and y.type.rank else None
        expected = "a single float" if wrong is y else "a float tensor"
        message = f"`{which}` of gradient must be {expected}, got {wrong.type}"
        raise session.fault(codes.E404, message, bound[which].span, hint=hint)

    session.charge(of_graph(Graph({}, {"y": y})) * DERIVED, span)

    def derive() -> tuple[Value, ...]:
        (gradient,) = gradients([y], [constant(1.0, y.type.dtype)], [x])
        return (gradient,) if gradient is not None else ()

    try:
        gradient = session.make(derive, span)
    except NotDifferentiable as error:
        raise session.fault(codes.E611, f"no gradient flows through `{error}`", span, labels=_at(error.node)) from None
    if not gradient:
        node = find_gradient_stop(y, x)
        message = (
            f"no gradient flows through `{node.op.name}`" if node else "the gradient's `y` does not depend on its `x`"
        )
        raise session.fault(codes.E611, message, span, labels=_at(node))
    return gradient[0]


def _at(node: Node | None) -> tuple[Label, ...]:
    return (Label(node.origin.span, "here"),) if node is not None and node.origin.span is not None else ()
