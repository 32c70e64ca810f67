"""Training steps on a worker's share of a batch: segments on a backend, with reductions over the workers between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import symbols
from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from compiler.targets import LOWEST_OPSET, NUMPY, ORT_CPU
from compiler.training.segments import cut
from runtime.backends import device_named
from runtime.numpy_chains import LoopSettings
from runtime.numpy_executor import NumpyRunner
from runtime.training.in_place_update import InPlaceUpdate
from runtime.training.segmented_run import Run, SegmentBackend, SegmentedRun
from runtime.training.steppers import Evaluator, InPlaceStepper, NumpyEvaluator, SplitGraphs, StepperSetup
from runtime.workers.collective import Collective
from runtime.workers.devices import device_of_worker

if TYPE_CHECKING:
    from compiler.types import Array


class WorkerStepper(InPlaceStepper):
    """Training by one of several workers, each of which has the whole state, in the memory of the CPU."""

    def __init__(
        self, update: InPlaceUpdate, evaluator: Evaluator, gradient: SegmentedRun, setup: StepperSetup
    ) -> None:
        super().__init__(update, evaluator)
        self.gradient = gradient
        self.counted = [
            name
            for name, value in setup.step.inputs.items()
            if value.shape and symbols(value.shape[0]) & gradient.batch
        ]

    def step(self, feeds: Mapping[str, Array]) -> dict[str, float]:
        """Run the segments and, if the loss of the whole batch is finite, the update."""
        has_examples = all(len(feeds[name]) for name in self.counted)
        if not has_examples:  # sizes are at least 1, and what runs then does not depend on this example
            feeds = {
                **feeds,
                **{name: np.zeros_like(feeds[name], shape=(1, *feeds[name].shape[1:])) for name in self.counted},
            }
        outputs, buffers = self.gradient.run(feeds, has_examples)
        gradients = {name: outputs.pop(name) for name in self.update.gradients}
        results = {name: float(value) for name, value in outputs.items()}
        self.finish_step(feeds, results, buffers, gradients)
        return results


def worker_stepper(
    setup: StepperSetup,
    split: SplitGraphs,
    collective: Collective,
    batch: set[str],
    backend: str,
    overlaps: bool,
    device: str = "cpu",
) -> WorkerStepper:
    """A worker's stepper on a backend; the sizes of axes of examples are made of the dims in `batch`.

    With `cuda` it is the worker's own device.
    """
    device = device_of_worker(device, collective)
    update = InPlaceUpdate(split.update, setup.state, setup.loops, setup.compiles_update)
    arrays = update.arrays
    evaluator: Evaluator
    segments: SegmentBackend
    if backend == "numpy":
        evaluator, segments = NumpyEvaluator(setup, arrays), NumpySegments(arrays, setup.loops)
    else:
        from runtime.training.onnx_steppers import OnnxEvaluator

        evaluator, segments = OnnxEvaluator(setup, arrays, device), OnnxSegments(arrays, setup.loops, device)
    gradient = SegmentedRun(cut(split.gradient, batch), collective, batch, segments, overlaps)
    return WorkerStepper(update, evaluator, gradient, setup)


class NumpySegments:
    """Segments on the NumPy runtime, over the arrays of a state."""

    def __init__(self, arrays: Mapping[str, Array], loops: LoopSettings) -> None:
        self.arrays, self.loops = arrays, loops

    def optimize(self, graph: Graph) -> Graph:
        """The graph as it is built."""
        return optimize(graph, NUMPY)

    def build(self, graph: Graph, bound: Mapping[str, Array]) -> Run:
        """A function of an optimised graph, which copies its outputs in `bound` there and returns the others."""
        if not graph.outputs:
            return lambda values: {}
        runner = NumpyRunner(graph, self.arrays, self.loops)
        runner.weights.update({path: self.arrays[path] for path in runner.weights})

        def run(values: Mapping[str, Array]) -> Mapping[str, Array]:
            results, _ = runner.run_step({name: values[name] for name in runner.graph.inputs})
            for name, array in bound.items():
                array[...] = results.pop(name)
            return results

        return run


class OnnxSegments:
    """Segments on onnxruntime on a device, over the arrays of a state, which are copied to one that is no CPU."""

    def __init__(self, arrays: Mapping[str, Array], loops: LoopSettings, device: str = "cpu") -> None:
        self.arrays, self.loops, self.device = arrays, loops, device
        self.target = device_named(device).target

    def optimize(self, graph: Graph) -> Graph:
        """The graph as it is built."""
        return optimize(graph, self.target)

    def build(self, graph: Graph, bound: Mapping[str, Array]) -> Run:
        """A function of an optimised graph, whose outputs in `bound` are computed there; it returns the others."""
        from runtime.onnx_binding import Binding
        from runtime.training.onnx_steppers import OPSET, file_names, graph_runner

        if not graph.outputs:
            return lambda values: {}
        names, _ = file_names(graph)
        lowest = OPSET if self.target is ORT_CPU else LOWEST_OPSET
        threads = self.loops.threads
        runner = graph_runner(graph, self.target, lowest, device=self.device, threads=threads, spins=False)
        read = {path: array for path, array in self.arrays.items() if path in runner.inputs}
        binding = Binding(runner, read, {names[name]: array for name, array in bound.items()})
        new = {name: end for name, end in names.items() if name not in bound}

        def run(values: Mapping[str, Any]) -> Mapping[str, Array]:
            results = binding.run({name: values[name] for name in binding.other_inputs})
            return {name: results[end] for name, end in new.items()}

        return run
