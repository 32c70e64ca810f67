"""Expands, and new leading axes, that the broadcasting of the operator behind them makes needless. Keeps the bits."""

from __future__ import annotations

from functools import cache
from itertools import dropwhile

from compiler.dims import Size
from compiler.onnx.clean_up.scope import CleanUpRule, Replacement, Scope, broadcast_shape, broadcasts_to
from compiler.onnx.lowered import LoweredNode
from compiler.onnx.onnx_operators import IN_ORDER, broadcasting


@cache
def broadcast_rules() -> tuple[CleanUpRule, ...]:
    """The rules, for every operator that broadcasts."""
    return (
        CleanUpRule("an expanded operand", broadcasting(), _expanded),
        CleanUpRule("an expand of an expand", frozenset({"Expand"}), _expanded_twice),
    )


def _expanded(node: LoweredNode, scope: Scope) -> Replacement | None:
    """An operand before its Expand or its axes of length 1, where the shape of the result stays the same."""
    for index, name in enumerate(node.operands):
        inner = scope.behind(name, "Expand", *IN_ORDER)
        if inner is None or not _broadcasts_alike(inner, scope):
            continue
        operands = [*node.operands[:index], inner.operands[0], *node.operands[index + 1 :]]
        result = scope.shape(node.results[0]) or broadcast_shape([scope.shape(operand) for operand in node.operands])
        if broadcasts_to([scope.shape(operand) for operand in operands], result):
            return Replacement(node.onnx_type, *operands, **node.attributes)
    return None


def _expanded_twice(node: LoweredNode, scope: Scope) -> Replacement | None:
    """The second alone, from the first one's operand."""
    inner = scope.behind(node.operands[0], "Expand", *IN_ORDER)
    if inner is None or not _broadcasts_alike(inner, scope):
        return None
    if broadcasts_to([scope.shape(inner.operands[0]), scope.shape(node.results[0])], scope.shape(node.results[0])):
        return Replacement("Expand", inner.operands[0], node.operands[1])
    return None


def _broadcasts_alike(node: LoweredNode, scope: Scope) -> bool:
    """Whether broadcasting repeats the operand as it does the result: a reshape may change leading ones alone."""
    if node.onnx_type == "Expand":
        return True
    before, after = scope.shape(node.operands[0]), scope.shape(node.results[0])
    return before is not None and after is not None and _without_leading_ones(before) == _without_leading_ones(after)


def _without_leading_ones(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    return tuple(dropwhile(lambda size: size == 1, shape))
