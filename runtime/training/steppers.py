"""A training step that keeps its state: parameters, buffers and optimizer states stay where the backend has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compiler.graph import Graph

if TYPE_CHECKING:
    from compiler.types import Array

# onnxruntime takes longer for its RNN operator than for the same recurrence as a Scan, nearly twice for a large one.
DISABLED_PASSES = ("fuse-rnn",)


class Stepper(Protocol):
    """What the loop needs of a backend."""

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run one training step: the loss and the metrics. The state is the next one afterwards."""

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The loss, the metrics and their parts of a batch in inference mode."""

    def state(self) -> dict[str, Array]:
        """Everything that changes from step to step, by path."""

    def before(self) -> dict[str, Array]:
        """The state before the last step."""


def averaged(arrays: Mapping[str, Array], averages: Mapping[str, str]) -> dict[str, Array]:
    """Arrays by path; a running average, whose path is in `averages`, has the place and type of what it averages."""
    taken = {path: arrays[average].astype(arrays[path].dtype, copy=False) for path, average in averages.items()}
    return {**arrays, **taken}


class NumpyStepper:
    """Training on the NumPy runtime."""

    def __init__(
        self,
        step: Graph,
        evaluation: Graph,
        state: Mapping[str, Array],
        averages: Mapping[str, str],
        parts: Collection[str],
    ) -> None:
        from runtime.numpy_executor import NumpyRunner

        self.fixed = {path: state[path] for path in state if path not in step.updates}
        self.averages = averages
        self.runner = NumpyRunner(step, state)
        self.evaluator = NumpyRunner(evaluation, averaged(state, averages))
        self.parts = parts
        self._before: dict[str, Array] = {}

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        weights = self.runner.weights
        self._before = dict(weights)
        outputs, updates = self.runner.run_step({name: feeds[name] for name in self.runner.graph.inputs})
        weights.update(updates)
        return {name: float(value) for name, value in outputs.items()}

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        current = averaged(self.state(), self.averages)
        for path in self.evaluator.weights:
            self.evaluator.weights[path] = current[path]
        outputs, _ = self.evaluator.run_step({name: feeds[name] for name in self.evaluator.graph.inputs})
        return {name: outputs[name] for name in self.parts}

    def state(self) -> dict[str, Array]:
        return {**self.fixed, **self.runner.weights}

    def before(self) -> dict[str, Array]:
        return {**self.fixed, **self._before}


class OnnxStepper:
    """Training on onnxruntime; the state stays on the device between steps."""

    def __init__(
        self,
        step: Graph,
        evaluation: Graph,
        state: Mapping[str, Array],
        averages: Mapping[str, str],
        parts: Collection[str],
        *,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        from compiler.onnx.exporter import end_names, export
        from runtime.onnx_session import OnnxRunner

        def runner(graph: Graph) -> OnnxRunner:
            return OnnxRunner(export(graph, weights=None).SerializeToString(), device=device, threads=threads)

        self.runner, self.evaluator, self.averages = runner(step), runner(evaluation), averages
        names = end_names(step)
        self.outputs = dict(zip(step.outputs, names, strict=False))
        self.updates = dict(zip(step.updates, names[len(step.outputs) :], strict=True))
        evaluated = dict(zip(evaluation.outputs, end_names(evaluation), strict=False))
        self.parts = {name: evaluated[name] for name in parts}
        self.values = {path: self.runner.value(array) for path, array in state.items()}
        self._before: dict[str, Any] = {}

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        runner = self.runner
        given = {name: self.values[name] for name in runner.inputs if name in self.values}
        given |= {name: runner.value(np.asarray(array)) for name, array in feeds.items() if name in runner.inputs}
        made = runner.run_values(given)
        self._before = dict(self.values)
        for path, name in self.updates.items():
            self.values[path] = made[name]
        return {name: float(runner.array(made[ours])) for name, ours in self.outputs.items()}

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        runner = self.evaluator
        given = {name: self._averaged(name) for name in runner.inputs if name in self.values}
        given |= {name: runner.value(np.asarray(array)) for name, array in feeds.items() if name in runner.inputs}
        made = runner.run_values(given, self.parts.values())
        return {name: runner.array(made[ours]) for name, ours in self.parts.items()}

    def _averaged(self, path: str) -> Any:
        """What stands for a weight where it is evaluated: its average where it has one, in its type."""
        own = self.values[path]
        value = self.values[self.averages.get(path, path)]
        if value.data_type() == own.data_type():
            return value
        array = self.runner.array
        return self.runner.value(array(value).astype(array(own).dtype))

    def state(self) -> dict[str, Array]:
        return {path: self.runner.array(value) for path, value in self.values.items()}

    def before(self) -> dict[str, Array]:
        return {path: self.runner.array(value) for path, value in self._before.items()}
