"""Running training steps on a backend: parameters, buffers and optimizer states stay on its device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compiler.graph import Graph
from compiler.targets import ORT_CPU, Target

if TYPE_CHECKING:
    from compiler.types import Array


class Stepper(Protocol):
    """The interface of a backend to the loop."""

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run one training step, which updates the state; returns the loss and the metrics."""

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The loss, the metrics and their parts for a batch in inference mode."""

    def state(self) -> dict[str, Array]:
        """Everything that changes from step to step, by path."""

    def before(self) -> dict[str, Array]:
        """The state before the last step."""


@dataclass(frozen=True, eq=False)
class StepperSetup:
    """The graphs and the initial state of a stepper on either backend."""

    step: Graph  # of training: its updates are the next state
    evaluation: Graph  # of inference, with the loss
    state: Mapping[str, Array]  # initial values by path, of all that either graph reads or changes
    averages: Mapping[str, str] = field(default_factory=dict)  # from the path of a weight to that of its average
    evaluated: Collection[str] = ()  # the outputs of `evaluation` that are needed


def with_averages(arrays: Mapping[str, Array], averages: Mapping[str, str]) -> dict[str, Array]:
    """Arrays by path, with each weight in `averages` replaced by its running average in the weight's dtype."""
    replaced = {path: arrays[average].astype(arrays[path].dtype, copy=False) for path, average in averages.items()}
    return {**arrays, **replaced}


class NumpyStepper:
    """Training on the NumPy runtime."""

    def __init__(self, setup: StepperSetup) -> None:
        from runtime.numpy_executor import NumpyRunner

        self.fixed = {path: setup.state[path] for path in setup.state if path not in setup.step.updates}
        self.averages, self.evaluated = setup.averages, setup.evaluated
        self.runner = NumpyRunner(setup.step, setup.state)
        self.evaluator = NumpyRunner(setup.evaluation, with_averages(setup.state, setup.averages))
        self._before: dict[str, Array] = {}

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the step, and put its updates in the weights' slots."""
        weights = self.runner.weights
        self._before = dict(weights)
        outputs, updates = self.runner.run_step({name: feeds[name] for name in self.runner.graph.inputs})
        weights.update(updates)
        return {name: float(value) for name, value in outputs.items()}

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current weights, or on their averages."""
        current = with_averages(self.state(), self.averages)
        for path in self.evaluator.weights:
            self.evaluator.weights[path] = current[path]
        outputs, _ = self.evaluator.run_step({name: feeds[name] for name in self.evaluator.graph.inputs})
        return {name: outputs[name] for name in self.evaluated}

    def state(self) -> dict[str, Array]:
        """The arrays themselves, without copies: a step creates new ones."""
        return {**self.fixed, **self.runner.weights}

    def before(self) -> dict[str, Array]:
        """The arrays before the last step; before the first step only those that no step changes."""
        return {**self.fixed, **self._before}


class OnnxStepper:
    """Training on onnxruntime, with the step as it is written for `target`; the state stays on the device."""

    def __init__(
        self, setup: StepperSetup, *, device: str = "cpu", threads: int | None = None, target: Target = ORT_CPU
    ) -> None:
        from compiler.onnx.exporter import end_names, export
        from runtime.onnx_session import OnnxRunner

        def runner(graph: Graph, target: Target = ORT_CPU) -> OnnxRunner:
            model = export(graph, weights=None, target=target)
            return OnnxRunner(model.SerializeToString(), device=device, threads=threads)

        step, evaluation = setup.step, setup.evaluation
        self.runner, self.evaluator, self.averages = runner(step, target), runner(evaluation), setup.averages
        # The file's names of the graph's ends: in the graph an output and an update may have the same name.
        names = end_names(step)
        self.outputs = dict(zip(step.outputs, names, strict=False))
        self.updates = dict(zip(step.updates, names[len(step.outputs) :], strict=True))
        evaluation_names = dict(zip(evaluation.outputs, end_names(evaluation), strict=False))
        self.evaluated = {name: evaluation_names[name] for name in setup.evaluated}
        self.values = {path: self.runner.value(array) for path, array in setup.state.items()}
        self._before: dict[str, Any] = {}

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the step on the device, and keep its updates there."""
        runner = self.runner
        values = {name: self.values[name] for name in runner.inputs if name in self.values}
        values |= {name: runner.value(np.asarray(array)) for name, array in feeds.items() if name in runner.inputs}
        results = runner.run_values(values)
        self._before = dict(self.values)
        for path, name in self.updates.items():
            self.values[path] = results[name]
        return {name: float(runner.array(results[end])) for name, end in self.outputs.items()}

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current values, or on their averages."""
        runner = self.evaluator
        values = {name: self._averaged_value(name) for name in runner.inputs if name in self.values}
        values |= {name: runner.value(np.asarray(array)) for name, array in feeds.items() if name in runner.inputs}
        results = runner.run_values(values, self.evaluated.values())
        return {name: runner.array(results[end]) for name, end in self.evaluated.items()}

    def _averaged_value(self, path: str) -> Any:
        """The value of a weight for evaluation: its average, if it has one, in the weight's dtype."""
        own = self.values[path]
        value = self.values[self.averages.get(path, path)]
        if value.data_type() == own.data_type():
            return value
        array = self.runner.array
        return self.runner.value(array(value).astype(array(own).dtype))

    def state(self) -> dict[str, Array]:
        """Copies in the memory of the CPU."""
        return {path: self.runner.array(value) for path, value in self.values.items()}

    def before(self) -> dict[str, Array]:
        """Copies of the state before the last step; empty before the first."""
        return {path: self.runner.array(value) for path, value in self._before.items()}
