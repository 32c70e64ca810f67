"""Scaled dot-product attention, written as equations, becomes one operator.

What is looked for is `softmax(scores) @ V`, where the scores are a product of queries and keys that was scaled, masked
by `where(allowed, scores, never)` or `where(hidden, never, scores)`, or had a bias added, in any order and number.
Masks become a bias, which equal layers share; `keys <= queries` of all positions, however it is said, becomes `causal`,
also where the queries are those of the last keys, as in a decode step; heads that were copied for several queries are
taken once. Before the last two axes stand the batch, the batch and heads, or the batch, groups, and heads of a group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.dims import Size, product
from compiler.graph import Graph, Node, Value, origin
from compiler.operators.arithmetic import Add, Div, Mul, Sub
from compiler.operators.attention import Attention
from compiler.operators.comparison import Greater, GreaterEqual, Less, LessEqual, LogicalNot, Where
from compiler.operators.indexing import Iota
from compiler.operators.linear import MatMul, swapped
from compiler.operators.normalization import Softmax
from compiler.operators.shaping import Expand, Reshape, Transpose, Unsqueeze
from compiler.operators.source import Constant, SizeOf, constant
from compiler.rewrite import rebuild, with_ends

_LEADING = (3, 4, 5)  # axes of [batch, T, d], [batch, heads, T, d], [batch, groups, heads of a group, T, d]
_SMALL = -1e4  # a score below this stands for `never`


@dataclass
class _Found:
    """The parts of one attention, in values of the graph."""

    q: Value
    k: Value
    v: Value
    scale: float = 1.0
    causal: bool = False
    before: Size = 0  # how many keys came before the first query, where it is causal
    turned: bool = False  # k is as the operator takes it, and not yet transposed for the product
    # Of the bias: what is "added", or a mask of what is "allowed" or "hidden", and its factor, or its number.
    terms: list[tuple[str, Value, float]] = field(default_factory=list)


def fuse_attention(graph: Graph) -> Graph:
    """`graph` with every attention whose weights nothing else reads as one operator."""
    if not any(isinstance(node.op, Softmax) for node in graph):
        return graph
    readers: dict[Value, int] = {}
    for value in (*(operand for node in graph for operand in node.operands), *graph.ends):
        readers[value] = readers.get(value, 0) + 1
    new: dict[Value, Value] = {}
    for node in graph:
        found = _attention(node, readers)
        if found is None:
            rebuild(node, new)
            continue
        with origin(node.origin.span, node.origin.path):
            new[node.result] = _fused(found, node.result.shape, new)
    return with_ends(graph, new)


def _attention(node: Node, readers: dict[Value, int]) -> _Found | None:
    if not isinstance(node.op, MatMul):
        return None
    weights, v = node.operands
    op, rank = weights.node.op, weights.type.rank
    if rank not in _LEADING or v.type.rank != rank or readers[weights] > 1:
        return None
    if not isinstance(op, Softmax) or op.axis % rank != rank - 1:
        return None
    found = _Found(v, v, v)
    scores = weights.node.operands[0]
    while readers[scores] == 1:
        each = scores.node
        match each.op:
            case MatMul():
                return _with_product(found, each)
            case Div() if number := _number(each.operands[1]):
                found.scale /= number
                scores = each.operands[0]
                continue
            case Mul() if (number := _number(each.operands[1])) is not None:
                found.scale *= number
                scores = each.operands[0]
                continue
            case Mul() if (number := _number(each.operands[0])) is not None:
                found.scale *= number
                scores = each.operands[1]
                continue
            case Where():
                mask = _mask(each, found.scale)
                if mask is None:
                    return None
                (kind, condition, number), scores = mask
                before = None if found.causal else _causal(condition, kind == "allowed")
                if before is not None:
                    found.causal, found.before = True, before
                else:
                    found.terms.append((kind, condition, number))
                continue
            case Sub() if each.operands[0].type == each.result.type:
                found.terms.append(("added", each.operands[1], -found.scale))
                scores = each.operands[0]
                continue
            case Add():
                inner = [operand for operand in each.operands if operand.type == each.result.type]
                chosen = next((operand for operand in inner if _leads_to_product(operand, readers)), None)
                if chosen is None:
                    return None
                other = each.operands[1] if each.operands[0] is chosen else each.operands[0]
                found.terms.append(("added", other, found.scale))
                scores = chosen
                continue
        return None
    return None


def _mask(node: Node, scale: float) -> tuple[tuple[str, Value, float], Value] | None:
    """What a `where` hides of the scores, and the scores."""
    condition, yes, no = node.operands
    for kind, never, scores in (("allowed", no, yes), ("hidden", yes, no)):
        number = _number(never)
        if number is not None and number * scale <= _SMALL and scores.type == node.result.type:
            while isinstance(condition.node.op, LogicalNot):
                kind, condition = "hidden" if kind == "allowed" else "allowed", condition.node.operands[0]
            return (kind, condition, number * scale), scores
    return None


def _leads_to_product(value: Value, readers: dict[Value, int]) -> bool:
    while readers[value] == 1 and value.type.rank in _LEADING:
        if isinstance(value.node.op, MatMul):
            return True
        if isinstance(value.node.op, Where):
            mask = _mask(value.node, 1.0)
            if mask is None:
                return False
            value = mask[1]
        elif isinstance(value.node.op, (Mul, Div, Add)):
            value = value.node.operands[0]
        else:
            return False
    return False


def _with_product(found: _Found, scores: Node) -> _Found | None:
    q, keys = scores.operands
    k, v, rank = keys, found.v, q.type.rank
    if keys.type.rank != rank or v.type.rank != rank:
        return None
    turn = keys.node.op
    if isinstance(turn, Transpose) and turn.permutation == (*range(rank - 2), rank - 1, rank - 2):
        k, found.turned = keys.node.operands[0], True
        once = _taken_once(k), _taken_once(v)
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
    found.q, found.k, found.v = q, k, v
    return found


def _heads(q: Value) -> Size:
    return product(q.shape[1:-2])


def _taken_once(x: Value) -> Value | None:
    """What `reshape(expand(x, ...), ...)` copied for each head of a group: [batch, groups, 1, length, d]; or None."""
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


def _causal(mask: Value, allowed: bool) -> Size | None:
    """How many keys came before the first query, where a mask of what is allowed (or hidden) says `keys <= queries`.

    None where it says something else, or of other positions than those from 0 on, or those of the last keys.
    """
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
    begin = _counted(queries, 1)
    if _counted(keys, 0) != 0 or begin is None:
        return None
    return begin if begin in (0, keys.shape[-1] - queries.shape[-2]) else None


def _counted(value: Value, place: int) -> Size | None:
    """The `begin` of a value `unsqueeze(iota(n) + begin, place)`, whatever the axes of length 1 before it, or None."""
    shape = value.shape
    begin: Size = 0
    while not isinstance(value.node.op, Iota):
        op = value.node.op
        if isinstance(op, Add) and isinstance(value.node.operands[1].node.op, SizeOf):
            begin = begin + value.node.operands[1].node.op.size
        elif not isinstance(op, (Unsqueeze, Reshape)):
            return None
        value = value.node.operands[0]
    tail = (value.shape[0],) if place == 0 else (value.shape[0], 1)
    fits = shape[len(shape) - len(tail) :] == tail and all(size == 1 for size in shape[: len(shape) - len(tail)])
    return begin if fits else None


def _fused(found: _Found, shape: tuple[Size, ...], new: dict[Value, Value]) -> Value:
    dtype, rank = found.q.type.dtype, found.q.type.rank
    bias: Value | None = None
    for kind, value, number in reversed(found.terms):  # those nearest to the product first
        term = new[value]
        if kind == "allowed":
            term = Where()(term, constant(0, dtype), constant(number, dtype))
        elif kind == "hidden":
            term = Where()(term, constant(number, dtype), constant(0, dtype))
        elif number != 1.0:
            term = term * number
        bias = term if bias is None else bias + term
    q = _four(new[found.q], _heads(found.q))
    k, v = (_four(new[each], each.shape[1] if rank > 3 else 1) for each in (found.k, found.v))
    k = k if found.turned else swapped(k)
    if bias is not None:  # as onnxruntime wants it: a bias for each query
        bias = _spread(_bias_of(bias, found.q), q.shape[2], k.shape[2])
    result: Value = Attention(found.scale, found.causal, found.before)(q, k, v, *([bias] if bias is not None else []))
    return result if rank == 4 else Reshape(shape)(result)


def _four(x: Value, heads: Size) -> Value:
    """A tensor as [batch, heads, length, d]."""
    wanted = (x.shape[0], heads, *x.shape[-2:])
    result: Value = x if x.shape == wanted else Reshape(wanted)(x)
    return result


def _bias_of(bias: Value, q: Value) -> Value:
    """A bias of four axes, one of them for all heads."""
    rank = q.type.rank
    if rank == 4 or bias.type.rank <= 2:
        return bias
    shape = (*(1,) * (rank - bias.type.rank), *bias.shape)
    middle = shape[1:-2]
    if any(size != 1 for size in middle):  # axes of groups and of their heads become one
        bias, middle = Expand((shape[0], *q.shape[1:-2], *shape[-2:]))(bias), q.shape[1:-2]
    result: Value = Reshape((shape[0], product(middle), *shape[-2:]))(bias)
    return result


def _spread(bias: Value, queries: Size, keys: Size) -> Value:
    shape = (*(1,) * (4 - bias.type.rank), *bias.shape)
    wanted = (*shape[:2], queries, keys)
    result: Value = bias if bias.shape == wanted else Expand(wanted)(bias)
    return result


def _number(value: Value) -> float | None:
    op = value.node.op
    number = op.scalar() if isinstance(op, Constant) else None
    return float(number) if number is not None else None
