"""The workloads of a model that are profiled and benchmarked: inference, and the step of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from nablac.model_runner import ModelRunner
from runtime.feeds import random_feeds
from runtime.profiling.workload import Workload, batch_of, sizes_of_run

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.training.steppers import Stepper
    from runtime.training.training_run import Training


def inference(
    written: Graph,
    graph: Graph,
    weights: Mapping[str, Array],
    chosen_sizes: Mapping[str, int],
    *,
    backend: str,
    device: str,
    seed: int,
    keep_weights: bool = False,
) -> Workload:
    """Calls of an optimised graph, made of `written`, with random inputs at the chosen sizes of named dims.

    With `keep_weights` nothing is computed from weights beforehand.
    """
    sizes = sizes_of_run(graph, chosen_sizes)
    feeds, state = random_feeds(graph, sizes, seed, dead=0.0), dict(weights)
    runner = ModelRunner(graph, state, backend, device, keep_weights=keep_weights)

    def run() -> None:
        _, updates = runner.run(feeds, dict(sizes), state)
        state.update(updates)  # of this workload: the model's own stay

    return Workload(graph.name, "inference", backend, device, sizes, runner.run_graph, written, run)


def training_steps(training: Training, chosen_sizes: Mapping[str, int]) -> Workload:
    """Steps of a long training on one random batch, with the backend of its options; the state changes as in one."""
    return random_steps(training, chosen_sizes).workload


@dataclass(frozen=True, eq=False)
class RandomSteps:
    """Steps on one random batch: the training with that batch's size, its stepper, and the feeds of a step."""

    training: Training
    stepper: Stepper
    feeds: Mapping[str, Any]
    sizes: Mapping[str, int]

    @property
    def workload(self) -> Workload:
        """What is measured of them."""
        training, stepper, feeds = self.training, self.stepper, self.feeds
        return Workload(
            training.name,
            "training step",
            training.options.backend,
            training.options.device,
            self.sizes,
            training.step_graph,
            training.step.measured,
            lambda: stepper.step(feeds),
        )


def random_steps(training: Training, chosen_sizes: Mapping[str, int]) -> RandomSteps:
    """Steps of a long training on one random batch, with the chosen sizes of named dims."""
    import numpy as np

    from compiler.training.losses import loss_graph
    from runtime.training.loop_choice import LONG_RUN

    read = loss_graph(training.elaborated)
    sizes = sizes_of_run(read, chosen_sizes, training.batch)
    options = replace(training.options, batch=batch_of(read, sizes, training.batch))
    training = replace(training, options=options, sizes=sizes)
    written = training.step.measured
    feeds: dict[str, Any] = dict(random_feeds(written, sizes, training.seed, dead=0.0))
    dtypes = {name: value.type.dtype.numpy for name, value in written.inputs.items()}
    counters = {"step": 1, "seed": training.seed, "rate": 1.0}
    feeds |= {name: np.array(value, dtypes[name]) for name, value in counters.items() if name in dtypes}
    return RandomSteps(training, training.stepper(training.first_state(), LONG_RUN), feeds, sizes)
