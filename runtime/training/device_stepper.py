"""Training steps on onnxruntime on a device of its own memory: the state and all that is bound stay there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.backends import device_named
from runtime.training.onnx_steppers import file_names, graph_runner
from runtime.training.steppers import StepperSetup

if TYPE_CHECKING:
    from onnxruntime import OrtValue

    from compiler.types import Array


class DeviceStepper:
    """Training by one graph on a device: two copies of what changes are read and written in turn.

    States and outputs are bound once. A batch is copied into the memory of the last one, and is bound anew where its
    shape is another. A step copies the batch to the device, and its loss and metrics back.
    """

    def __init__(self, setup: StepperSetup, device: str) -> None:
        target = device_named(device).target
        self.runner = graph_runner(setup.step, target, device=device, threads=setup.loops.threads)
        self.evaluator = graph_runner(setup.evaluation, target, device=device, threads=setup.loops.threads)
        self.averages = setup.averages
        self.outputs, updates = file_names(setup.step)
        names, _ = file_names(setup.evaluation)
        self.evaluated = {name: names[name] for name in setup.evaluated}
        # On a CPU a value is the array's own memory.
        current = {path: self.runner.value(np.array(setup.state.pop(path))) for path in list(setup.state)}
        following = {path: self.runner.empty(value) if path in updates else value for path, value in current.items()}
        self.states = current, following
        results = {name: np.zeros(setup.step.outputs[name].type.numeric_shape, "f") for name in self.outputs}
        dtypes = {name: setup.step.outputs[name].type.dtype.numpy for name in self.outputs}
        self.results = {name: self.runner.value(array.astype(dtypes[name])) for name, array in results.items()}
        self.bindings = []
        for read, written in (self.states, self.states[::-1]):
            binding = self.runner.session.io_binding()
            for path in self.runner.inputs.keys() & read.keys():
                binding.bind_ortvalue_input(path, read[path])
            for name, end in self.outputs.items():
                binding.bind_ortvalue_output(end, self.results[name])
            for path, end in updates.items():
                binding.bind_ortvalue_output(end, written[path])
            self.bindings.append(binding)
        self.fed: dict[str, OrtValue] = {}
        self.steps = 0

    def prepare_evaluation(self) -> None:
        """It is built."""

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the step from one copy of the state to the other."""
        for name in self.runner.inputs.keys() & feeds.keys():
            self._feed(name, np.asarray(feeds[name]))
        self.runner.run_binding(self.bindings[self.steps % 2])
        self.steps += 1
        return {name: float(self.runner.array(value)) for name, value in self.results.items()}

    def _feed(self, name: str, array: Array) -> None:
        """Copy an input to the device."""
        value = self.fed.get(name)
        if value is not None and tuple(value.shape()) == array.shape:
            value.update_inplace(np.require(array, requirements="C"))
            return
        self.fed[name] = self.runner.value(np.array(array, order="C"))
        for binding in self.bindings:
            binding.bind_ortvalue_input(name, self.fed[name])

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current values, or on their averages."""
        runner, current = self.evaluator, self.states[self.steps % 2]
        values = {name: self._averaged_value(current, name) for name in runner.inputs if name in current}
        values |= {name: runner.value(np.asarray(array)) for name, array in feeds.items() if name in runner.inputs}
        results = runner.run_values(values, self.evaluated.values())
        return {name: runner.array(results[end]) for name, end in self.evaluated.items()}

    def _averaged_value(self, current: Mapping[str, Any], path: str) -> Any:
        """The value of a weight for evaluation: its average, if it has one, in the weight's dtype."""
        own, value = current[path], current[self.averages.get(path, path)]
        if value.data_type() == own.data_type():
            return value
        array = self.runner.array
        return self.runner.value(array(value).astype(array(own).dtype))

    def state(self) -> dict[str, Array]:
        """Copies in the memory of the CPU."""
        return {path: self.runner.array(value) for path, value in self.states[self.steps % 2].items()}

    def before(self) -> dict[str, Array]:
        """Copies of the state before the last step; empty before the first."""
        if not self.steps:
            return {}
        return {path: self.runner.array(value) for path, value in self.states[1 - self.steps % 2].items()}
