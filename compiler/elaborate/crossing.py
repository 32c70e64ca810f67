"""The error for a loss that compares every example with every other by combining `[batch, 1]` with `[batch]`.

They broadcast to `[batch, batch]`, of which `mean` takes the mean silently. It is allowed where the train block creates
the axis of length 1 explicitly, by `unsqueeze` or `keep: true`: then all pairs are meant.
"""

from __future__ import annotations

from collections.abc import Collection

from compiler.dims import Size
from compiler.elaborate.session import Session
from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Input
from compiler.operators.reductions import Reduction
from compiler.rewrite import nodes_up_to
from grammar import codes
from grammar.diagnostics import Label, NablacError
from grammar.source import Span


def refuse_crossing(session: Session, value: Value, known: Collection[Value], span: Span) -> None:
    """NablacError if a loss or metric broadcasts examples against examples; `known` are the model's own values."""
    model = {own.node for own in known}
    squares = [node for node in nodes_up_to([value], model) if _is_square(node)]
    if not squares:
        return
    inputs = {node.result for node in Graph({}, {"value": value}) if isinstance(node.op, Input)}
    leading = {input.shape[0] for input in inputs if input.shape and input.shape[0] != 1}
    for node in squares:
        if crossed := _crossed(node, leading, model):
            raise _fault(session, node, *crossed, span)


def _is_square(node: Node) -> bool:
    """Whether a node broadcasts, and two axes of its result have one size."""
    shape = node.results[0].shape
    return node.op.elementwise and len(set(shape)) < len(shape)


def _crossed(node: Node, leading: Collection[Size], model: Collection[Node]) -> tuple[Value, Value] | None:
    """Two operands with one axis of examples each whose result has two; None where there are none."""
    result = node.results[0].shape
    for size in leading:
        single = [operand for operand in node.operands if operand.shape.count(size) == 1]
        if result.count(size) < 2 or not single:
            continue
        for first in single:
            for second in single:
                if first.type.rank < second.type.rank and not _meant(second, model):
                    if first.shape.index(size) - first.type.rank != second.shape.index(size) - second.type.rank:
                        return first, second
    return None


def _meant(value: Value, model: Collection[Node]) -> bool:
    """Whether the train block determines the axes of a value explicitly."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        node = current.node
        if node in model or isinstance(node.op, Input):
            continue
        if node.op.states_axes or (isinstance(node.op, Reduction) and node.op.keep):
            return True
        waiting += [operand for operand in node.operands if operand.shape == current.shape]
    return False


def _fault(session: Session, node: Node, short: Value, long: Value, span: Span) -> NablacError:
    labels = [
        Label(operand.node.origin.span, f"{operand.type} comes from here")
        for operand in (long, short)
        if operand.node.origin.span is not None and operand.node.origin.span != node.origin.span
    ]
    return session.fault(
        codes.E301,
        f"`{node.op.name}`: {long.type} and {short.type} broadcast to {node.results[0].type}, pairing every example "
        "with every other",
        node.origin.span or span,
        labels=tuple(labels),
        hint="give both the same shape, for example with `squeeze(y, -1)`; if all pairs are meant, use `unsqueeze`",
    )
