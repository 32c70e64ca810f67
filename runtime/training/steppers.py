"""Running training steps on a backend: parameters, buffers and optimizer states stay on its device."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from compiler.graph import Graph
from compiler.training.flat_updates import FlatUpdate
from runtime.numpy_chains import PLAIN, LoopSettings
from runtime.numpy_executor import NumpyRunner
from runtime.training.in_place_update import InPlaceUpdate

if TYPE_CHECKING:
    from compiler.types import Array


class Stepper(Protocol):
    """The interface of a backend to the loop."""

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run one training step, which updates the state; returns the loss and the metrics."""

    def prepare_evaluation(self) -> None:
        """Build what evaluates, which otherwise happens at the first evaluation."""

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The loss, the metrics and their parts for a batch in inference mode."""

    def state(self) -> dict[str, Array]:
        """Everything that changes from step to step, by path; the next step may write over these arrays."""

    def before(self) -> dict[str, Array]:
        """The state before the last step, if its loss was not finite; empty where it is no longer known."""


@runtime_checkable
class DeferringStepper(Stepper, Protocol):
    """A stepper on a device, whose results may be read for several steps at once: each read waits for the device."""

    read_every: int  # the most steps that may begin before their results are read

    def begin(self, feeds: Mapping[str, Array]) -> None:
        """Begin a step; it need not be done when this returns."""

    def read(self) -> list[dict[str, float]]:
        """The loss and the metrics of the steps since the last read, in order, when all of them are done."""


@dataclass(frozen=True, eq=False)
class SplitGraphs:
    """A training step in two: its gradients as a graph, and the update of its state."""

    gradient: Graph
    update: FlatUpdate


@dataclass(frozen=True, eq=False)
class StepperSetup:
    """The graphs and the initial state of a stepper on either backend.

    A stepper takes the arrays of `state` over, which is empty afterwards.
    """

    step: Graph  # of training: its updates are the next state
    evaluation: Graph  # of inference, with the loss
    state: MutableMapping[str, Array]  # initial values by path, of all that either graph reads or changes
    averages: Mapping[str, str] = field(default_factory=dict)  # from the path of a weight to that of its average
    evaluated: Collection[str] = ()  # the outputs of `evaluation` that are needed
    split: SplitGraphs | None = None  # the step in two graphs, which are run instead
    loops: LoopSettings = PLAIN
    compiles_update: bool = False  # by loops, even if `loops` compiles none


def with_averages(arrays: Mapping[str, Array], averages: Mapping[str, str]) -> dict[str, Array]:
    """Arrays by path, with each weight in `averages` replaced by its running average in the weight's dtype."""
    replaced = {path: arrays[average].astype(arrays[path].dtype, copy=False) for path, average in averages.items()}
    return {**arrays, **replaced}


class NumpyStepper:
    """Training on the NumPy runtime, by one graph whose updates are new arrays."""

    def __init__(self, setup: StepperSetup) -> None:
        self.fixed = {path: setup.state[path] for path in setup.state if path not in setup.step.updates}
        self.runner = NumpyRunner(setup.step, setup.state, setup.loops)
        self.evaluator = NumpyEvaluator(setup, setup.state)
        self._before: dict[str, Array] = {}

    def prepare_evaluation(self) -> None:
        """It is built."""

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the step, and put its updates in the weights' slots."""
        weights = self.runner.weights
        self._before = dict(weights)
        outputs, updates = self.runner.run_step({name: feeds[name] for name in self.runner.graph.inputs})
        weights.update(updates)
        return {name: float(value) for name, value in outputs.items()}

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current weights, or on their averages."""
        return self.evaluator.run(self.state(), feeds)

    def state(self) -> dict[str, Array]:
        """The arrays themselves, without copies: a step creates new ones."""
        return {**self.fixed, **self.runner.weights}

    def before(self) -> dict[str, Array]:
        """The arrays before the last step; before the first step only those that no step changes."""
        return {**self.fixed, **self._before}


class NumpyEvaluator:
    """The loss and the metrics on the NumPy runtime, on the weights of a state or on their averages."""

    def __init__(self, setup: StepperSetup, state: Mapping[str, Array]) -> None:
        self.averages, self.evaluated = setup.averages, setup.evaluated
        self.runner = NumpyRunner(setup.evaluation, with_averages(state, setup.averages), setup.loops)

    def prepare(self) -> None:
        """It is built."""

    def run(self, state: Mapping[str, Array], feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs that are needed."""
        current = with_averages(state, self.averages)
        self.runner.weights.update({path: current[path] for path in self.runner.weights})
        outputs, _ = self.runner.run_step({name: feeds[name] for name in self.runner.graph.inputs})
        return {name: outputs[name] for name in self.evaluated}


