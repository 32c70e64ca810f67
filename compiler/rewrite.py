"""The traversal that all graph rewrites share: producers first, each node rebuilt on its new operands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from compiler.graph import Graph, Node, Value
from compiler.origins import origins

NodeRewrite = Callable[[Node], "Sequence[Value] | None"]


def with_operands(node: Node, operands: tuple[Value, ...]) -> Node:
    """`node` on other operands of the same types; its results' types stay."""
    return Node(node.op, operands, [result.type for result in node.results], node.origin)


def replace(ends: Sequence[Value], replacements: Mapping[Value, Value]) -> list[Value]:
    """`ends` with some of the values they reach replaced by others of the same types."""
    new: dict[Value, Value] = dict(replacements)
    for node in Graph({}, {str(index): end for index, end in enumerate(ends)}):
        if all(result in new for result in node.results):
            continue
        rebuild(node, new)
    return [new[end] for end in ends]


def rewrite(graph: Graph, change: NodeRewrite) -> Graph:
    """`graph` with each node's results replaced by those that `change` returns; None leaves a node unchanged.

    `change` sees each node on its new operands; nodes that it creates get the origin of the node they replace.
    """
    new: dict[Value, Value] = {}  # of those that change
    with origins() as set_origin:
        for node in graph:
            rebuilt = rebuild_changed(node, new)
            set_origin(node.origin)
            replacements = change(rebuilt)
            if replacements is None:
                replacements = rebuilt.results
            if replacements is not node.results:
                new.update(pair for pair in zip(node.results, replacements, strict=True) if pair[0] is not pair[1])
    return with_ends(graph, new)


def with_ends(graph: Graph, new: Mapping[Value, Value]) -> Graph:
    """`graph` with its outputs and updates replaced, if `new` has them; the graph itself where none changed."""
    if all(new.get(end, end) is end for end in graph.ends):
        return graph
    return Graph(
        graph.inputs,
        {name: new.get(value, value) for name, value in graph.outputs.items()},
        {path: new.get(value, value) for path, value in graph.updates.items()},
        graph.name,
        graph.doc,
        graph.layers,
    )


def with_replaced(graph: Graph, replacements: Mapping[Value, Value]) -> Graph:
    """`graph` with some of its values replaced by others of the same types; the graph itself where it has none."""
    if not replacements:
        return graph
    return with_ends(graph, dict(zip(graph.ends, replace(graph.ends, replacements), strict=True)))


def nodes_up_to(ends: Iterable[Value], stops: Collection[Node]) -> tuple[Node, ...]:
    """The nodes that `ends` reach without passing through `stops`, producers first; `stops` are not among them."""
    order: dict[Node, None] = {}
    waiting = [end.node for end in ends]
    while waiting:
        node = waiting[-1]
        missing = [producer for value in node.operands if (producer := value.node) not in order]
        missing = [producer for producer in missing if producer not in stops]
        if missing and node not in order and node not in stops:
            waiting += missing
            continue
        waiting.pop()
        if node not in stops:
            order[node] = None
    return tuple(order)


def reached(ends: Iterable[Value], stops: Iterable[Value]) -> set[Node]:
    """Those of the nodes that `ends` reach that depend on any of `stops`, and the nodes of `stops` themselves."""
    dependent = {stop.node for stop in stops}
    for node in Graph({}, {str(index): end for index, end in enumerate(ends)}):
        if any(operand.node in dependent for operand in node.operands):
            dependent.add(node)
    return dependent


def rebuild(node: Node, new: dict[Value, Value]) -> Node:
    """`node` on the replacements of its operands, itself where none changed; its results are recorded in `new`."""
    operands = tuple([new[operand] for operand in node.operands])
    rebuilt = node if operands == node.operands else with_operands(node, operands)  # values are equal by identity
    new.update(zip(node.results, rebuilt.results, strict=True))
    return rebuilt


def rebuild_changed(node: Node, new: Mapping[Value, Value]) -> Node:
    """`node` on the replacements of those of its operands that have one, itself where none has."""
    for operand in node.operands:
        if operand in new:
            return with_operands(node, tuple([new.get(operand, operand) for operand in node.operands]))
    return node
