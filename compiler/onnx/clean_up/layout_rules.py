"""Chains of Reshape, Unsqueeze, Squeeze and Transpose, of which one node is enough. Keeps the bits."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.dims import Dim, Size
from compiler.onnx.clean_up.scope import Replacement, Scope, rule
from compiler.onnx.lowered import LoweredNode
from compiler.onnx.onnx_operators import IN_ORDER


@rule("a reshape to the same shape", *IN_ORDER, "Expand")
def same_shape(node: LoweredNode, scope: Scope) -> str | None:
    """The operand has the shape already."""
    shape = scope.shape(node.operands[0])
    return node.operands[0] if shape is not None and shape == scope.shape(node.results[0]) else None


@rule("a reshape of a reshape", *IN_ORDER)
def reshaped_twice(node: LoweredNode, scope: Scope) -> Replacement | str | None:
    """One node from the first operand's shape to the last result's."""
    first = scope.behind(node.operands[0], *IN_ORDER)
    if first is None:
        return None
    before, after = scope.shape(first.operands[0]), scope.shape(node.results[0])
    return _reshape(first.operands[0], before, after, scope)


@rule("two transposes", "Transpose")
def transposed_twice(node: LoweredNode, scope: Scope) -> Replacement | None:
    """The axes of the second in the order of the first."""
    first = scope.behind(node.operands[0], "Transpose")
    if first is None:
        return None
    inner, outer = first.attributes["perm"], node.attributes["perm"]
    return Replacement("Transpose", first.operands[0], perm=tuple(inner[axis] for axis in outer))


@rule("a transpose of no axes", "Transpose")
def transposed_nowhere(node: LoweredNode, scope: Scope) -> str | None:
    """Every axis stays."""
    permutation = node.attributes["perm"]
    return node.operands[0] if list(permutation) == sorted(permutation) else None


@rule("a reshape of a transpose of axes of length 1", *IN_ORDER)
def transposed_ones(node: LoweredNode, scope: Scope) -> Replacement | str | None:
    """A transpose that keeps the order of all axes longer than 1 keeps the elements in their order."""
    first = scope.behind(node.operands[0], "Transpose")
    before = scope.shape(first.operands[0]) if first is not None else None
    if first is None or before is None or not _keeps_order(before, first.attributes["perm"]):
        return None
    return _reshape(first.operands[0], before, scope.shape(node.results[0]), scope)


@rule("a transpose of axes of length 1 of a reshape", "Transpose")
def transposed_reshape(node: LoweredNode, scope: Scope) -> Replacement | str | None:
    """The same the other way round."""
    first, shape = scope.behind(node.operands[0], *IN_ORDER), scope.shape(node.operands[0])
    if first is None or shape is None or not _keeps_order(shape, node.attributes["perm"]):
        return None
    after = tuple(shape[axis] for axis in node.attributes["perm"])
    return _reshape(first.operands[0], scope.shape(first.operands[0]), after, scope)


@rule("a reshape by computed sizes", "Reshape")
def computed_sizes(node: LoweredNode, scope: Scope) -> Replacement | None:
    """Of a shape that is joined of numbers and one size that is computed, that one follows from the others."""
    if scope.array(node.operands[1]) is not None:
        return None
    joined = scope.behind(node.operands[1], "Concat")
    parts = joined.operands if joined is not None else node.operands[1:]
    sizes: list[int] = []
    for part in parts:
        numbers = scope.integers(part)
        if numbers is None and scope.shape(part) != (1,):
            return None
        sizes += [-1] if numbers is None else numbers
    if (
        sizes.count(-1) != 1
        or any(size < 1 for size in sizes if size != -1)
        or scope.array(node.operands[1]) is not None
    ):
        return None
    return Replacement("Reshape", node.operands[0], scope.vector(sizes))


def _keeps_order(shape: Sequence[Size], permutation: Sequence[int]) -> bool:
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


def _reshape(
    x: str, before: Sequence[Size] | None, after: Sequence[Size] | None, scope: Scope
) -> Replacement | str | None:
    """The one node that turns `x` into another shape of as many elements; None where sizes would be computed for it."""
    if before is None or after is None:
        return None
    if tuple(before) == tuple(after):
        return x
    if (axes := _added_ones(before, after)) is not None:
        return Replacement("Unsqueeze", x, scope.vector(axes))
    if (axes := _added_ones(after, before)) is not None:
        return Replacement("Squeeze", x, scope.vector(axes))
    if 0 in after:
        return None  # to ONNX, 0 is the size of the operand's axis
    sizes = [
        0 if isinstance(size, Dim) and axis < len(before) and before[axis] == size else size
        for axis, size in enumerate(after)
    ]
    unknown = [axis for axis, size in enumerate(sizes) if isinstance(size, Dim)]
    if len(unknown) > 1:
        return None
    return Replacement("Reshape", x, scope.vector([-1 if isinstance(size, Dim) else size for size in sizes]))


def _added_ones(short: Sequence[Size], long: Sequence[Size]) -> list[int] | None:
    """The axes of length 1 that make a longer shape of a shorter one; None where others differ."""
    axes: list[int] = []
    at = 0
    for axis, size in enumerate(long):
        if at < len(short) and short[at] == size:
            at += 1
        elif size == 1:
            axes.append(axis)
        else:
            return None
    return axes if at == len(short) else None


LAYOUT = (
    same_shape,
    computed_sizes,
    reshaped_twice,
    transposed_twice,
    transposed_nowhere,
    transposed_ones,
    transposed_reshape,
)
