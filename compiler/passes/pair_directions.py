"""Two recurrent operators over one sequence, forwards and backwards, become one `bidirectional` operator.

It is one node where there were two, and what joins their results is one transpose; some runtimes read a lone backward
operator as a forward one. Keeps the bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.recurrent import Recurrent
from compiler.operators.shaping import Concat, Flip, Reshape, Squeeze, Transpose
from compiler.operators.slicing import Slice
from compiler.origins import origin
from compiler.passes.rules import Rules, pattern_of, rule, variables
from compiler.rewrite import rewrite, with_replaced
from compiler.targets import Target

y, axis, last, order, outer = variables("y axis last order outer")
concat, squeeze, slice_, transpose, reshape = (
    pattern_of(Concat),
    pattern_of(Squeeze),
    pattern_of(Slice),
    pattern_of(Transpose),
    pattern_of(Reshape),
)
_forward = squeeze(slice_(y, axes=axis, starts=(0,), stops=(1,), steps=()), axes=axis)
_backward = squeeze(slice_(y, axes=axis, starts=(1,), stops=(2,), steps=()), axes=axis)


def pair_directions(target: Target, graph: Graph) -> Graph:
    """`graph` with each such pair as one operator; a lone backward one runs forwards where the target needs it so."""
    if not graph.has(Recurrent):
        return graph
    while (pair := _first_pair(graph)) is not None:
        graph = _with_pair(graph, *pair)
    return graph if target.has_lone_reverse else rewrite(graph, _forwards)


def _forwards(node: Node) -> Sequence[Value] | None:
    """A backward operator as a forward one over the reversed sequence."""
    if not isinstance(node.op, Recurrent) or node.op.direction != "reverse":
        return None
    steps = Flip((0,))
    forward = node.op.replace(direction="forward")
    outputs, *finals = forward.apply(steps(node.operands[0]), *node.operands[1:]).results
    return [steps(outputs), *finals]


def _first_pair(graph: Graph) -> tuple[Node, Node] | None:
    """A forward and a backward operator of one kind over one sequence, neither of which needs the other."""
    import networkx as nx

    candidates: dict[object, list[Node]] = {}
    for node in graph:
        op = node.op
        if not isinstance(op, Recurrent) or op.direction == "bidirectional":
            continue
        kind = (op.replace(direction="bidirectional"), node.operands[0], len(node.operands))
        for other in candidates.setdefault(kind, []):
            assert isinstance(other.op, Recurrent)
            if other.op.direction != op.direction and not nx.has_path(graph.dag, other, node):
                return (other, node) if op.direction == "reverse" else (node, other)
        candidates[kind].append(node)
    return None


def _with_pair(graph: Graph, forward: Node, backward: Node) -> Graph:
    assert isinstance(forward.op, Recurrent)
    with origin(forward.origin.span, forward.origin.path):
        weights = (Concat(0)(*both) for both in zip(forward.operands[1:], backward.operands[1:], strict=True))
        results = forward.op.replace(direction="bidirectional").apply(forward.operands[0], *weights).results
        halves: Mapping[Value, Value] = {
            part: Slice((axis,), (index,), (index + 1,))(whole)
            for index, node in enumerate((forward, backward))
            for axis, whole, part in zip((1, *[0] * forward.op.states), results, node.results, strict=True)
        }
    return with_replaced(graph, halves)


def _join(y: Value, axis: tuple[int, ...], order: tuple[int, ...] | None = None) -> Value:
    """The directions of `y`, which lie along an axis, side by side on the last axis; the others in this `order`."""
    (directions,) = axis
    others = [index for index in range(y.type.rank) if index != directions]
    kept = others if order is None else [others[index] for index in order]
    return _side_by_side(y, (*kept[:-1], directions, kept[-1]))


def _side_by_side(y: Value, order: tuple[int, ...]) -> Value:
    """`y` with its axes in this order, the last two of them as one."""
    turned = Transpose(order)(y)
    return Reshape((*turned.shape[:-2], turned.shape[-2] * turned.shape[-1]))(turned)


JOINED: Rules = (
    rule(
        "both directions, joined",
        concat(_forward, _backward, axis=last),
        lambda y, axis: _join(y, axis),
        when=lambda y, last: _is_last(y, last),
    ),
    rule(
        "both directions, turned and joined",
        concat(transpose(_forward, permutation=order), transpose(_backward, permutation=order), axis=last),
        _join,
        when=lambda y, last, order: _is_last(y, last) and order[-1] == y.type.rank - 2,
    ),
    rule(  # as between two layers
        "joined and turned",
        transpose(reshape(transpose(y, permutation=order)).named("joined").only_use, permutation=outer),
        lambda y, order, outer: _side_by_side(y, (*(order[index] for index in outer[:-1]), *order[-2:])),
        when=lambda joined, outer: _joins_last_axes(joined) and outer[-1] == joined.type.rank - 1,
    ),
)


def _is_last(y: Value, axis: int) -> bool:
    """Whether an axis of one direction of `y` is the last."""
    return axis in (-1, y.type.rank - 2)


def _joins_last_axes(joined: Value) -> bool:
    """Whether a reshape makes one axis of the last two."""
    turned = joined.node.operands[0].shape
    return turned[:-2] == joined.shape[:-1] and len(turned) == len(joined.shape) + 1
