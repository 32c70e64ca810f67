"""The workloads of a model that are profiled and benchmarked: inference, and the step of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY
from nablac.model_runner import ModelRunner
from runtime.feeds import random_feeds
from runtime.profiling.workload import Workload, batch_of, sizes_of_run

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.training.training_run import Training


def inference(
    model: Model, asked: Mapping[str, int], *, backend: str = "", device: str = "", keep_weights: bool = False
) -> Workload:
    """Calls of a model with random inputs, by default on its own backend.

    With `keep_weights` nothing is computed from weights beforehand.
    """
    backend, device = backend or model.backend, device or model.device
    graph = optimize(model.elaborated, NUMPY) if backend == "numpy" else model.graph
    sizes = sizes_of_run(graph, asked)
    feeds, weights = random_feeds(graph, sizes, model.seed, dead=0.0), dict(model.read_weights())
    runner = ModelRunner(graph, weights, backend, device, keep_weights=keep_weights)

    def run() -> None:
        _, updates = runner.run(feeds, dict(sizes), weights)
        weights.update(updates)  # of this workload: the model's own stay

    return Workload(model.name, "inference", backend, device, sizes, runner.run_graph, model.elaborated, run)


def training_steps(training: Training, asked: Mapping[str, int]) -> Workload:
    """Steps of a training on one random batch, with the backend of its options; the state changes as in a training."""
    import numpy as np

    written = training.step.measured
    sizes = sizes_of_run(written, asked, training.batch)
    training.options = replace(training.options, batch=batch_of(written, sizes, training.batch))
    feeds: dict[str, Any] = dict(random_feeds(written, sizes, training.seed, dead=0.0))
    dtypes = {name: value.type.dtype.numpy for name, value in written.inputs.items()}
    counters = {"step": 1, "seed": training.seed, "rate": 1.0}
    feeds |= {name: np.array(value, dtypes[name]) for name, value in counters.items() if name in dtypes}
    stepper = training.stepper(training.first_state())
    options = training.options
    return Workload(
        training.name,
        "training step",
        options.backend,
        options.device,
        sizes,
        training.step_graph,
        training.step.measured,
        lambda: stepper.step(feeds),
    )
