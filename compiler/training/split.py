"""A training step as two graphs: from a batch to the gradients, and from the gradients to the next state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compiler.graph import Graph, Value
from compiler.model_spec import RATE, SEED, STEP
from compiler.operators.leaves import Input, label_of
from compiler.rewrite import replace
from grammar.record import Record

WEIGHT = "batch/weight"  # the slash keeps it apart from the names of a model

GradientTransform = Callable[[dict[str, Value]], dict[str, Value]]
"""A function from the gradients to others, by path: between differentiation and the optimizer's equations.

Clipping and accumulation are transforms; so is a reduction over several devices.
"""


class SplitStep(Record):
    """A training step in two graphs, whose composition is the step as one.

    `gradient` has the outputs of the whole step, and `grad.<path>` for each trained parameter; it updates the model's
    own buffers. `update` takes these gradients, and the batch's weight where gradients are accumulated, as inputs, and
    updates the parameters and the step's own states.
    """

    gradient: Graph
    measured: Graph  # as `gradient`, with the parts of the measures as outputs too
    update: Graph
    apart: Graph  # as `update`, with no parameters combined


@dataclass
class Handover:
    """What the update takes from a batch: values of the gradient graph, by the inputs that stand for them."""

    values: dict[Value, Value] = field(default_factory=dict)

    def stand_in(self, name: str, value: Value) -> Value:
        """An input of the update for a value of the gradient graph."""
        stand_in = Input(name, value.type)()
        self.values[stand_in] = value
        return stand_in

    def by_name(self) -> dict[str, Value]:
        """The values that are handed over, by the names of the inputs."""
        return {str(label_of(stand_in)): value for stand_in, value in self.values.items()}

    def is_complete_for(self, update: Graph) -> bool:
        """Whether an update reads nothing else of a batch, neither an input nor a size."""
        known = {*self.by_name(), STEP, SEED, RATE}
        for node in update:
            if isinstance(node.op, Input) and node.op.label not in known:
                return False
            if any(not isinstance(size, int) for result in node.results for size in result.shape) or node.op.has_sizes:
                return False
        return True

    def compose(self, ends: Mapping[str, Value]) -> dict[str, Value]:
        """`ends` of the update on the values that are handed over."""
        return dict(zip(ends, replace(list(ends.values()), self.values), strict=True))


def update_graph(updates: Mapping[str, Value], name: str) -> Graph:
    """The graph of an update, whose inputs are those that its nodes read."""
    ends = Graph({}, {}, dict(updates))
    inputs = {label_of(node.result): node.result for node in ends if isinstance(node.op, Input)}
    return Graph(inputs, {}, dict(updates), name)
