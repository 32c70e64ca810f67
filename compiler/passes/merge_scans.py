"""Scans over the same operands with the same next states become one Scan, which stacks what each of them stacked.

The gradient of a recurrence needs its states; with this the forward Scan returns them. Keeps the bits.
"""

from __future__ import annotations

from compiler.graph import Graph, Node, Value, origin
from compiler.operators.control import Scan
from compiler.rewrite import rebuild, with_ends


def merge_scans(graph: Graph) -> Graph:
    """`graph` with each group of such Scans merged."""
    if not graph.has(Scan):
        return graph
    groups: dict[object, list[Node]] = {}
    for node in graph:
        if isinstance(node.op, Scan):
            groups.setdefault(_key(node, node.op), []).append(node)
    if all(len(group) == 1 for group in groups.values()):
        return graph
    new: dict[Value, Value] = {}
    for node in graph:
        if node.results[0] in new:
            continue
        group = groups[_key(node, node.op)] if isinstance(node.op, Scan) else [node]
        if len(group) > 1:
            with origin(node.origin.span, node.origin.path):
                new |= _merge(group, tuple(new[operand] for operand in node.operands))
        else:
            rebuild(node, new)
    return with_ends(graph, new)


def _key(node: Node, scan: Scan) -> object:
    """A key that is equal for Scans with the same sequence of states."""
    nexts = tuple(scan.body.outputs.values())[: scan.states]
    return node.operands, tuple(scan.body.inputs.values()), nexts, scan.slices, scan.reverse


def _merge(group: list[Node], operands: tuple[Value, ...]) -> dict[Value, Value]:
    scans = [node.op for node in group if isinstance(node.op, Scan)]
    first = scans[0]
    nexts = list(first.body.outputs.values())[: first.states]
    stacked = {value: None for scan in scans for value in list(scan.body.outputs.values())[scan.states :]}
    outputs = {f"result_{index}": value for index, value in enumerate((*nexts, *stacked))}
    body = Graph(first.body.inputs, outputs, name=first.body.name)
    merged = first.replace(body=body).apply(*operands).results
    outside = {value: merged[first.states + index] for index, value in enumerate(stacked)}
    replacements: dict[Value, Value] = {}
    for node, scan in zip(group, scans, strict=True):
        replacements.update(zip(node.results[: scan.states], merged[: scan.states], strict=True))
        inside = list(scan.body.outputs.values())[scan.states :]
        pairs = zip(node.results[scan.states :], inside, strict=True)
        replacements.update((result, outside[value]) for result, value in pairs)
    return replacements
