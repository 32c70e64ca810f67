"""Running a graph by NumPy: feeds are checked, a plan is made once for each set of sizes, and its steps run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from runtime.inputs import checked
from runtime.numpy_plan import Plan, errstate, plan

if TYPE_CHECKING:
    from compiler.types import Array

MOST_PLANS = 16  # kept for each graph, the oldest dropped


class NumpyRunner:
    """A graph with its weights, ready to be called."""

    def __init__(self, graph: Graph, weights: Mapping[str, Array] | None = None) -> None:
        self.graph = graph
        self.weights = dict(weights or {})
        self.plans: OrderedDict[tuple[tuple[str, int], ...], Plan] = OrderedDict()

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Outputs by name, then next values of buffers by path; NablacError for feeds that do not fit."""
        arrays, sizes = checked(self.graph, {**self.weights, **feeds})
        with errstate():
            results = self.plan(sizes).run(arrays)
        return dict(zip((*self.graph.outputs, *self.graph.updates), results, strict=True))

    def plan(self, sizes: Mapping[str, int]) -> Plan:
        """The plan for these sizes, made at the first call."""
        key = tuple(sorted(sizes.items()))
        if key not in self.plans:
            self.plans[key] = plan(self.graph, sizes)
            if len(self.plans) > MOST_PLANS:
                self.plans.popitem(last=False)
        self.plans.move_to_end(key)
        return self.plans[key]


def run(graph: Graph, feeds: Mapping[str, Any]) -> dict[str, Array]:
    """Run a graph once; `feeds` hold inputs by label, parameters and buffers by path."""
    return NumpyRunner(graph).run(feeds)
