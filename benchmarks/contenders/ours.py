"""nablac: training as `nablac train` runs it, inference from the file that `nablac compile` writes, or by NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.contenders import WEIGHTS, Job
from benchmarks.our_graphs import model_of, source_of
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from compiler.training.losses import loss_graph
from grammar.source import Source
from runtime.onnx_session import OnnxRunner
from runtime.training.loop_choice import LONG_RUN
from runtime.training.memory_budget import known_sizes
from runtime.training.run_options import Options
from runtime.training.steppers import Stepper
from runtime.training.training_run import Training

SMALLEST = """
model M { input x: [batch, 1]; y = x -> Dense(1); output y }
train M { target t: [batch, 1]; loss mse(y, t); optimizer adam() }
"""


def import_packages(variant: str) -> None:
    import networkx  # noqa: F401 - which some passes import when they are needed
    import onnx

    onnx.defs.get_schema("Add")  # the first look-up registers all operators

    zeros = np.zeros((1, 1), np.float32)
    feeds = {"x": zeros, "t": zeros}
    _stepper(TextSource(program_of(Source("smallest.model", SMALLEST))), variant, feeds, {}).step(
        {**feeds, "step": np.array(1, np.float32), "seed": np.array(1)}
    )


def _stepper(
    source: TextSource, variant: str, feeds: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
) -> Stepper:
    backend, _, plain = variant.partition(" ")
    options = Options(backend=backend, batch=len(feeds["t"]), jit=False if plain else None)
    run = Training(source, options=options)
    run.sizes = known_sizes(loss_graph(run.elaborated), len(feeds["t"]), feeds)
    return run.stepper({path: weights.get(path, array) for path, array in run.first_state().items()}, LONG_RUN)


def training(job: Job) -> Callable[[], float]:
    stepper = _stepper(source_of(job.network()), job.variant, job.feeds(), job.weights())
    feeds, number = job.feeds(), 0

    def step() -> float:
        nonlocal number
        number += 1
        return stepper.step({**feeds, "step": np.array(number, np.float32), "seed": np.array(number)})["loss"]

    return step


def inference(job: Job) -> Callable[[], np.ndarray]:
    output, inputs = job.network().output, job.network().inputs()
    if job.variant == "ort":
        runner = OnnxRunner(job.folder / "nablac.onnx", threads=job.threads)
        return lambda: runner.run(inputs)[output]
    model = model_of(job.network()).load(job.folder / WEIGHTS)
    return lambda: model(**inputs)[output]


def gradient(job: Job) -> Callable[[], float]:
    runner = OnnxRunner(job.folder / "gradient.onnx", threads=job.threads)
    feeds = {name: array for name, array in (job.weights() | job.feeds()).items() if name in runner.inputs}
    return lambda: float(runner.run(feeds)["loss"])
