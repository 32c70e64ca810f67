"""`x[...]`: NumPy's basic indexing of tensors, and of lists known at compile time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.dims import Dim, Size
from compiler.elaborate import products
from compiler.elaborate.bounded import bounded_count
from compiler.elaborate.operands import build_checked
from compiler.elaborate.primitives import operate
from compiler.elaborate.session import Session, evaluates
from compiler.elaborate.values import NONE, Argument, describe, is_size
from compiler.graph import Operator, Value
from compiler.operators.shaping import Squeeze
from compiler.operators.slicing import Slice
from grammar import syntax
from grammar.source import Span


@evaluates(syntax.Index)
def index(session: Session, expression: syntax.Index) -> Any:
    """An item or a stretch of a list, or a part of a tensor."""
    value = session.evaluate(expression.value)
    if isinstance(value, (list, tuple)):
        return _of_list(session, expression, value)
    if isinstance(value, Value):
        return _of_tensor(session, expression, value)
    raise session.fault("E314", f"{describe(value)} has no parts to index", expression.span)


def _of_list(session: Session, expression: syntax.Index, value: Sequence[Any]) -> Any:
    if len(expression.items) != 1 or isinstance(expression.items[0], syntax.Ellipsis):
        raise session.fault("E314", "a list takes one index", expression.span)
    item = expression.items[0]
    if isinstance(item, syntax.Slice):
        bounds = [_whole(session, each) for each in (item.start, item.stop, item.step)]
        if bounds[2] == 0:
            raise session.fault("E314", "a step of 0 goes nowhere", item.span)
        taken = slice(*bounds)
        bounded_count(session, len(range(*taken.indices(len(value)))), item.span)
        return list(value[taken])
    place = _whole(session, item)
    assert place is not None
    if not -len(value) <= place < len(value):
        raise session.fault("E314", f"the list has {len(value)} items, and this asks for item {place}", item.span)
    return value[place]


def _whole(session: Session, expression: syntax.Expression | None) -> int | None:
    if expression is None:
        return None
    value = session.evaluate(expression)
    if not isinstance(value, int) or isinstance(value, bool):
        message = f"an index is a whole number, and this is {describe(value)}"
        raise session.fault("E314", message, expression.span, hint=_slice_hint(expression))
    return value


def _slice_hint(item: syntax.Expression) -> str | None:
    if not isinstance(item, syntax.Range):
        return None
    return f"a slice is written with `:`, `{item.start.span.text}:{item.stop.span.text}`"


def _of_tensor(session: Session, expression: syntax.Index, value: Value) -> Any:
    items = list(expression.items)
    indices = {
        place: Argument(None, session.evaluate(item), item.span)
        for place, item in enumerate(items)
        if not isinstance(item, (syntax.Slice, syntax.Ellipsis))
    }
    if len(indices) == len(items):
        if products.is_joined(value, [each.value for each in indices.values()]):
            return products.joined(session, expression, value, list(indices.values()))
        single = indices[0].value
        if len(items) == 1 and isinstance(single, Value) and single.type.dtype.is_integer:
            return _take(session, expression, value, 0, single, items[0].span)
    spread = [place for place, item in enumerate(items) if isinstance(item, syntax.Ellipsis)]
    if len(spread) > 1:
        raise session.fault("E314", "one `...` is enough", items[spread[1]].span)
    count = len(items) - len(spread)
    if count > value.type.rank:
        raise session.fault(
            "E314", f"{value.type} has {value.type.rank} axes, and {count} are indexed", expression.span
        )
    places = spread[0] if spread else len(items)
    dropped: list[int] = []
    slices: list[tuple[int, Size | None, Size | None, int]] = []
    gathers: list[tuple[int, Value, Span]] = []
    for place, item in enumerate(items):
        if isinstance(item, syntax.Ellipsis):
            continue
        axis = place if place < places else value.type.rank - len(items) + place
        if isinstance(item, syntax.Slice):
            bounds = _slice(session, item)
            if bounds != (None, None, 1):
                slices.append((axis, *bounds))
            continue
        at = indices[place].value
        if isinstance(at, Value) and at.type.dtype.is_integer:
            gathers.append((axis, at, item.span))
        elif is_size(at):
            _check_bound(session, value, axis, at, item.span)
            slices.append((axis, at, None if at == -1 else at + 1, 1))
            dropped.append(axis)
        else:
            raise _no_index(session, expression, item, at, axis)
    if len(gathers) > 1:
        raise session.fault("E314", "one index may be a tensor", gathers[1][2], hint="use `take` for each axis")
    operand = [(value, Argument(None, value, expression.value.span))]
    if slices:
        axes = tuple(axis for axis, *_ in slices)
        starts = tuple(start for _, start, _, _ in slices)
        stops = tuple(stop for _, _, stop, _ in slices)
        steps = tuple(step for *_, step in slices)
        whole = value
        value = build_checked(
            session, lambda: Slice(axes, starts, stops, steps)(whole), expression.span, operand, what="the index"
        )
    for axis, at, span in gathers:
        value = _take(session, expression, value, axis, at, span)
        if at.type.rank != 1 and dropped:
            raise session.fault("E314", "a tensor index of one axis goes with number indices", span)
    if dropped:
        kept = value
        value = build_checked(
            session, lambda: Squeeze(tuple(dropped))(kept), expression.span, operand, what="the index"
        )
    return value


def _no_index(session: Session, expression: syntax.Index, item: syntax.Expression, at: Any, axis: int) -> Exception:
    """What NumPy takes as an index and a graph of known shapes cannot, with what is written instead."""
    whole, hint = expression.value.span.text, _slice_hint(item)
    if at is NONE:
        hint = f"a new axis is made by `unsqueeze({whole}, {axis})`"
    elif isinstance(at, list):
        hint = f"several items are taken by `take({whole}, {item.span.text}, axis: {axis})`"
    elif isinstance(at, Value) and at.type.dtype.is_float and isinstance(item, syntax.Name):
        hint = f"convert it: `cast({item.span.text}, i64)`; the product of a matrix is `{whole} {item.span.text}`"
    elif isinstance(at, Value) and at.type.dtype.is_float:
        hint = f"convert it: `cast({item.span.text}, i64)`"
    elif isinstance(at, Value):
        hint = f"`where({item.span.text}, {whole}, 0)` keeps the shape; how many items hold is not known beforehand"
    message = f"an index is a whole number or a tensor of them, and this is {describe(at)}"
    return session.fault("E314", message, item.span, hint=hint)


def _slice(session: Session, item: syntax.Slice) -> tuple[Size | None, Size | None, int]:
    def bound(expression: syntax.Expression | None) -> Size | None:
        if expression is None:
            return None
        value = session.evaluate(expression)
        if not is_size(value):
            raise session.fault("E314", f"the end of a slice is a size, and this is {describe(value)}", expression.span)
        found: Size = value
        return found

    step = bound(item.step)
    step = 1 if step is None else step
    if not isinstance(step, int) or step == 0:
        raise session.fault("E314", "the step of a slice is a whole number, not 0", item.span)
    return bound(item.start), bound(item.stop), step


def _check_bound(session: Session, value: Value, axis: int, at: Size, span: Span) -> None:
    size = value.shape[axis]
    if isinstance(size, int) and isinstance(at, int) and not -size <= at < size:
        raise session.fault("E314", f"axis {axis} of {value.type} has {size} items, and this asks for item {at}", span)
    if isinstance(at, Dim) and at == size:
        raise session.fault(
            "E314", f"axis {axis} of {value.type} ends before item {at}", span, hint="indices count from 0"
        )


def _take(session: Session, expression: syntax.Index, value: Value, axis: int, at: Value, span: Span) -> Any:
    operands = [Argument(None, value, expression.value.span), Argument(None, at, span)]
    return operate(session, Operator.registry["take"], {"axis": axis}, operands, expression.span, sign="[...]")
