"""Scaled dot-product attention, written as equations, becomes one operator.

The pattern is `softmax(scores) @ V`, where the scores are a product of queries and keys that is scaled, masked by
`where(allowed, scores, never)` or `where(hidden, never, scores)`, or has a bias added, in any order and number; the
weights may be set to 0 by the same masks, `where(allowed, softmax(scores), 0)`. The operator does each of these steps
as the equations have it (see `compiler.operators.attention`): a mask stays a mask, whatever `never` is. A causal mask,
`keys <= queries` of all positions, needs no tensor in any of its forms, also if the queries are those of the last keys,
as in a decode step; heads that are copied for several queries are passed once. The axes before the last two are the
batch, the batch and heads, or the batch, groups, and heads of a group.

Keeps results to within rounding: the scale is applied to the queries if that cannot overflow, and factors are combined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.dims import Size, product
from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Add, Div, Mul, Neg, Sub
from compiler.operators.attention import ADD, LATER, MASK, SCALE, Attention
from compiler.operators.comparison import (
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Where,
)
from compiler.operators.indexing import Iota
from compiler.operators.leaves import Constant, SizeOf
from compiler.operators.linear import MatMul
from compiler.operators.making import swapped
from compiler.operators.normalization import Softmax
from compiler.operators.shaping import Expand, Reshape, Transpose, Unsqueeze
from compiler.origins import origin
from compiler.passes.finite import is_finite
from compiler.rewrite import rebuild, with_ends
from compiler.types import DType

_LEADING = (3, 4, 5)  # axes of [batch, T, d], [batch, heads, T, d], [batch, groups, heads of a group, T, d]
_SCALES = (1e-4, 1e4)  # the range in which a combined factor is exact enough in every dtype


@dataclass(frozen=True)
class _Condition:
    """A bool value, and whether it is true for what is allowed or for what is hidden."""

    value: Value
    allowed: bool


@dataclass(frozen=True)
class _Step:
    """One change of the scores: its kind in `compiler.operators.attention`, number and operand."""

    kind: str
    number: float = 0.0
    operand: Value | None = None
    negative: bool = False  # the operand is subtracted
    allowed: bool = True  # the operand is true for what is allowed, not for what is hidden


@dataclass
class _Parts:
    """The parts of one attention, in values of the graph."""

    q: Value
    k: Value
    v: Value
    has_operator_layout: bool = False  # k is not transposed for the product: the operator takes it like that
    steps: list[_Step] = field(default_factory=list)  # the last one first
    before: Size | None = None  # how many keys came before the first query, where later keys are hidden
    masks: set[_Condition] = field(default_factory=set)
    zeroed: frozenset[_Condition] = frozenset()

    def hide(self, conditions: list[_Condition], never: float) -> None:
        """Record that scores hidden by one of the conditions are replaced by `never`."""
        self.masks.update(conditions)
        for condition in reversed(conditions):
            before = _causal(condition)
            if before is not None and self.before in (None, before):
                self.before = before
                self.steps.append(_Step(LATER, never))
            else:
                self.steps.append(_Step(MASK, never, condition.value, allowed=condition.allowed))


def fuse_attention(graph: Graph) -> Graph:
    """`graph` with every attention whose weights have no other user fused into one operator."""
    if not graph.has(Softmax):
        return graph
    readers: dict[Value, int] = {}
    for value in (*(operand for node in graph for operand in node.operands), *graph.ends):
        readers[value] = readers.get(value, 0) + 1
    new: dict[Value, Value] = {}
    for node in graph:
        parts = _attention(node, readers)
        if parts is None:
            rebuild(node, new)
            continue
        with origin(node.origin.span, node.origin.path):
            new[node.result] = _build_attention(parts, node.result.shape, new)
    return with_ends(graph, new)


def _attention(node: Node, readers: dict[Value, int]) -> _Parts | None:
    if not isinstance(node.op, MatMul):
        return None
    weights, v = node.operands
    rank = weights.type.rank
    if rank not in _LEADING or v.type.rank != rank or readers[weights] > 1:
        return None
    parts = _Parts(v, v, v)
    masked = _masked(weights.node) if isinstance(weights.node.op, Where) else None
    if masked is not None:
        conditions, never, weights = masked
        parts.zeroed = frozenset(conditions)
        if never != 0 or readers[weights] > 1:
            return None
    op = weights.node.op
    if not isinstance(op, Softmax) or op.axis % rank != rank - 1:
        return None
    return _with_scores(parts, weights.node.operands[0], readers)


def _with_scores(parts: _Parts, scores: Value, readers: dict[Value, int]) -> _Parts | None:
    """`parts` with the steps from the product of queries and keys to `scores`; None if there is any other step."""
    while readers[scores] == 1:
        node = scores.node
        match node.op:
            case MatMul():
                return _with_product(parts, node) if parts.zeroed in (frozenset(), parts.masks) else None
            case Mul() | Div() if (scaled := _scaled(node)) is not None:
                factor, scores = scaled
                parts.steps.append(_Step(SCALE, factor))
            case Where() if (masked := _masked(node)) is not None:
                conditions, never, scores = masked
                parts.hide(conditions, never)
            case Sub() if node.operands[0].type == node.result.type:
                parts.steps.append(_Step(ADD, operand=node.operands[1], negative=True))
                scores = node.operands[0]
            case Add():
                inner = [operand for operand in node.operands if operand.type == node.result.type]
                chosen = next((operand for operand in inner if _leads_to_product(operand, readers)), None)
                if chosen is None:
                    return None
                other = node.operands[1] if node.operands[0] is chosen else node.operands[0]
                parts.steps.append(_Step(ADD, operand=other))
                scores = chosen
            case _:
                return None
    return None


def _scaled(node: Node) -> tuple[float, Value] | None:
    """The factor of a scaling, and the scores that it scales; None for any other product."""
    pairs = [node.operands] if isinstance(node.op, Div) else [node.operands, node.operands[::-1]]
    for scores, factor in pairs:
        number = _number(factor)
        if number and math.isfinite(number) and scores.type == node.result.type:
            number = 1 / number if isinstance(node.op, Div) else number
            return (number, scores) if math.isfinite(number) else None
    return None


def _masked(node: Node) -> tuple[list[_Condition], float, Value] | None:
    """The conditions of a masking `where`, its number, and the scores that it masks; None for any other `where`."""
    condition, yes, no = node.operands
    for allowed, never, scores in ((True, no, yes), (False, yes, no)):
        number = _number(never)
        if number is not None and not math.isnan(number) and scores.type == node.result.type:
            return list(_conditions(condition, allowed)), number, scores
    return None


def _conditions(value: Value, allowed: bool) -> Iterator[_Condition]:
    """The conditions that hide independently: those of `and` for what is allowed, of `or` for what is hidden."""
    waiting = [(value, allowed)]
    while waiting:
        value, allowed = waiting.pop()
        op, operands = value.node.op, value.node.operands
        if isinstance(op, LogicalNot):
            waiting.append((operands[0], not allowed))
        elif isinstance(op, LogicalAnd if allowed else LogicalOr):
            waiting.extend((operand, allowed) for operand in reversed(operands))
        else:
            yield _Condition(value, allowed)


def _leads_to_product(value: Value, readers: dict[Value, int]) -> bool:
    while readers[value] == 1 and value.type.rank in _LEADING:
        op = value.node.op
        if isinstance(op, MatMul):
            return True
        if isinstance(op, Where):
            masked = _masked(value.node)
            if masked is None:
                return False
            value = masked[2]
        elif isinstance(op, (Mul, Div)):
            scaled = _scaled(value.node)
            if scaled is None:
                return False
            value = scaled[1]
        elif isinstance(op, (Add, Sub)):
            value = value.node.operands[0]
        else:
            return False
    return False


def _with_product(parts: _Parts, scores: Node) -> _Parts | None:
    q, keys = scores.operands
    k, v, rank = keys, parts.v, q.type.rank
    if keys.type.rank != rank or v.type.rank != rank:
        return None
    turn = keys.node.op
    if isinstance(turn, Transpose) and turn.permutation == (*range(rank - 2), rank - 1, rank - 2):
        k, parts.has_operator_layout = keys.node.operands[0], True
        once = _without_copies(k), _without_copies(v)
        if rank == 4 and once[0] is not None and once[1] is not None and once[0].shape[:2] == once[1].shape[:2]:
            k, v = once[0], once[1]
    length = keys.shape[-1]
    if keys.shape[0] != q.shape[0] or v.shape[:-2] != k.shape[:-2] or v.shape[-2] != length:
        return None
    if rank == 5 and (q.shape[1] != keys.shape[1] or keys.shape[2] != 1):
        return None
    heads, groups = _heads(q), keys.shape[1] if rank > 3 else 1
    if not isinstance(heads, int) or not isinstance(groups, int) or heads % groups:
        return None
    parts.q, parts.k, parts.v = q, k, v
    return parts


def _heads(q: Value) -> Size:
    return product(q.shape[1:-2])


def _without_copies(x: Value) -> Value | None:
    """The x, [batch, groups, 1, length, d], that `reshape(expand(x, ...), ...)` copies for each head; or None."""
    if not isinstance(x.node.op, Reshape):
        return None
    copies = x.node.operands[0]
    if not isinstance(copies.node.op, Expand) or copies.type.rank != 5:
        return None
    apart = copies.node.operands[0]
    batch, groups, times, length, d = copies.shape
    if not isinstance(groups, int) or not isinstance(times, int) or x.shape != (batch, groups * times, length, d):
        return None
    return apart if apart.shape == (batch, groups, 1, length, d) else None


def _causal(condition: _Condition) -> Size | None:
    """The number of keys before the first query, where a condition is `keys <= queries`.

    None if it is another condition, or if the positions are not those from 0 on, or of the last keys.
    """
    mask, allowed = condition.value, condition.allowed
    if len(mask.node.operands) != 2:
        return None
    first, second = mask.node.operands
    match mask.node.op:
        case LessEqual() if allowed:
            keys, queries = first, second
        case GreaterEqual() if allowed:
            queries, keys = first, second
        case Greater() if not allowed:
            keys, queries = first, second
        case Less() if not allowed:
            queries, keys = first, second
        case _:
            return None
    begin = _range_start(queries, 1)
    if _range_start(keys, 0) != 0 or begin is None:
        return None
    return begin if begin in (0, keys.shape[-1] - queries.shape[-2]) else None


def _range_start(value: Value, axis: int) -> Size | None:
    """The `begin` of `unsqueeze(iota(n) + begin, axis)` with any axes of length 1 before it; None for others."""
    shape = value.shape
    begin: Size = 0
    while not isinstance(value.node.op, Iota):
        op = value.node.op
        if isinstance(op, Add) and isinstance(value.node.operands[1].node.op, SizeOf):
            begin = begin + value.node.operands[1].node.op.size
        elif not isinstance(op, (Unsqueeze, Reshape)):
            return None
        value = value.node.operands[0]
    if value.type.dtype not in (DType.I32, DType.I64):  # others overflow within the length of a sequence
        return None
    tail = (value.shape[0],) if axis == 0 else (value.shape[0], 1)
    fits = shape[len(shape) - len(tail) :] == tail and all(size == 1 for size in shape[: len(shape) - len(tail)])
    return begin if fits else None


def _build_attention(parts: _Parts, shape: tuple[Size, ...], new: dict[Value, Value]) -> Value:
    rank, scale = parts.q.type.rank, 1.0
    steps: list[tuple[str, float]] = []
    operands: list[Value] = []
    for step in reversed(parts.steps):  # those nearest to the product first
        if step.kind == SCALE and not steps and _SCALES[0] <= abs(scale * step.number) <= _SCALES[1]:
            scale *= step.number
            continue
        steps.append((step.kind, step.number))
        if step.operand is not None:
            operand = new[step.operand]
            if step.negative or not step.allowed:
                operand = Neg()(operand) if step.negative else LogicalNot()(operand)
            operands.append(_of_four_axes(operand, parts.q))
    q = _with_four_axes(new[parts.q], _heads(parts.q))
    k, v = (_with_four_axes(new[part], part.shape[1] if rank > 3 else 1) for part in (parts.k, parts.v))
    k = k if parts.has_operator_layout else swapped(k)
    finite = all(is_finite(step.operand) for step in parts.steps if step.kind == ADD and step.operand is not None)
    biased = any(step.kind == ADD for step in parts.steps)
    fused = Attention(scale, tuple(steps), parts.before or 0, bool(parts.zeroed), biased and finite)
    result = fused(q, k, v, *operands)
    return result if rank == 4 else Reshape(shape)(result)


def _with_four_axes(x: Value, heads: Size) -> Value:
    """A tensor as [batch, heads, length, d]."""
    shape = (x.shape[0], heads, *x.shape[-2:])
    return x if x.shape == shape else Reshape(shape)(x)


def _of_four_axes(other: Value, q: Value) -> Value:
    """A bias or a mask with four axes, in which all heads share one."""
    rank = q.type.rank
    if rank == 4 or other.type.rank <= 2:
        return other
    shape = (*(1,) * (rank - other.type.rank), *other.shape)
    middle = shape[1:-2]
    if any(size != 1 for size in middle):  # axes of groups and of their heads become one
        other, middle = Expand((shape[0], *q.shape[1:-2], *shape[-2:]))(other), q.shape[1:-2]
    return Reshape((shape[0], product(middle), *shape[-2:]))(other)


def _number(value: Value) -> float | None:
    op = value.node.op
    number = op.scalar() if isinstance(op, Constant) else None
    return float(number) if number is not None else None