class Evaluator(Protocol):
    """What computes the loss and the metrics on a backend."""

    def prepare(self) -> None:
        """Build what it runs, which otherwise happens at the first run."""

    def run(self, state: Mapping[str, Array], feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs that are needed, on the weights of a state or on their averages."""


class EvaluationStepper:
    """Evaluation alone, of a state that stays as it is."""

    def __init__(self, evaluator: Evaluator, state: Mapping[str, Array]) -> None:
        self.evaluator, self.arrays = evaluator, state

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Never called."""
        raise AssertionError("an evaluation has no steps")

    def prepare_evaluation(self) -> None:
        """Build the evaluator."""
        self.evaluator.prepare()

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation."""
        return self.evaluator.run(self.arrays, feeds)

    def state(self) -> dict[str, Array]:
        """The arrays themselves."""
        return dict(self.arrays)

    def before(self) -> dict[str, Array]:
        """There was no step."""
        return {}


class InPlaceStepper:
    """Training by two graphs: a backend computes the gradients, and NumPy updates the state over its own memory."""

    def __init__(self, update: InPlaceUpdate, evaluator: Evaluator) -> None:
        self.update, self.evaluator = update, evaluator
        self._lost = False  # whether the last loss was not finite

    def finish_step(
        self,
        feeds: Mapping[str, Array],
        results: Mapping[str, float],
        buffers: Mapping[str, Array],
        gradients: Mapping[str, Array] | None = None,
    ) -> None:
        """Run the update, if the loss is finite; without `gradients` they lie in the update's own arrays."""
        self._lost = not math.isfinite(results["loss"])
        if not self._lost:
            write_over(self.update.arrays, buffers)
            self.update.run(feeds, gradients)

    def prepare_evaluation(self) -> None:
        """Build the evaluator."""
        self.evaluator.prepare()

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current weights, or on their averages."""
        return self.evaluator.run(self.update.arrays, feeds)

    def state(self) -> dict[str, Array]:
        """The arrays themselves, which the next step writes over."""
        return dict(self.update.arrays)

    def before(self) -> dict[str, Array]:
        """The state, which a step whose loss is not finite leaves as it was."""
        return self.state() if self._lost else {}


class InPlaceNumpyStepper(InPlaceStepper):
    """Training on the NumPy runtime: gradients first, then the update over the state's own memory."""

    def __init__(self, setup: StepperSetup, split: SplitGraphs) -> None:
        update = InPlaceUpdate(split.update, setup.state, setup.loops, setup.compiles_update)
        arrays = update.arrays
        self.runner = NumpyRunner(split.gradient, arrays, setup.loops)
        self.runner.weights.update({path: arrays[path] for path in self.runner.weights})
        super().__init__(update, NumpyEvaluator(setup, arrays))

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the gradients and, if the loss is finite, the update."""
        outputs, buffers = self.runner.run_step({name: feeds[name] for name in self.runner.graph.inputs})
        gradients = {name: outputs.pop(name) for name in self.update.gradients}
        results = {name: float(value) for name, value in outputs.items()}
        self.finish_step(feeds, results, buffers, gradients)
        return results


def write_over(arrays: Mapping[str, Array], following: Mapping[str, Array]) -> None:
    """Write next values over arrays, by path."""
    for path, array in following.items():
        arrays[path][...] = array
