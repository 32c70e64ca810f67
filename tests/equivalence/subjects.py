"""Whole models: their forward graph, the gradient of their loss and a training step, with inputs for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.dims import evaluate
from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.model_spec import RATE, SEED, STEP
from compiler.training.gradients import gradient_graph
from compiler.training.step import training_step
from compiler.types import DType
from grammar.record import Record
from runtime.feeds import Feeds, edge_feeds, random_feeds, sizes_from
from runtime.initialization import initialize
from tests.models import spec_of

RANDOM = "random"
_SIZES = ((2, 3), (1, 5))  # of the batch and of other named dims


class Subject(Record):
    """A graph of a model, which is built anew for each variant: some passes run before differentiation."""

    name: str
    kind: str  # forward, gradient or step
    build: Callable[[DType], Graph]


def subjects(path: Path) -> Iterator[Subject]:
    """The graphs of every model of a file."""
    program = load(path)
    trained = {train.model.text for train in program.trains}
    for model in program.models:

        def spec(dtype: DType, training: bool, model: str = model.name) -> Any:
            return spec_of(program, training=training, model=model, dtype=dtype)

        name = f"{path.stem}.{model.name}"
        yield Subject(name, "forward", lambda dtype, spec=spec: spec(dtype, False).graph)  # type: ignore[misc]
        if model.name in trained:
            yield Subject(name, "gradient", lambda dtype, spec=spec: gradient_graph(spec(dtype, True)))  # type: ignore[misc]
            yield Subject(name, "step", lambda dtype, spec=spec: training_step(spec(dtype, True)).measured)  # type: ignore[misc]


def weights_of(graph: Graph) -> dict[str, Any]:
    """Weights that look trained: those that begin as 0 or 1 are other numbers; states and variances are positive."""
    rng = np.random.default_rng(3)
    return {
        path: (array * rng.uniform(0.5, 2, array.shape) + np.abs(0.1 * rng.normal(size=array.shape))).astype(
            array.dtype
        )
        if array.dtype.kind == "f"
        else array
        for path, array in initialize(graph, 1).items()
    }


def feeds_of(graph: Graph) -> Iterator[Feeds]:
    """Random inputs at some sizes, then the edge cases of `nablac verify`; of a step the first, third and so on."""
    for seed, (batch, length) in enumerate(_SIZES):
        sizes = sizes_from(graph, batch, length)
        if not _exist(graph, sizes):
            continue
        yield Feeds(RANDOM, dict(sizes), _with_counters(random_feeds(graph, sizes, seed), seed))
    smallest = sizes_from(graph, 1, 1, apart=False)
    for feeds in edge_feeds(graph) if _exist(graph, smallest) else ():
        yield Feeds(feeds.label, feeds.sizes, _with_counters(feeds.arrays, 2))


def _exist(graph: Graph, sizes: Mapping[str, int]) -> bool:
    """Whether there are inputs of these sizes: that of a gradient is as large as an output, which may be none."""
    return all(evaluate(size, sizes) >= 0 for value in graph.inputs.values() for size in value.shape)


def _with_counters(arrays: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The feeds with a possible number of a step, a key and a factor of the learning rate."""
    counters = {STEP: number + 1, SEED: 7 + number, RATE: 1}
    return {
        name: np.asarray(counters[name], array.dtype) if name in counters and array.ndim == 0 else array
        for name, array in arrays.items()
    }
