"""One step of a recurrence as a graph of its own: the body of a Scan, with what it captures made inputs."""

from __future__ import annotations

from functools import cached_property

from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Constant, Input, SizeOf, label_of
from compiler.rewrite import reached, replace
from grammar.record import Record


class RecurrentState(Record):
    """A state: its value at a step's start, an input of the step, and its next value; its first value is outside."""

    name: str
    current: Value
    initial: Value
    next: Value


class Step(Record):
    """The equations of one step, over the states, the slices of the sequences, and the step's number."""

    states: tuple[RecurrentState, ...]
    slices: tuple[Value, ...]
    number: Value  # an i64 scalar, from 0
    outputs: tuple[Value, ...]

    @cached_property
    def results(self) -> tuple[Value, ...]:
        """The next values of the states, then the outputs."""
        return (*(state.next for state in self.states), *self.outputs)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Everything that the results are computed from, inside or outside of the step."""
        return Graph({}, {str(index): result for index, result in enumerate(self.results)}).nodes

    @cached_property
    def is_numbered(self) -> bool:
        """Whether anything depends on the step's number."""
        return self.number.node in self.nodes

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs of each step: states, slices, and the step's number where it is used."""
        currents = (state.current for state in self.states)
        return (*currents, *self.slices, *((self.number,) if self.is_numbered else ()))

    def begun_inside(self) -> RecurrentState | None:
        """A state whose first value depends on inputs of a step, which do not exist before the first step; or None."""
        inside = reached([state.initial for state in self.states], [*self.inputs, self.number])
        return next((state for state in self.states if state.initial.node in inside), None)

    @cached_property
    def captured(self) -> tuple[Value, ...]:
        """The values from outside that the step uses: what depends on no input of the step is computed once."""
        inside = {value.node for value in self.inputs}
        for node in self.nodes:
            if any(operand.node in inside for operand in node.operands):
                inside.add(node)
        cheap = (Constant, SizeOf)  # inside as outside
        captured: dict[Value, None] = {}
        used = [operand for node in self.nodes if node in inside for operand in node.operands]
        for value in (*used, *self.results):
            if value.node not in inside and not isinstance(value.node.op, cheap):
                captured[value] = None
        return tuple(captured)

    def body(self) -> Graph:
        """The step as a graph: its inputs, then what it captures; the next values of its states, then its outputs."""
        operands = [*self.inputs, *self.captured]
        labels = [label_of(value) for value in self.inputs]
        names = _unique([*labels, *(f"captured_{index}" for index in range(len(self.captured)))])
        inputs = {
            name: Node(Input(name, value.type), (), [value.type], value.node.origin.of_result(value.index)).result
            for name, value in zip(names, operands, strict=True)
        }
        closed = replace(list(self.results), dict(zip(operands, inputs.values(), strict=True)))
        next_names = [f"next_{state.name}" for state in self.states]
        names = _unique([*next_names, *(f"output_{index}" for index in range(len(self.outputs)))])
        return Graph(inputs, dict(zip(names, closed, strict=True)), name="step")


def _unique(names: list[str]) -> list[str]:
    """The names made unique: a repeated one gets a number as its suffix."""
    taken: dict[str, int] = {}  # and the last number tried behind each
    for name in names:
        candidate = name
        while candidate in taken:
            taken[name] += 1
            candidate = f"{name}_{taken[name]}"
        taken[candidate] = 0
    return list(taken)
