"""Training steps on onnxruntime on a device of its own memory: the state and all that is bound stay there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.backends import device_named
from runtime.training.onnx_steppers import file_names, graph_runner
from runtime.training.steppers import StepperSetup

if TYPE_CHECKING:
    from onnxruntime import OrtValue

    from compiler.types import Array
    from runtime.onnx_session import OnnxRunner


READ_EVERY = 10  # steps; by default


class DeviceStepper:
    """Training by one graph on a device: two copies of what changes are read and written in turn.

    Results are read for up to `read_every` steps at once, so that the device need not wait for the program: each of
    these steps has its own binding, with memory for its batch and its results. All is bound once; a batch is copied
    into the memory of an earlier one, and is bound anew where its shape is another.
    """

    def __init__(self, setup: StepperSetup, device: str, read_every: int = 1) -> None:
        target = device_named(device).target
        self.read_every = read_every
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
        types = {name: setup.step.outputs[name].type for name in self.outputs}
        zeros = {name: np.zeros(type.numeric_shape, "f").astype(type.dtype.numpy) for name, type in types.items()}
        self.slots: list[_Slot] = []
        for number in range(read_every + read_every % 2):  # an even number, of which each reads one copy of the state
            slot = _Slot(self.runner, {name: self.runner.value(array.copy()) for name, array in zeros.items()})
            read, written = self.states if number % 2 == 0 else self.states[::-1]
            for path in self.runner.inputs.keys() & read.keys():
                slot.binding.bind_ortvalue_input(path, read[path])
            for name, end in self.outputs.items():
                slot.binding.bind_ortvalue_output(end, slot.results[name])
            for path, end in updates.items():
                slot.binding.bind_ortvalue_output(end, written[path])
            self.slots.append(slot)
        self.steps = self._read = 0
        self._lost: int | None = None  # the first step whose loss was not finite

    def prepare_evaluation(self) -> None:
        """It is built."""

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the step from one copy of the state to the other."""
        self.begin(feeds)
        return self.read()[-1]

    def begin(self, feeds: Mapping[str, Array]) -> None:
        """Begin a step; it is not waited for unless results have to be read after it."""
        assert self.steps - self._read < self.read_every, "the results of earlier steps have to be read first"
        slot = self._slot(self.steps)
        for name in self.runner.inputs.keys() & feeds.keys():
            slot.feed(name, np.asarray(feeds[name]))
        self.runner.run_binding(slot.binding, waits=self.read_every == 1)
        self.steps += 1

    def read(self) -> list[dict[str, float]]:
        """The results of the steps since the last read."""
        self._wait()
        results = []
        for number in range(self._read, self.steps):
            values = self._slot(number).results
            results.append({name: float(self.runner.array(value)) for name, value in values.items()})
            if self._lost is None and not math.isfinite(results[-1]["loss"]):
                self._lost = number
        self._read = self.steps
        return results

    def _slot(self, number: int) -> _Slot:
        """That of a step, which count from 0."""
        return self.slots[number % len(self.slots)]

    def _wait(self) -> None:
        """Wait for the steps that have begun: copies from the device do not."""
        if self.read_every > 1 and self.steps:
            self._slot(self.steps - 1).binding.synchronize_outputs()

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current values, or on their averages."""
        self._wait()
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
        self._wait()
        return {path: self.runner.array(value) for path, value in self.states[self.steps % 2].items()}

    def before(self) -> dict[str, Array]:
        """Copies of the state before the last step; empty before the first, and if an earlier loss was not finite."""
        if not self.steps or self._lost not in (None, self.steps - 1):
            return {}
        self._wait()
        return {path: self.runner.array(value) for path, value in self.states[1 - self.steps % 2].items()}


class _Slot:
    """A binding of the step, with values for a batch and for results that other steps do not touch."""

    def __init__(self, runner: OnnxRunner, results: Mapping[str, OrtValue]) -> None:
        self._runner, self.results = runner, results
        self.binding = runner.session.io_binding()
        self.inputs: dict[str, OrtValue] = {}

    def feed(self, name: str, array: Array) -> None:
        """Copy an input to the device."""
        value = self.inputs.get(name)
        if value is not None and tuple(value.shape()) == array.shape:
            value.update_inplace(np.require(array, requirements="C"))
            return
        self.inputs[name] = self._runner.value(np.array(array, order="C"))
        self.binding.bind_ortvalue_input(name, self.inputs[name])
