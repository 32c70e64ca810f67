"""Running a graph with NumPy: check the feeds, plan once for each set of sizes, and run the plan's steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from compiler.shared_work import use_threads
from runtime.numpy_chains import PLAIN, LoopSettings
from runtime.numpy_plan import Plan, errstate, plan
from runtime.signature import Signature
from runtime.thread_limits import available_threads

if TYPE_CHECKING:
    from compiler.types import Array

MOST_PLANS = 16  # cached for each graph, the least recently used dropped


class NumpyRunner:
    """A graph with its weights, ready to be called.

    The weights are checked once; a call may feed others instead. Large elementwise operators run by the settings.
    """

    def __init__(self, graph: Graph, weights: Mapping[str, Any] | None = None, settings: LoopSettings = PLAIN) -> None:
        self.graph, self.settings = graph, settings
        self.signature = Signature.of(graph)
        known = weights if weights is not None else {}
        needed = {name: known[name] for name in self.signature.types if name in known}  # of which there may be few
        self.weights, self._weight_sizes = self.signature.check(needed, checked=self.signature.types)
        self.plans: OrderedDict[tuple[tuple[str, int], ...], Plan] = OrderedDict()

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Outputs by name, and next values of buffers by path (see `run_step`); NablacError for unfit feeds."""
        return self.run_checked(*self.signature.check(feeds, checked=self.weights))

    def run_step(self, feeds: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs by name, and next values of buffers by path; apart, since an output may have the name of a path."""
        return self.run_step_checked(*self.signature.check(feeds, checked=self.weights))

    def run_checked(self, arrays: Mapping[str, Array], sizes: dict[str, int]) -> dict[str, Array]:
        """Like `run`, for checked arrays and the sizes of their named dims."""
        outputs, updates = self.run_step_checked(arrays, sizes)
        return {**updates, **outputs}

    def run_step_checked(
        self, arrays: Mapping[str, Array], sizes: dict[str, int]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Like `run_step`, for checked arrays and the sizes of their named dims."""
        for name, size in self._weight_sizes.items():
            sizes.setdefault(name, size)
        threads = self.settings.threads or available_threads()
        with errstate(), use_threads(threads):
            results = self.plan(sizes).run({**self.weights, **arrays})
        outputs, updates = self.graph.outputs, self.graph.updates
        return (
            dict(zip(outputs, results, strict=False)),
            dict(zip(updates, results[len(outputs) :], strict=True)),
        )

    def plan(self, sizes: Mapping[str, int]) -> Plan:
        """The plan for these sizes, made at the first call."""
        key = tuple(sorted(sizes.items()))
        plan_of_sizes = self.plans.get(key)
        if plan_of_sizes is None:
            plan_of_sizes = self.plans[key] = plan(self.graph, sizes, self.settings)
            if len(self.plans) > MOST_PLANS:
                self.plans.popitem(last=False)
        else:
            self.plans.move_to_end(key)
        return plan_of_sizes


def run(graph: Graph, feeds: Mapping[str, Any], weights: Mapping[str, Any] | None = None) -> dict[str, Array]:
    """Run a graph once; `feeds` hold inputs by label, and parameters and buffers by path unless `weights` do."""
    return NumpyRunner(graph, weights).run(feeds)
