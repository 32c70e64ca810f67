"""A loss that compares every example with every other, because `[batch, 1]` stands beside `[batch]`.

They broadcast to `[batch, batch]`, which `mean` folds without a word. It is refused where nothing in the train block
itself has put the axis of length 1 there, as `unsqueeze` and `keep: true` do where all pairs are meant.
"""

from __future__ import annotations

from collections.abc import Collection

from compiler.dims import Size
from compiler.elaborate.session import Session
from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Elementwise
from compiler.operators.comparison import Where
from compiler.operators.reductions import Reduction
from compiler.operators.source import Input
from grammar import codes
from grammar.diagnostics import Label, NablacError
from grammar.source import Span


def refuse_crossing(session: Session, value: Value, known: Collection[Value], span: Span) -> None:
    """Raise where a loss or metric broadcasts examples against examples; `known` is what the model itself has."""
    model = set(Graph({}, {str(index): each for index, each in enumerate(known)}))
    nodes = [node for node in Graph({}, {"value": value}) if node not in model]
    fed = {node.result for node in Graph({}, {"value": value}) if isinstance(node.op, Input)}
    leading = {each.shape[0] for each in fed if each.shape and each.shape[0] != 1}
    for node in nodes:
        if isinstance(node.op, (Elementwise, Where)) and (crossed := _crossed(node, leading, model)):
            raise _fault(session, node, *crossed, span)


def _crossed(node: Node, leading: Collection[Size], model: Collection[Node]) -> tuple[Value, Value] | None:
    """The two operands that have one axis of examples each, and their result two."""
    result = node.results[0].shape
    for size in leading:
        single = [each for each in node.operands if each.shape.count(size) == 1]
        if result.count(size) < 2 or not single:
            continue
        for first in single:
            for second in single:
                if first.type.rank < second.type.rank and not _meant(second, model):
                    if first.shape.index(size) - first.type.rank != second.shape.index(size) - second.type.rank:
                        return first, second
    return None


def _meant(value: Value, model: Collection[Node]) -> bool:
    """Whether the train block has given a value its axes itself."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if each.node in model or isinstance(each.node.op, Input):
            continue
        if each.node.op.states_axes or (isinstance(each.node.op, Reduction) and each.node.op.keep):
            return True
        waiting += [operand for operand in each.node.operands if operand.shape == each.shape]
    return False


def _fault(session: Session, node: Node, short: Value, long: Value, span: Span) -> NablacError:
    labels = [
        Label(each.node.origin.span, f"{each.type} comes from here")
        for each in (long, short)
        if each.node.origin.span is not None and each.node.origin.span != node.origin.span
    ]
    return session.fault(
        codes.E301,
        f"`{node.op.name}`: {long.type} and {short.type} broadcast to {node.results[0].type}, pairing every example "
        "with every other",
        node.origin.span or span,
        labels=tuple(labels),
        hint="give both the same shape, for example with `squeeze(y, -1)`; if all pairs are meant, use `unsqueeze`",
    )
