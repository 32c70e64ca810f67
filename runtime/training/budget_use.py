"""What a memory budget changes of a training step: less memory, and some work done twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.byte_sizes import units_of
from compiler.graph_costs import cost_of
from compiler.liveness import Liveness
from runtime.initialization import stored_operators
from runtime.memory import stored_bytes

if TYPE_CHECKING:
    from runtime.training.training_run import Training

# What a training has built that no budget changes: the model is not elaborated again, and missing targets count in
# neither of the two steps.
_WHATEVER_THE_BUDGET = ("elaborated", "inference", "context", "data", "batch_sizes")


@dataclass(frozen=True)
class BudgetUse:
    """A budget in bytes, and the estimated bytes and the operations of a training step without and within it."""

    budget: int
    bytes_without: int
    bytes_within: int
    flops_without: int
    flops_within: int

    @property
    def done_twice(self) -> float:
        """The operations that are done a second time, as a fraction of those without a budget."""
        return max(self.flops_within - self.flops_without, 0) / max(self.flops_without, 1)

    def describe(self) -> str:
        """A sentence for people."""
        text_of = units_of(self.budget)
        within, without = text_of(self.bytes_within), text_of(self.bytes_without)
        instead = f" instead of {without}" if self.bytes_within < self.bytes_without else ""
        share = f"{self.done_twice:.1%}" if self.done_twice >= 0.001 else "less than 0.1%"
        recomputation = f"does {share} of its work twice" if self.done_twice else "computes nothing twice"
        return f"a step takes an estimated {within}{instead}, and {recomputation}"


def budget_use(training: Training) -> BudgetUse:
    """What the memory budget of a training changes of its step, which is built without a budget too."""
    bytes_within, flops_within = _amounts(training, training.batch_sizes)
    unlimited = replace(training, without_budget=True)
    built = vars(training)
    vars(unlimited).update({name: built[name] for name in _WHATEVER_THE_BUDGET if name in built})
    bytes_without, flops_without = _amounts(unlimited, training.batch_sizes)
    assert training.memory_budget is not None, "asked of a training with a budget alone"
    return BudgetUse(training.memory_budget, bytes_without, bytes_within, flops_without, flops_within)


def _amounts(training: Training, sizes: Mapping[str, int]) -> tuple[int, int]:
    """The bytes of the step that runs, with the states that only its update reads, and its operations."""
    split = training.split_graphs if training.options.device == "cpu" else None
    graph = training.step_graph if split is None else split.gradient
    read = {op.path for op in stored_operators(graph)}
    beside = sum(stored_bytes(op) for op in stored_operators(training.step.measured) if op.path not in read)
    return Liveness(graph, sizes).most + beside, cost_of(graph, sizes).flops or 0
