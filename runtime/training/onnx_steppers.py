"""Training steps on onnxruntime on a CPU, over memory that lies still."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.onnx.output_names import end_names
from compiler.targets import LOWEST_OPSET, ORT_CPU, Target
from runtime.backends import device_named
from runtime.initialization import stored_operators
from runtime.onnx_binding import Binding
from runtime.onnx_session import OnnxRunner
from runtime.training.in_place_update import InPlaceUpdate
from runtime.training.steppers import InPlaceStepper, SplitGraphs, StepperSetup

if TYPE_CHECKING:
    from compiler.types import Array

# ONNX has Col2Im, the fastest gradient of many convolutions, from this opset on; no other runtime reads the graph.
OPSET = 18


def graph_runner(graph: Graph, target: Target = ORT_CPU, lowest: int = LOWEST_OPSET, **settings: Any) -> OnnxRunner:
    """A session of a graph, as its file for a target; `settings` are those of the runner."""
    # Memory as it is needed: a large step takes as long, and up to a third less memory than with one planned block.
    model = export(graph, lowest=lowest, weights=None, target=target)
    return OnnxRunner(model.SerializeToString(), plans_memory=False, **settings)


def file_names(graph: Graph) -> tuple[dict[str, str], dict[str, str]]:
    """The file's names of outputs and of updates: in the graph an output and an update may have the same name."""
    names = end_names(graph)
    outputs = dict(zip(graph.outputs, names, strict=False))
    return outputs, dict(zip(graph.updates, names[len(outputs) :], strict=True))


class InPlaceOnnxStepper(InPlaceStepper):
    """Training on a CPU: onnxruntime computes the gradients, and NumPy updates the memory that it reads."""

    def __init__(self, setup: StepperSetup, split: SplitGraphs) -> None:
        update = InPlaceUpdate(split.update, setup.state, setup.loops, setup.compiles_update)
        arrays, gradients = update.arrays, update.gradients
        outputs, self.buffers = file_names(split.gradient)
        self.outputs = {name: end for name, end in outputs.items() if name not in gradients}
        # Waiting threads of onnxruntime would take the processors from the update.
        runner = graph_runner(split.gradient, lowest=OPSET, threads=setup.loops.threads, spins=False)
        self.binding = Binding(
            runner,
            {path: array for path, array in arrays.items() if path in runner.inputs},
            {outputs[name]: array for name, array in gradients.items()},
        )
        super().__init__(update, OnnxEvaluator(setup, arrays))

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the gradients and, if the loss is finite, the update."""
        results = self.binding.run(feeds)
        measured = {name: float(results[end]) for name, end in self.outputs.items()}
        self.finish_step(feeds, measured, {path: results[end] for path, end in self.buffers.items()})
        return measured


class OnnxStepper:
    """Training on a CPU by one graph, written for `target`: two copies of what changes are read and written in turn."""

    def __init__(self, setup: StepperSetup, target: Target = ORT_CPU) -> None:
        self.runner = graph_runner(setup.step, target, threads=setup.loops.threads)
        self.outputs, updates = file_names(setup.step)
        current = {path: np.array(setup.state.pop(path), order="C") for path in list(setup.state)}
        following = {path: current[path].copy() if path in updates else current[path] for path in current}
        self.states = current, following
        self.bindings = [
            Binding(
                self.runner,
                {path: array for path, array in read.items() if path in self.runner.inputs},
                {end: written[path] for path, end in updates.items()},
            )
            for read, written in (self.states, self.states[::-1])
        ]
        self.evaluator = OnnxEvaluator(setup, current)
        self.steps = 0

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the step from one copy of the state to the other."""
        results = self.bindings[self.steps % 2].run(feeds)
        self.steps += 1
        return {name: float(results[end]) for name, end in self.outputs.items()}

    def prepare_evaluation(self) -> None:
        """Build the evaluator."""
        self.evaluator.prepare()

    def evaluate(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the evaluation on the current values, or on their averages."""
        return self.evaluator.run(self.state(), feeds)

    def state(self) -> dict[str, Array]:
        """The current copy, which the step after the next writes over."""
        return dict(self.states[self.steps % 2])

    def before(self) -> dict[str, Array]:
        """The other copy: the state before the last step; empty before the first."""
        return dict(self.states[1 - self.steps % 2]) if self.steps else {}


class OnnxEvaluator:
    """The loss and the metrics on onnxruntime, on the weights of a state in NumPy's arrays or on their averages.

    Its session takes memory, and is created when it is needed: a run without validation data needs none.
    """

    def __init__(self, setup: StepperSetup, state: Mapping[str, Array], device: str = "cpu") -> None:
        self.graph, self.threads, self.device = setup.evaluation, setup.loops.threads, device
        names, _ = file_names(setup.evaluation)
        self.evaluated = {name: names[name] for name in setup.evaluated}
        read = {op.path for op in stored_operators(setup.evaluation)}
        self.averages = {path: setup.averages.get(path, path) for path in state if path in read}
        self.dtypes = {path: state[path].dtype for path in self.averages}

    @cached_property
    def runner(self) -> OnnxRunner:
        """The session of the evaluation."""
        return graph_runner(self.graph, device_named(self.device).target, device=self.device, threads=self.threads)

    def prepare(self) -> None:
        """Create the session."""
        self.runner  # noqa: B018

    def run(self, state: Mapping[str, Array], feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs that are needed."""
        runner = self.runner
        arrays = {path: state[own].astype(self.dtypes[path], copy=False) for path, own in self.averages.items()}
        arrays |= {name: np.asarray(array) for name, array in feeds.items() if name in runner.inputs}
        results = runner.run_values(
            {name: runner.value(array) for name, array in arrays.items()}, self.evaluated.values()
        )
        return {name: runner.array(results[end]) for name, end in self.evaluated.items()}
