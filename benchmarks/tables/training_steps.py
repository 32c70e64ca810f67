"""A training step with the same weights and inputs: loss, gradients and Adam at a rate of 1e-3."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cases import TRAINED
from benchmarks.results import Row
from benchmarks.tables import Settings
from benchmarks.tables.rows import competition_rows

NOTE = """PyTorch has the fused Adam, but for the column of the default one. The first loss of each agrees with ours to
1e-4. Steps 3 and 4 are the first with all memory in use. "nablac ort" is a step of a long run of `nablac train
--backend ort`: its update is compiled if numba is installed, and in "no jit" it is not."""
NAMES = [
    "nablac ort", "nablac ort, no jit", "nablac numpy", "torch", "torch, default Adam", "torch.compile", "keras on jax",
]  # fmt: skip
BIG = ["nablac ort", "nablac ort, no jit", "torch", "torch.compile"]  # for networks of millions of weights
ALONE = ["nablac ort, no jit", "torch, default Adam", "torch.compile", "keras on jax"]  # on one thread only
QUICK_CASES = [case for case in TRAINED if case not in ("transformer large", "resnet18 64x64", "gpt2 small")]


def rows(settings: Settings) -> Iterator[Row]:
    for case in settings.chosen(QUICK_CASES if settings.quick and not settings.cases else list(TRAINED)):
        names = settings.competing(BIG if case.startswith(("resnet18", "gpt2")) else NAMES)
        yield from competition_rows("training", case, "training", names, settings, alone=ALONE)
