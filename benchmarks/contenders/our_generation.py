"""Greedy generation by nablac: with the cache that it derives from the model, or computing all tokens again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import language_models
from benchmarks.contenders import WEIGHTS, Job
from compiler.decode import decode
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load
from compiler.passes.pipeline import optimize
from runtime.generation.decoders import Cached, Decoder, Layout, Recomputing
from runtime.generation.decoding import Limits, sample
from runtime.generation.machines import machine
from runtime.weights import load_weights, read_renames

SPECS = Path(__file__).parents[2] / "specs"


def import_packages(variant: str) -> None:
    if variant.startswith("ort"):
        import onnxruntime  # noqa: F401


def _limit_threads(threads: int) -> None:
    """Let sessions have so many threads: generation leaves the number to onnxruntime."""
    import onnxruntime

    class Limited(onnxruntime.SessionOptions):
        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = threads

    onnxruntime.SessionOptions = Limited


def generation(job: Job) -> Callable[[], np.ndarray]:
    graph = TextSource(load(SPECS / "gpt.model"), hypers=language_models.settings(job.case)).spec(training=False).graph
    renames = read_renames([str(SPECS / "renames" / "gpt2.rules")])
    weights = load_weights(job.folder / WEIGHTS, graph, renames)
    backend, _, uncached = job.variant.partition(" ")
    if backend == "ort":
        _limit_threads(job.threads)
    if uncached:
        decoder: Decoder = Recomputing("tokens", "logits", machine(optimize(graph), weights, backend, "cpu"))
    else:
        step = decode(graph)
        step = replace(step, step=optimize(step.step))
        decoder = Cached(Layout.of(step), None, machine(step.step, weights, backend, "cpu"))
    tokens, prompt = int(job.work.split()[1]), language_models.prompt(job.case)
    return lambda: np.array(sample(decoder, prompt, {}, Limits(tokens)))
