"""Which opset a graph is written in: the range that its operators and a target allow, and the choice in it."""

from __future__ import annotations

from numbers import Integral

from compiler.graph import Graph, Node
from compiler.targets import LOWEST_OPSET, ORT_CPU, Target, loaded_by
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


def needed_opset(graph: Graph, target: Target = ORT_CPU) -> int:
    """The lowest opset that every operator of the graph, nested ones included, can be lowered to for a target."""
    return max((_lowest(node, target) for node in graph), default=LOWEST_OPSET)


def best_opset(graph: Graph, target: Target = ORT_CPU) -> int:
    """The lowest of a target's opsets at which every operator of the graph is lowered to as few nodes as can be."""
    opset = needed_opset(graph, target)
    for node in graph:
        native = node.op.native_opset(*(operand.type for operand in node.operands))
        if native <= target.highest_opset:
            opset = max(opset, native)
        opset = max(opset, *(best_opset(body, target) for body in node.op.graphs), 0)
    return opset


def check_opset(graph: Graph, opset: int | None, target: Target) -> None:
    """NablacError for an opset that the graph cannot be written in for a target; None stands for any."""
    if opset is not None and not isinstance(opset, Integral):
        message = f"the opset must be a whole number, got {opset!r:.80}"
        raise NablacError(Diagnostic(codes.E907, message, place="opset"))
    lowest, highest = needed_opset(graph, target), target.highest_opset
    requested = highest if opset is None else opset
    if lowest <= requested <= highest:
        return
    title = f"`--target {target.name}`"
    if requested < lowest:
        needs = f"`{max(graph, key=lambda node: _lowest(node, target)).op.name}` needs {lowest}"
        if lowest == LOWEST_OPSET:
            needs = f"{lowest} is the lowest supported"
        message = f"{graph.name} cannot be written in opset {requested}: {needs}"
    else:
        message = f"opset {opset} is above {highest}, the highest supported" + (
            f" by {title}" if target is not ORT_CPU else ""
        )
    if lowest > highest:
        hint = f"{title} has no opset above {highest}: choose another target"
    else:
        choices = f"choose one from {lowest} to {highest}" if lowest < highest else f"choose {highest}"
        hint = f"{choices}; {lowest} is supported by {', '.join(loaded_by(lowest))}"
    raise NablacError(Diagnostic(codes.E907, message, place="opset", hint=hint))


def _lowest(node: Node, target: Target) -> int:
    return max(LOWEST_OPSET, node.op.lowest_opset(target), *(needed_opset(body, target) for body in node.op.graphs))
