"""Keys that are folded from one key become one vector, hashed once, as those of a step's draws. Keeps the bits."""

from __future__ import annotations

from compiler.graph import Graph, Node, Value, origin
from compiler.operators.random import FoldKey, FoldKeys
from compiler.rewrite import rebuild, with_ends


def share_keys(graph: Graph) -> Graph:
    """`graph` with the keys that several tags fold from the same operands computed together."""
    if not graph.has(FoldKey):
        return graph
    groups: dict[tuple[Value, ...], dict[int, None]] = {}
    for node in graph:
        if isinstance(node.op, FoldKey):
            groups.setdefault(node.operands, {})[node.op.tag] = None
    if all(len(tags) == 1 for tags in groups.values()):
        return graph
    new: dict[Value, Value] = {}
    keys: dict[tuple[Value, ...], dict[int, Value]] = {}
    for node in graph:
        if not isinstance(node.op, FoldKey) or len(groups[node.operands]) == 1:
            rebuild(node, new)
            continue
        if node.operands not in keys:
            keys[node.operands] = _together(node, tuple(groups[node.operands]), new)
        new[node.result] = keys[node.operands][node.op.tag]
    return with_ends(graph, new)


def _together(node: Node, tags: tuple[int, ...], new: dict[Value, Value]) -> dict[int, Value]:
    """The keys by their tags, at the first of the nodes that fold one."""
    with origin(node.origin.span, node.origin.path):
        results = FoldKeys(tags).apply(*(new[operand] for operand in node.operands)).results
    return dict(zip(tags, results, strict=True))
