"""An optimizer's equations, one graph for each type of parameter, instantiated for one parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler.graph import Graph, Node, Value
from compiler.model_spec import PARAMETER, UpdateEquations
from compiler.origins import origin


def next_values(equations: UpdateEquations, path: str, replacements: Mapping[Value, Value]) -> dict[str, Value]:
    """The next values of `param` and of the states by name, as new nodes whose origins have this path.

    `replacements` are for inputs of the equations; others are kept.
    """
    outputs = equations.graph.outputs
    return dict(zip(outputs, _copy_nodes(equations, outputs.values(), path, replacements), strict=True))


def first_value(equations: UpdateEquations, state: str, path: str, parameter: Value) -> Value | float:
    """The first value of a state of `parameter`, as new nodes whose origins have this path; 0 by default."""
    if state not in equations.first:
        return 0.0
    replacements = {equations.graph.inputs[PARAMETER]: parameter}
    (value,) = _copy_nodes(equations, [equations.first[state]], path, replacements)
    return value


def _copy_nodes(
    equations: UpdateEquations, ends: Iterable[Value], path: str, replacements: Mapping[Value, Value]
) -> list[Value]:
    """`ends` on copies of the nodes of the equations; nodes of `outside` values are shared."""
    ends = list(ends)
    outside = set(_graph_of(equations.outside))
    copies = {value: value for value in equations.graph.inputs.values()} | dict(replacements)
    for node in _graph_of(ends):
        if node in outside:
            copies.update((result, result) for result in node.results if result not in copies)
        elif node.results[0] not in copies:
            with origin(node.origin.span, path + node.origin.path.removeprefix(equations.path)):
                operands = tuple(copies[operand] for operand in node.operands)
                copy = Node(node.op, operands, [result.type for result in node.results])
            copies.update(zip(node.results, copy.results, strict=True))
    return [copies[end] for end in ends]


def _graph_of(ends: Iterable[Value]) -> Graph:
    return Graph({}, {str(number): end for number, end in enumerate(ends)})
