"""`x[...]`: NumPy's basic indexing of tensors, and of lists known at compile time."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.dims import Dim, Size
from compiler.elaborate import products
from compiler.elaborate.bounded import bounded_count
from compiler.elaborate.operands import build_checked
from compiler.elaborate.primitives import operate
from compiler.elaborate.session import Session, evaluates
from compiler.elaborate.values import NONE, Argument, CompileTimeValue, describe, is_size
from compiler.graph import Operator, Value
from compiler.operators.shaping import Squeeze
from compiler.operators.slicing import Slice
from grammar import codes, syntax
from grammar.diagnostics import NablacError
from grammar.source import Span


@evaluates(syntax.Index)
def index(session: Session, expression: syntax.Index) -> CompileTimeValue:
    """An item or a slice of a list, or a part of a tensor."""
    value = session.evaluate(expression.value)
    if isinstance(value, (list, tuple)):
        return _of_list(session, expression, value)
    if isinstance(value, Value):
        return _of_tensor(session, expression, value)
    raise session.fault(codes.E314, f"{describe(value)} cannot be indexed", expression.span)


def _of_list(session: Session, expression: syntax.Index, value: Sequence[CompileTimeValue]) -> CompileTimeValue:
    if len(expression.items) != 1 or isinstance(expression.items[0], syntax.Ellipsis):
        raise session.fault(codes.E314, "a list takes one index", expression.span)
    item = expression.items[0]
    if isinstance(item, syntax.Slice):
        bounds = [_whole(session, bound) for bound in (item.start, item.stop, item.step)]
        if bounds[2] == 0:
            raise session.fault(codes.E314, "the step of a slice cannot be 0", item.span)
        indices = slice(*bounds)
        bounded_count(session, len(range(*indices.indices(len(value)))), item.span)
        return list(value[indices])
    index = _whole(session, item)
    assert index is not None
    if not -len(value) <= index < len(value):
        raise session.fault(codes.E314, f"index {index} is out of range: the list has {len(value)} items", item.span)
    return value[index]


def _whole(session: Session, expression: syntax.Expression | None) -> int | None:
    if expression is None:
        return None
    value = session.evaluate(expression)
    if not isinstance(value, int) or isinstance(value, bool):
        message = f"an index must be a whole number, got {describe(value)}"
        raise session.fault(codes.E314, message, expression.span, hint=_slice_hint(expression))
    return value


def _slice_hint(item: syntax.Expression) -> str | None:
    if not isinstance(item, syntax.Range):
        return None
    return f"write a slice with `:`, as in `{item.start.span.text}:{item.stop.span.text}`"


def _of_tensor(session: Session, expression: syntax.Index, value: Value) -> Value:
    items = expression.items
    indices = {
        number: Argument(None, session.evaluate(item), item.span)
        for number, item in enumerate(items)
        if not isinstance(item, (syntax.Slice, syntax.Ellipsis))
    }
    if len(indices) == len(items):
        product = products.joined(session, expression, value, list(indices.values()))
        if product is not None:
            return product
        single = indices[0].value
        if len(items) == 1 and isinstance(single, Value) and single.type.dtype.is_integer:
            return _take(session, expression, value, 0, single, items[0].span)
    return _part(session, expression, value, _select(session, expression, value, indices))


class _Selection:
    """The slices, gathers and dropped axes that an index consists of."""

    def __init__(self) -> None:
        self.slices: list[tuple[int, Size | None, Size | None, int]] = []  # axis, start, stop and step
        self.gathers: list[tuple[int, Value, Span]] = []
        self.dropped: list[int] = []  # axes with a number as their index


def _select(session: Session, expression: syntax.Index, value: Value, indices: dict[int, Argument]) -> _Selection:
    """The items of an index by the axes that they apply to; those after `...` are counted from the end."""
    items = expression.items
    ellipses = [number for number, item in enumerate(items) if isinstance(item, syntax.Ellipsis)]
    if len(ellipses) > 1:
        raise session.fault(codes.E314, "an index has at most one `...`", items[ellipses[1]].span)
    count = len(items) - len(ellipses)
    if count > value.type.rank:
        raise session.fault(
            codes.E314, f"{value.type} has {value.type.rank} axes, but {count} are indexed", expression.span
        )
    leading = ellipses[0] if ellipses else len(items)
    selection = _Selection()
    for number, item in enumerate(items):
        if isinstance(item, syntax.Ellipsis):
            continue
        axis = number if number < leading else value.type.rank - len(items) + number
        if isinstance(item, syntax.Slice):
            bounds = _slice(session, item)
            if bounds != (None, None, 1):
                selection.slices.append((axis, *bounds))
            continue
        index = indices[number].value
        if isinstance(index, Value) and index.type.dtype.is_integer:
            selection.gathers.append((axis, index, item.span))
        elif is_size(index):
            _check_bound(session, value, axis, index, item.span)
            selection.slices.append((axis, index, None if index == -1 else index + 1, 1))
            selection.dropped.append(axis)
        else:
            raise _no_index(session, expression, item, index, axis)
    if len(selection.gathers) > 1:
        second = selection.gathers[1][2]
        raise session.fault(codes.E314, "only one index may be a tensor", second, hint="use `take` for each axis")
    return selection


def _part(session: Session, expression: syntax.Index, value: Value, selection: _Selection) -> Value:
    """The part of a tensor that is selected: slices first, then gathers, then axes are dropped."""
    span = expression.span
    operand = [(value, Argument(None, value, expression.value.span))]
    part = value
    if selection.slices:
        axes, starts, stops, steps = zip(*selection.slices, strict=True)
        part = build_checked(session, lambda: Slice(axes, starts, stops, steps)(value), span, operand, what="index")
    for axis, index, at in selection.gathers:
        part = _take(session, expression, part, axis, index, at)
        if index.type.rank != 1 and selection.dropped:
            raise session.fault(codes.E314, "next to integer indices, a tensor index must have one axis", at)
    if selection.dropped:
        dropped, whole = tuple(selection.dropped), part
        part = build_checked(session, lambda: Squeeze(dropped)(whole), span, operand, what="index")
    return part


def _no_index(
    session: Session, expression: syntax.Index, item: syntax.Expression, at: CompileTimeValue, axis: int
) -> NablacError:
    """The error for an index that is not a number or integer tensor, with a hint what to write instead."""
    whole, hint = expression.value.span.text, _slice_hint(item)
    if at is NONE:
        hint = f"add an axis with `unsqueeze({whole}, {axis})`"
    elif isinstance(at, list):
        hint = f"select several items with `take({whole}, {item.span.text}, axis: {axis})`"
    elif isinstance(at, Value) and at.type.dtype.is_float and isinstance(item, syntax.Name):
        hint = f"convert it: `cast({item.span.text}, i64)`; a matrix product is `{whole} {item.span.text}`"
    elif isinstance(at, Value) and at.type.dtype.is_float:
        hint = f"convert it: `cast({item.span.text}, i64)`"
    elif isinstance(at, Value):
        hint = f"`where({item.span.text}, {whole}, 0)` keeps the shape; how many items are true depends on data"
    message = f"an index must be a whole number or a tensor of them, got {describe(at)}"
    return session.fault(codes.E314, message, item.span, hint=hint)


def _slice(session: Session, item: syntax.Slice) -> tuple[Size | None, Size | None, int]:
    def bound(expression: syntax.Expression | None) -> Size | None:
        if expression is None:
            return None
        value = session.evaluate(expression)
        if not is_size(value):
            raise session.fault(
                codes.E314, f"a bound of a slice must be a size, got {describe(value)}", expression.span
            )
        size: Size = value
        return size

    step = bound(item.step)
    step = 1 if step is None else step
    if not isinstance(step, int) or step == 0:
        raise session.fault(codes.E314, "the step of a slice must be a whole number other than 0", item.span)
    return bound(item.start), bound(item.stop), step


def _check_bound(session: Session, value: Value, axis: int, at: Size, span: Span) -> None:
    size = value.shape[axis]
    if isinstance(size, int) and isinstance(at, int) and not -size <= at < size:
        raise session.fault(
            codes.E314, f"index {at} is out of range: axis {axis} of {value.type} has {size} items", span
        )
    if isinstance(at, Dim) and at == size:
        raise session.fault(
            codes.E314,
            f"index {at} is out of range: it is the size of axis {axis} of {value.type}",
            span,
            hint="indices count from 0",
        )


def _take(session: Session, expression: syntax.Index, value: Value, axis: int, index: Value, span: Span) -> Value:
    operands = [Argument(None, value, expression.value.span), Argument(None, index, span)]
    result = operate(session, Operator.registry["take"], {"axis": axis}, operands, expression.span, sign="[...]")
    assert isinstance(result, Value)
    return result
