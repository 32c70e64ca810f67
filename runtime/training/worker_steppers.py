"""Training steps on a worker's share of a batch: segments on a backend, with reductions over the workers between."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from compiler.dims import symbols
from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY, ORT_CPU, Target
from compiler.training.segments import Reduced, Segments, cut
from runtime.numpy_chains import LoopSettings
from runtime.numpy_executor import NumpyRunner
from runtime.training.in_place_update import InPlaceUpdate
from runtime.training.steppers import Evaluator, InPlaceStepper, NumpyEvaluator, SplitGraphs, StepperSetup
from runtime.training.thread_choice import blas_limit
from runtime.workers.collective import By, Collective

if TYPE_CHECKING:
    from compiler.types import Array

Run = Callable[[Mapping[str, "Array"]], Mapping[str, "Array"]]


class SegmentedRun:
    """A graph in segments, which `build` makes functions of."""

    def __init__(
        self, segments: Segments, collective: Collective, batch: set[str], build: Callable[[Graph], Run]
    ) -> None:
        self.segments, self.collective, self.batch = segments, collective, batch
        self.whole = [build(segment.graph) for segment in segments.segments]
        self.alone = [build(segment.alone) for segment in segments.segments]

    def run(self, feeds: Mapping[str, Array], has_examples: bool) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs by name, and the next values by path; a worker without examples adds nothing to either."""
        values = dict(feeds)
        for segment, run in zip(self.segments.segments, self.whole if has_examples else self.alone, strict=True):
            values.update(run(values))
            for by, group in _groups(segment.reductions):
                if not has_examples:
                    sizes = _sizes(segment.graph, feeds)
                    values |= {part.name: _nothing(part, sizes) for part in group if part.of_examples}
                self._reduce(group, by, values)
        outputs, updates = self.segments.outputs, self.segments.updates
        return (
            {name: values[label] for name, label in outputs.items()},
            {path: values[label] for path, label in updates.items()},
        )

    def _reduce(self, group: Sequence[Reduced], by: By, values: dict[str, Array]) -> None:
        """Reduce arrays of one dtype as one array."""
        arrays = [np.asarray(values[part.name]) for part in group]
        flat = np.concatenate([array.reshape(-1) for array in arrays])
        self.collective.reduce(flat, by)
        start = 0
        for part, array in zip(group, arrays, strict=True):
            values[part.name] = flat[start : start + array.size].reshape(array.shape)
            start += array.size


def _groups(reductions: Sequence[Reduced]) -> Iterator[tuple[By, list[Reduced]]]:
    """Reductions of one kind and dtype, in an order that is the same at every worker."""

    def kind(reduced: Reduced) -> tuple[str, str]:
        return reduced.by, str(reduced.type.dtype)

    for (by, _), group in itertools.groupby(sorted(reductions, key=kind), kind):
        yield By(by), list(group)


def _sizes(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, int]:
    """The sizes of the named dims that are whole axes of a batch."""
    sizes: dict[str, int] = {}
    for name, value in graph.inputs.items():
        if name in feeds:
            for size, length in zip(value.shape, np.shape(feeds[name]), strict=True):
                if str(size) in symbols(size):
                    sizes[str(size)] = length
    return sizes


def _nothing(part: Reduced, sizes: Mapping[str, int]) -> Array:
    """What a worker without examples adds to a reduction."""
    shape = cast("tuple[int, ...]", part.type.bind(sizes).shape)
    return np.full(shape, part.identity, part.type.dtype.numpy)


class WorkerStepper(InPlaceStepper):
    """Training on a CPU by one of several workers, each of which has the whole state."""

    def __init__(
        self, update: InPlaceUpdate, evaluator: Evaluator, gradient: SegmentedRun, setup: StepperSetup
    ) -> None:
        super().__init__(update, evaluator)
        self.gradient = gradient
        self.limit = blas_limit(setup.loops.threads)
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
        with self.limit():
            outputs, buffers = self.gradient.run(feeds, has_examples)
        gradients = {name: outputs.pop(name) for name in self.update.gradients}
        results = {name: float(value) for name, value in outputs.items()}
        self.finish_step(feeds, results, buffers, gradients)
        return results


def worker_stepper(
    setup: StepperSetup, split: SplitGraphs, collective: Collective, batch: set[str], backend: str
) -> WorkerStepper:
    """A worker's stepper on a backend; the sizes of axes of examples are made of the dims in `batch`."""
    update = InPlaceUpdate(split.update, setup.state, setup.loops, setup.compiles_update)
    arrays = update.arrays
    evaluator: Evaluator
    if backend == "numpy":
        evaluator, build = NumpyEvaluator(setup, arrays), numpy_segment(arrays, setup.loops)
    else:
        from runtime.training.onnx_steppers import OnnxEvaluator

        evaluator, build = OnnxEvaluator(setup, arrays), onnx_segment(arrays, setup.loops)
    return WorkerStepper(update, evaluator, SegmentedRun(cut(split.gradient, batch), collective, batch, build), setup)


def numpy_segment(arrays: Mapping[str, Array], loops: LoopSettings) -> Callable[[Graph], Run]:
    """What builds segments on the NumPy runtime, over the arrays of a state."""

    def build(graph: Graph) -> Run:
        if not graph.outputs:
            return lambda values: {}
        runner = NumpyRunner(optimize(graph, NUMPY), arrays, loops)
        runner.weights.update({path: arrays[path] for path in runner.weights})
        return lambda values: runner.run_step({name: values[name] for name in runner.graph.inputs})[0]

    return build


def onnx_segment(arrays: Mapping[str, Array], loops: LoopSettings, target: Target = ORT_CPU) -> Callable[[Graph], Run]:
    """What builds segments on onnxruntime, over the arrays of a state."""
    from runtime.onnx_binding import Binding
    from runtime.training.onnx_steppers import OPSET, file_names, graph_runner

    def build(graph: Graph) -> Run:
        if not graph.outputs:
            return lambda values: {}
        graph = optimize(graph, target)
        names, _ = file_names(graph)
        runner = graph_runner(graph, lowest=OPSET, threads=loops.threads, spins=False)
        binding = Binding(runner, {path: array for path, array in arrays.items() if path in runner.inputs}, {})

        def run(values: Mapping[str, Any]) -> Mapping[str, Array]:
            results = binding.run({name: values[name] for name in binding.fed})
            return {name: results[end] for name, end in names.items()}

        return run

    return build
