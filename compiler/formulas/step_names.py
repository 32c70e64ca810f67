"""What a recurrence has in common with its steps: the index of a step, and the names of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, count, islice

from compiler.derivation import BackwardStep
from compiler.dims import Dim, symbols
from compiler.formulas.scopes import Scope, scan_of, scope_of_step
from compiler.formulas.symbols import Symbol, leaf_symbol, name_of_result
from compiler.graph import Graph, Value
from compiler.operators.control import Scan
from grammar.record import Record


class StepNames(Record):
    """The names of gradients that a step shares with what is around it, without the index of a step.

    `operands` are those of the operands of the recurrence, `states` those of its states and `outputs` those of its
    stacked outputs as they arrive from outside; by the index of the operand or result. Only gradients of `needed`
    values lead to what is asked for.
    """

    operands: Mapping[int, Symbol]
    states: Mapping[int, Symbol]
    outputs: Mapping[int, Symbol]
    needed: frozenset[Value]


def step_scope(step: BackwardStep, outer: Scope) -> Scope:
    """The names in a step as it is computed again backwards."""
    node = step.forward
    return scope_of_step(scan_of(step), node.operands, step.inputs, step.ends, outer, node.origin.path)


def needed_values(step: BackwardStep, gradients: Mapping[Value, Value]) -> frozenset[Value]:
    """The values of a step that depend on an operand with one of `gradients`, in this step or in one before."""
    needed = {value for value, operand in zip(step.inputs, step.forward.operands, strict=True) if operand in gradients}
    nodes = Graph({}, {str(index): end for index, end in enumerate(step.ends)}).nodes
    size = -1
    while size != len(needed):
        size = len(needed)
        for node in nodes:
            if not needed.isdisjoint(node.operands):
                needed.update(node.results)
        states = zip(step.inputs[: scan_of(step).states], step.ends, strict=False)
        needed.update(state for state, next_state in states if next_state in needed)
    return frozenset(needed)


def step_indices(graph: Graph) -> Callable[[int], str]:
    """The name of a step's number by how many recurrences are around the step: `t`, `k`, ... that the model has not."""
    taken = set(_words(graph))

    def index(depth: int) -> str:
        choices = chain("tkij", (f"step_{number}" for number in count(1)))
        return next(islice((word for word in choices if word not in taken), depth, None))

    return index


def _words(graph: Graph) -> Iterator[str]:
    """The names of values and dims in a graph and in the steps of its recurrences."""
    for node in graph:
        leaf = leaf_symbol(node)
        if leaf is not None:
            yield leaf.text
        for value in node.results:
            named = name_of_result(value)
            if named is not None:
                yield named.text
            for size in value.shape:
                if isinstance(size, Dim):
                    yield from symbols(size)
        if isinstance(node.op, Scan):
            yield from _words(node.op.body)
