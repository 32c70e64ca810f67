"""Scaled dot-product attention, written as equations, becomes one operator.

What is looked for is `softmax(scores) @ V`, where the scores are a product of queries and keys that was scaled, masked
by `where(allowed, scores, never)` or had a bias added, in any order and number. Masks become a bias, which equal layers
share; `keys <= queries` of all positions becomes `causal`; heads that were copied for several queries are taken once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.dims import Size
from compiler.graph import Graph, Node, Value, origin
from compiler.operators.arithmetic import Add, Div, Mul, Sub
from compiler.operators.attention import Attention
from compiler.operators.comparison import LessEqual, Where
from compiler.operators.indexing import Iota
from compiler.operators.linear import MatMul, swapped
from compiler.operators.normalization import Softmax
from compiler.operators.shaping import Expand, Reshape, Squeeze, Transpose, Unsqueeze
from compiler.operators.source import Constant, constant
from compiler.rewrite import rebuild, with_ends

_SMALL = -1e4  # a score below this stands for `never`


@dataclass
class _Found:
    """The parts of one attention, in values of the graph."""

    q: Value
    k: Value
    v: Value
    scale: float = 1.0
    causal: bool = False
    turned: bool = False  # k is as the operator takes it, and not yet transposed for the product
    terms: list[tuple[str, Value, float]] = field(default_factory=list)  # of the bias: what is added, or a mask


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
            new[node.result] = _fused(found, new)
    return with_ends(graph, new)


def _attention(node: Node, readers: dict[Value, int]) -> _Found | None:
    if not isinstance(node.op, MatMul) or node.operands[0].type.rank != 4 or node.operands[1].type.rank != 4:
        return None
    weights, v = node.operands
    op = weights.node.op
    if not isinstance(op, Softmax) or op.axis % 4 != 3 or readers[weights] > 1:
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
            case Where() if (never := _number(each.operands[2])) is not None and never * found.scale <= _SMALL:
                allowed, scores = each.operands[0], each.operands[1]
                if scores.type != each.result.type:
                    return None
                if _is_causal(allowed) and not found.causal:
                    found.causal = True
                else:
                    found.terms.append(("mask", allowed, never * found.scale))
                continue
            case Sub() if each.operands[0].type == each.result.type:
                found.terms.append(("bias", each.operands[1], -found.scale))
                scores = each.operands[0]
                continue
            case Add():
                inner = [operand for operand in each.operands if operand.type == each.result.type]
                chosen = next((operand for operand in inner if _leads_to_product(operand, readers)), None)
                if chosen is None:
                    return None
                other = each.operands[1] if each.operands[0] is chosen else each.operands[0]
                found.terms.append(("bias", other, found.scale))
                scores = chosen
                continue
        return None
    return None


def _leads_to_product(value: Value, readers: dict[Value, int]) -> bool:
    while readers[value] == 1 and value.type.rank == 4:
        if isinstance(value.node.op, MatMul):
            return True
        if not isinstance(value.node.op, (Mul, Div, Add, Where)):
            return False
        value = value.node.operands[1 if isinstance(value.node.op, Where) else 0]
    return False


def _with_product(found: _Found, product: Node) -> _Found | None:
    q, keys = product.operands
    if q.type.rank != 4 or keys.type.rank != 4:
        return None
    turn = keys.node.op
    k, v = keys, found.v
    if isinstance(turn, Transpose) and turn.permutation == (0, 1, 3, 2):
        k, found.turned = keys.node.operands[0], True
        once = _taken_once(k), _taken_once(v)
        if once[0] is not None and once[1] is not None and once[0].shape[:2] == once[1].shape[:2]:
            k, v = once[0], once[1]
    (batch, heads), groups, length = q.shape[:2], k.shape[1], keys.shape[3]
    if not isinstance(heads, int) or not isinstance(groups, int) or heads % groups:
        return None
    if keys.shape[0] != batch or v.shape[:2] != (batch, groups) or v.shape[-2] != length:
        return None
    found.q, found.k, found.v = q, k, v
    return found


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


def _is_causal(allowed: Value) -> bool:
    """Whether a mask is `keys <= queries` of the positions from 0 on."""
    if not isinstance(allowed.node.op, LessEqual):
        return False
    keys, queries = allowed.node.operands
    return _counted(keys, 0) and _counted(queries, 1)


def _counted(value: Value, place: int) -> bool:
    """Whether a value is `unsqueeze(iota(n), place)`, whatever the axes of length 1 before it."""
    shape = value.shape
    while isinstance(value.node.op, (Unsqueeze, Reshape)):
        value = value.node.operands[0]
    if not isinstance(value.node.op, Iota) or value.type.rank != 1:
        return False
    tail = (value.shape[0],) if place == 0 else (value.shape[0], 1)
    return shape[len(shape) - len(tail) :] == tail and all(size == 1 for size in shape[: len(shape) - len(tail)])


def _fused(found: _Found, new: dict[Value, Value]) -> Value:
    dtype = found.q.type.dtype
    bias: Value | None = None
    for kind, value, number in reversed(found.terms):  # those nearest to the product first
        term = new[value]
        if kind == "mask":
            term = Where()(term, constant(0, dtype), constant(number, dtype))
        elif number != 1.0:
            term = term * number
        bias = term if bias is None else bias + term
    k, v = (Squeeze((2,))(new[each]) if each.type.rank == 5 else new[each] for each in (found.k, found.v))
    k = k if found.turned else swapped(k)
    if bias is not None:  # as onnxruntime wants it: a bias for each query
        bias = _spread(bias, found.q.shape[2], k.shape[2])
    result: Value = Attention(found.scale, found.causal)(new[found.q], k, v, *([bias] if bias is not None else []))
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
