"""Expands, and new leading axes, that the broadcasting of the operator behind them makes needless. Keeps the bits."""

from __future__ import annotations

from functools import cache

from compiler.onnx.clean_up.scope import CleanUpRule, Replacement, Scope, broadcasting, broadcasts_to
from compiler.onnx.lowered import LoweredNode


@cache
def broadcast_rules() -> tuple[CleanUpRule, ...]:
    """The rules, for every operator that broadcasts."""
    return (
        CleanUpRule("an expanded operand", broadcasting(), _expanded),
        CleanUpRule("an expand of an expand", frozenset({"Expand"}), _expanded_twice),
    )


def _expanded(node: LoweredNode, scope: Scope) -> Replacement | None:
    """An operand before its Expand or Unsqueeze, where the shape of the result stays the same."""
    for index, name in enumerate(node.operands):
        inner = scope.behind(name, "Expand", "Unsqueeze")
        if inner is None:
            continue
        operands = [*node.operands[:index], inner.operands[0], *node.operands[index + 1 :]]
        if _same_elements(inner, scope) and broadcasts_to(
            [scope.shape(operand) for operand in operands], scope.shape(node.results[0])
        ):
            return Replacement(node.kind, *operands, **node.attributes)
    return None


def _expanded_twice(node: LoweredNode, scope: Scope) -> Replacement | None:
    """The second alone, from the first one's operand."""
    inner = scope.behind(node.operands[0], "Expand", "Unsqueeze")
    if inner is None or not _same_elements(inner, scope):
        return None
    return Replacement("Expand", inner.operands[0], node.operands[1])


def _same_elements(node: LoweredNode, scope: Scope) -> bool:
    """Whether broadcasting repeats the operand as the node does: an Unsqueeze must add leading axes alone."""
    if node.kind == "Expand":
        return True
    axes = scope.integers(node.operands[1])
    return axes is not None and sorted(axes) == list(range(len(axes)))
