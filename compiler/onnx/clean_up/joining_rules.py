"""Joining and cutting along an axis: Concat, Split, Slice, Gather and Pad. Keeps the bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.onnx.clean_up.scope import Replacement, Scope, rule
from compiler.onnx.lowered import LoweredNode

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


@rule("a concatenation of one", "Concat")
def alone(node: LoweredNode, scope: Scope) -> str | None:
    """There is nothing to join."""
    return node.operands[0] if len(node.operands) == 1 else None


@rule("a concatenation of concatenations", "Concat")
def nested(node: LoweredNode, scope: Scope) -> Replacement | None:
    """The inner parts, joined at once: where they are on the same axis, and are joined for nothing else."""
    axis = _axis(node, scope)
    parts: list[str] = []
    for name in node.operands:
        inner = scope.behind(name, "Concat")
        only = inner is not None and scope.uses[name] == 1 and axis is not None and _axis(inner, scope) == axis
        parts += inner.operands if only and inner is not None else [name]
    return Replacement("Concat", *parts, axis=axis) if len(parts) > len(node.operands) else None


@rule("a concatenation of all parts", "Concat")
def parts_of_one(node: LoweredNode, scope: Scope) -> str | None:
    """All results of one Split in their order are what it split."""
    split = scope.behind(node.operands[0], "Split")
    if split is None or split.results != node.operands:
        return None
    axis = _axis(node, scope)
    return split.operands[0] if axis is not None and axis == _axis(split, scope) else None


@rule("a concatenation of neighbouring slices", "Concat")
def slices_of_one(node: LoweredNode, scope: Scope) -> Replacement | str | None:
    """Slices of one value that follow each other are one slice, or the value where they are all of it."""
    axis = _axis(node, scope)
    cuts = [_cut(name, scope) for name in node.operands]
    whole = cuts[0][0] if cuts[0] is not None else None
    if axis is None or whole is None:
        return None
    end = None
    for cut in cuts:
        if cut is None or cut[:2] != (whole, axis) or (end is not None and cut[2] != end):
            return None
        end = cut[3]
    assert cuts[0] is not None and end is not None
    start, shape = cuts[0][2], scope.shape(whole)
    if shape is None:
        return None
    if start == 0 and end == shape[axis]:
        return whole
    vectors = (scope.vector([number]) for number in (start, end, axis, 1))
    return Replacement("Slice", whole, *vectors)


@rule("a slice of everything", "Slice")
def everything(node: LoweredNode, scope: Scope) -> str | None:
    """Nothing is cut off."""
    shape = scope.shape(node.operands[0])
    steps = scope.integers(node.operands[4]) if len(node.operands) > 4 else [1]
    whole = shape is not None and shape == scope.shape(node.results[0])
    return node.operands[0] if whole and steps is not None and set(steps) == {1} else None


@rule("a slice of a slice", "Slice")
def sliced_twice(node: LoweredNode, scope: Scope) -> Replacement | None:
    """Cuts of different axes are made at once; only where the first is made for nothing else."""
    first = scope.behind(node.operands[0], "Slice")
    if first is None or scope.uses[first.results[0]] != 1 or len(node.operands) != 5 or len(first.operands) != 5:
        return None
    cuts = [[scope.integers(name) for name in cut.operands[1:]] for cut in (first, node)]
    if any(numbers is None for cut in cuts for numbers in cut):
        return None
    inner, outer = ([numbers or [] for numbers in cut] for cut in cuts)
    if not set(inner[2]).isdisjoint(outer[2]) or any(axis < 0 for axis in (*inner[2], *outer[2])):
        return None
    return Replacement("Slice", first.operands[0], *(scope.vector(a + b) for a, b in zip(inner, outer, strict=True)))


@rule("an item of a slice", "Squeeze")
def item(node: LoweredNode, scope: Scope) -> Replacement | None:
    """A slice of one index whose axis is dropped is that item."""
    cut = scope.behind(node.operands[0], "Slice")
    if cut is None or scope.uses[cut.results[0]] != 1 or len(cut.operands) != 5 or len(node.operands) != 2:
        return None
    vectors = [scope.integers(name) for name in (*cut.operands[1:], node.operands[1])]
    numbers = [vector[0] if vector is not None and len(vector) == 1 else None for vector in vectors]
    shape = scope.shape(cut.operands[0])
    start, stop, axis, step, dropped = numbers
    if shape is None or start is None or stop is None or axis is None or dropped is None or step != 1:
        return None
    if axis % len(shape) != dropped % len(shape) or start < 0 or stop != start + 1:
        return None
    return Replacement("Gather", cut.operands[0], scope.constant(np.array(start, np.int64)), axis=axis % len(shape))


@rule("a padding of a padding", "Pad")
def padded_twice(node: LoweredNode, scope: Scope) -> Replacement | None:
    """Both add the same constant: their sizes are added."""
    first = scope.behind(node.operands[0], "Pad")
    if first is None or scope.uses[first.results[0]] != 1 or node.operands[2:] != first.operands[2:]:
        return None
    if any(pad.attributes.get("mode", "constant") != "constant" for pad in (node, first)):
        return None
    sizes = [scope.integers(pad.operands[1]) for pad in (node, first)]
    if sizes[0] is None or sizes[1] is None:
        return None
    total = scope.vector([a + b for a, b in zip(sizes[0], sizes[1], strict=True)])
    return Replacement("Pad", first.operands[0], total, *node.operands[2:], **node.attributes)


def _axis(node: LoweredNode, scope: Scope) -> int | None:
    """The axis of a Concat or a Split, counted from the front."""
    axis: int = node.attributes.get("axis", 0)
    shape = scope.shape(node.operands[0])
    if axis < 0:
        return axis + len(shape) if shape is not None else None
    return axis


def _cut(name: str, scope: Scope) -> tuple[str, int, int, int] | None:
    """What a slice of one axis cuts, the axis, and from where to where; None where the numbers are not known."""
    node = scope.behind(name, "Slice")
    if node is None or len(node.operands) != 5:
        return None
    vectors = [scope.integers(operand) for operand in node.operands[1:]]
    numbers = [vector[0] if vector is not None and len(vector) == 1 else None for vector in vectors]
    shape = scope.shape(node.operands[0])
    start, stop, axis, step = numbers
    if start is None or stop is None or axis is None or step != 1 or shape is None:
        return None
    size = shape[axis]
    if not isinstance(size, int) or not 0 <= start <= size or stop < 0:
        return None
    return node.operands[0], axis % len(shape), start, min(stop, size)


JOINING = (alone, nested, parts_of_one, slices_of_one, everything, sliced_twice, item, padded_twice)
