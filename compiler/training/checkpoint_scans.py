"""Square-root checkpointing of long recurrences (Chen et al. 2016): less memory for a second forward computation.

The gradient of a recurrence of T steps needs values of every step. Here the steps become about sqrt(T) segments, a Scan
whose step is a Scan over one segment. Only the states between segments are saved; a step of the gradient computes its
segment again, so that the values of sqrt(T) steps are in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from compiler.dims import Size
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Input
from compiler.operators.making import concat, reshape, slice_
from compiler.rewrite import reached, rewrite

_SHORTEST = 4  # steps of a recurrence that has segments


def checkpoint_scans(graph: Graph, budget: int, sizes: Mapping[str, int]) -> Graph:
    """The graph of a loss with those recurrences in segments whose gradients would save more than `budget` bytes.

    `sizes` are the sizes of the named dims. A recurrence is left alone if its gradient is truncated, since its segments
    are others, or if the model does not state its length as a number: a graph has as many segments at every length.
    """

    def segmented(node: Node) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan) or node.op.truncate or node.op.recompute:
            return None
        length = node.op.length(*(operand.type for operand in node.operands))
        if not isinstance(length, int) or length < _SHORTEST or saved_bytes(node.op, sizes) * length <= budget:
            return None
        return _in_segments(node.op, node.operands, length)

    return rewrite(graph, segmented)


def saved_bytes(scan: Scan, sizes: Mapping[str, int]) -> int:
    """The bytes of those values of one step that are not computed again by the gradient."""
    states = list(scan.body.inputs.values())[: scan.states]
    nodes = (node for node in reached(scan.body.ends, states) if not node.op.cheap)
    types = (value.type.bind(sizes) for node in nodes for value in node.results)
    return sum(type.elements * type.dtype.bytes for type in types if isinstance(type.elements, int))


def _in_segments(scan: Scan, operands: Sequence[Value], length: int) -> Sequence[Value]:
    """The results of a Scan, whose steps run in segments of one length, and then the rest of them."""
    n, last = scan.states, scan.states + scan.slices
    size = math.isqrt(length)
    count, rest = divmod(length, size)
    states, sequences, whole = operands[:n], operands[n:last], operands[last:]
    split_at = rest if scan.reverse else length - rest
    early, late = ([_part(x, *bounds) for x in sequences] for bounds in ((0, split_at), (split_at, length)))
    main, remaining = (late, early) if scan.reverse else (early, late)
    outer = _outer(scan, size)
    segments = [reshape(x, (count, size, *x.shape[1:])) for x in main]
    results = outer.apply(*states, *segments, *whole).results
    finals = results[:n]
    stacked = [reshape(x, (count * size, *x.shape[2:])) for x in results[n:]]
    if rest:
        others = scan.apply(*finals, *remaining, *whole).results
        finals = others[:n]
        pairs = zip(others[n:], stacked, strict=True)
        stacked = [concat((other, x) if scan.reverse else (x, other), 0) for other, x in pairs]
    return [*finals, *stacked]


def _outer(scan: Scan, size: int) -> Scan:
    """The Scan over segments of this size: its step is the Scan over the steps of one."""
    n, last = scan.states, scan.states + scan.slices
    inputs: dict[str, Value] = {}
    for index, (name, value) in enumerate(scan.body.inputs.items()):
        shape: tuple[Size, ...] = (size, *value.shape) if n <= index < last else value.shape
        inputs[name] = Input(name, value.type.with_shape(*shape))()
    results = scan.apply(*inputs.values()).results
    body = Graph(inputs, dict(zip(scan.body.outputs, results, strict=True)), name="segment")
    return Scan(body, n, scan.slices, scan.reverse, recompute=True)


def _part(x: Value, start: int, stop: int) -> Value:
    return x if (start, stop) == (0, x.shape[0]) else slice_(x, (0,), (start,), (stop,))
