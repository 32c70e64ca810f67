"""The gradient of a max pool tap by tap, for targets that lack the indices of the largest items or compute others.

Run on export. Each window passes its gradient to the first tap that has its largest item, or NaN, and no padding: any
number that padding could have may be the largest of a window. The taps' parts are put back with zeros between them, and
added: what a scatter to the indices gives, but for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product as every

from compiler.dims import Size
from compiler.graph import Graph, Node, Value
from compiler.operators.indexing import ScatterElements
from compiler.operators.leaves import constant
from compiler.operators.making import (
    add,
    concat,
    equal,
    expand,
    isnan,
    logical_and,
    logical_or,
    number_of,
    pad,
    reshape,
    slice_,
    unsqueeze,
    where,
    zeros,
)
from compiler.operators.pooling import MaxPool, MaxPoolIndices
from compiler.operators.shaping import Reshape
from compiler.rewrite import rewrite

Tap = tuple[int, ...]


def pool_taps(graph: Graph) -> Graph:
    """`graph` without the indices of max pools where they are what a gradient is added at."""
    if not graph.has(MaxPoolIndices):
        return graph
    return rewrite(rewrite(graph, _added), _largest)


def _added(node: Node) -> Sequence[Value] | None:
    """The gradient that is added to zeros at the indices of a max pool."""
    if not isinstance(node.op, ScatterElements) or node.op.reduction != "add":
        return None
    base, indices, updates = node.operands
    finder = indices.node.operands[0].node if isinstance(indices.node.op, Reshape) else None
    if finder is None or not isinstance(finder.op, MaxPoolIndices) or number_of(base) != 0:
        return None
    (x,), pool = finder.operands, finder.op
    if base.shape != (x.type.elements,) or indices.type.rank != 1:
        return None
    largest = MaxPool(pool.kernel, pool.strides, pool.pads, pool.dilations)(x)
    return (reshape(_gradient(pool, x, largest, reshape(updates, largest.shape)), base.shape),)


def _largest(node: Node) -> Sequence[Value] | None:
    """The largest items by an operator that returns no indices; the indices themselves stay for what reads them."""
    if not isinstance(node.op, MaxPoolIndices):
        return None
    pool = node.op
    return (MaxPool(pool.kernel, pool.strides, pool.pads, pool.dilations)(*node.operands), node.results[1])


def _gradient(pool: MaxPoolIndices, x: Value, largest: Value, rest: Value) -> Value:
    rank = len(pool.kernel)
    strides, pads, dilations = pool.settings(rank)
    axes, counts = tuple(range(2, 2 + rank)), largest.shape[2:]
    reach = tuple(dilation * (size - 1) for size, dilation in zip(pool.kernel, dilations, strict=True))
    # Up to where one window more would begin: every tap lies within, whatever the sizes are.
    ends = [count * stride + last for count, stride, last in zip(counts, strides, reach, strict=True)]
    after = [end - before - size for end, before, size in zip(ends, pads[:rank], x.shape[2:], strict=True)]
    around = (0, 0, *pads[:rank]), (0, 0, *after)
    padded, inside = x, None
    if any(size != 0 for size in (*pads[:rank], *after)):
        one = constant(1, x.type.dtype)
        padded, inside = pad(x, *around), pad(expand(one, (1, 1, *x.shape[2:])), *around)
    taps = list(every(*map(range, pool.kernel)))
    parts: dict[Tap, Value] = {}
    nothing = constant(0, rest.type.dtype)
    for tap in taps[:-1]:
        starts = tuple(index * dilation for index, dilation in zip(tap, dilations, strict=True))
        stops = tuple(
            start + (count - 1) * stride + 1 for start, count, stride in zip(starts, counts, strides, strict=True)
        )
        items = slice_(padded, axes, starts, stops, strides)
        first = logical_or(equal(items, largest), isnan(items))
        room = zip(starts, pads[:rank], reach, strides, after, strict=True)
        if inside is not None and not all(_is_inside(*axis) for axis in room):
            first = logical_and(first, equal(slice_(inside, axes, starts, stops, strides), 1))
        parts[tap], rest = where(first, rest, nothing), where(first, nothing, rest)
    parts[taps[-1]] = rest
    for index in reversed(range(rank)):
        lines: dict[Tap, dict[int, Value]] = {}
        for tap, part in parts.items():
            lines.setdefault(tap[:index], {})[tap[index] * dilations[index]] = part
        padding = pads[index], pads[rank + index]
        covered = ends[index] - strides[index] + 1
        parts = {
            head: _between(
                _put_back(line, axes[index], strides[index]), axes[index], padding, covered, x.shape[axes[index]]
            )
            for head, line in lines.items()
        }
    return parts[()]


def _is_inside(start: int, before: int, reach: int, stride: int, after: Size) -> bool:
    """Whether the tap that begins here meets no padding along an axis in any window."""
    return start >= before and isinstance(after, int) and start + after < reach + stride


def _put_back(parts: Mapping[int, Value], axis: int, stride: int) -> Value:
    """The sum of parts whose items begin at these positions along an axis, and lie `stride` apart."""
    most = max(parts) // stride
    phases: list[Value] = []
    for phase in range(stride):
        moved = [
            _with_zeros(part, axis, start // stride, most - start // stride)
            for start, part in parts.items()
            if start % stride == phase
        ]
        phases.append(reduce(add, moved) if moved else zeros(phases[0].type))
    if stride == 1:
        return phases[0]
    shape = phases[0].shape
    whole = concat([unsqueeze(phase, (axis + 1,)) for phase in phases], axis + 1)
    return reshape(whole, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))


def _between(whole: Value, axis: int, padding: tuple[int, int], covered: Size, size: Size) -> Value:
    """The `size` positions between the paddings, of which windows cover some: the others are zeros."""
    before, after = padding
    missing = before + size + after - covered
    if isinstance(missing, int) and missing <= after:
        return _part(whole, axis, before, before + size)
    if isinstance(missing, int):
        missing, after = missing - after, 0
    filled = _with_zeros(_part(whole, axis, before, covered), axis, 0, missing)
    return _part(filled, axis, 0, size) if after else filled


def _part(x: Value, axis: int, start: Size, stop: Size) -> Value:
    """`x[start:stop]` along an axis."""
    return x if start == 0 and stop == x.shape[axis] else slice_(x, (axis,), (start,), (stop,))


def _with_zeros(x: Value, axis: int, before: int, after: Size) -> Value:
    """`x` with zeros before and after it along an axis."""
    if before == after == 0:
        return x
    rank = x.type.rank
    zero = (0,) * rank
    return pad(x, (*zero[:axis], before, *zero[axis + 1 :]), (*zero[:axis], after, *zero[axis + 1 :]))
