"""The forward pass with the same weights and inputs, each contender from the file or module that its users have."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cases import CASES
from benchmarks.results import Row
from benchmarks.tables import Settings
from benchmarks.tables.rows import competition_rows

NOTE = """"nablac ort" runs the file that `nablac compile` writes as `nablac run` does, which disables onnxruntime's
SkipLayerNormFusion. The files of torch.onnx (dynamo, its default opset) run in a plain session, as its users have them.
Outputs agree with ours to 1e-3 of the largest number."""
SMALL = ["nablac ort", "nablac numpy", "torch", "torch.onnx", "keras on jax"]
LARGE = ["nablac ort", "torch", "torch.compile", "torch.onnx", "torch.onnx + onnxsim"]
ALONE = ["keras on jax", "torch.compile"]  # on one thread only
QUICK_CASES = [
    case for case in CASES if case not in ("transformer large", "resnet18 64x64", "gpt2 small", "resnet50 b8")
]


def rows(settings: Settings) -> Iterator[Row]:
    for case in settings.chosen(QUICK_CASES if settings.quick and not settings.cases else list(CASES)):
        names = settings.competing(SMALL if case.endswith("small") and not case.startswith("gpt2") else LARGE)
        yield from competition_rows("inference", case, "inference", names, settings, alone=ALONE)
