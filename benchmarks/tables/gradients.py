"""The loss and its gradients for all weights as one ONNX graph: ours, onnx-ad's of our loss, and PyTorch's backward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.results import Row
from benchmarks.tables import Settings
from benchmarks.tables.rows import competition_rows

NOTE = "Weights are inputs of both graphs. onnx-ad differentiates the loss that we export without gradients."
NAMES = ["nablac ort", "torch", "onnx-ad"]
CASES = [f"{kind} {size}" for kind in ("mlp", "cnn", "lstm", "transformer") for size in ("small", "large")]


def rows(settings: Settings) -> Iterator[Row]:
    alone = replace(settings, threads=(1,))
    for case in settings.chosen([case for case in CASES if not settings.quick or case.endswith("small")]):
        yield from competition_rows("gradient", case, "gradient", settings.competing(NAMES), alone)
