"""Reductions of reductions, and reductions whose axes are then dropped or put back."""

from __future__ import annotations

from functools import cache

from compiler.dims import Size
from compiler.graph import Operator
from compiler.onnx.clean_up.scope import CleanUpRule, Replacement, Scope
from compiler.onnx.lowered import LoweredNode
from compiler.onnx.onnx_operators import IN_ORDER
from compiler.operators.reductions import Reduction


@cache
def reduction_rules() -> tuple[CleanUpRule, ...]:
    """The rules, for every reduction that ONNX has an operator for."""
    operators = [operator for operator in Operator.registry.values() if issubclass(operator, Reduction)]
    kinds = tuple(frozenset(operator.onnx for operator in operators))
    return (
        CleanUpRule("a reduction of a reduction", _nesting(), _reduced_twice),
        CleanUpRule("a reshape of a reduction", frozenset(IN_ORDER), lambda node, scope: _reshaped(node, scope, kinds)),
    )


@cache
def _nesting() -> frozenset[str]:
    """The reductions of which one over the axes of two does the same, as of sums."""
    operators = (operator for operator in Operator.registry.values() if issubclass(operator, Reduction))
    return frozenset(operator.onnx for operator in operators if operator.combines is not None)


def _reduced_twice(node: LoweredNode, scope: Scope) -> Replacement | None:
    """One reduction over the axes of both. Only where the first is computed for nothing else."""
    first = scope.behind(node.operands[0], node.onnx_type)
    if first is None or scope.uses[first.results[0]] != 1:
        return None
    shape, result = scope.shape(first.operands[0]), scope.shape(node.results[0])
    inner, outer = _axes(first, scope), _axes(node, scope)
    if shape is None or result is None or inner is None or outer is None:
        return None
    if first.attributes.get("keepdims", 1):
        left = list(range(len(shape)))
    else:
        left = [axis for axis in range(len(shape)) if axis not in inner]
    axes = sorted({*inner, *(left[axis] for axis in outer)})
    return _reduction(node.onnx_type, first.operands[0], shape, axes, result, scope)


def _reshaped(node: LoweredNode, scope: Scope, kinds: tuple[str, ...]) -> Replacement | None:
    """The reduction itself keeps or drops its axes, with the axes of one before it that kept its own.

    Only where they are computed for nothing else.
    """
    first = scope.behind(node.operands[0], *kinds)
    result = scope.shape(node.results[0])
    axes: set[int] = set()
    while first is not None and scope.uses[first.results[0]] == 1:
        shape, own = scope.shape(first.operands[0]), _axes(first, scope)
        if shape is None or own is None or result is None:
            return None
        axes.update(own)
        change = _reduction(first.onnx_type, first.operands[0], shape, sorted(axes), result, scope)
        if change is not None:
            return change
        before = scope.behind(first.operands[0], first.onnx_type) if first.onnx_type in _nesting() else None
        first = before if before is not None and before.attributes.get("keepdims", 1) else None
    return None


def _axes(node: LoweredNode, scope: Scope) -> list[int] | None:
    """The axes of a reduction, counted from the front; None where they are an attribute or unknown."""
    axes = scope.integers(node.operands[1]) if len(node.operands) > 1 else None
    shape = scope.shape(node.operands[0])
    return [axis % len(shape) for axis in axes] if axes and shape is not None else None


def _reduction(
    kind: str, x: str, shape: tuple[Size, ...], axes: list[int], result: tuple[Size, ...], scope: Scope
) -> Replacement | None:
    """A reduction over axes that has the shape of the result, if it keeps them or if it drops them."""
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    dropped = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    if result not in (kept, dropped) or not (result or scope.writer.target.reduces_to_scalars):
        return None
    return Replacement(kind, x, scope.vector(axes), keepdims=int(result == kept))
