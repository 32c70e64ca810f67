"""Random programs by their passes: all, each alone and all but each, with known weights, for several targets.

Where `checks.py` compares with PyTorch, this compares with NumPy on the graph as written, at the edges too.
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler.graph import Graph
from compiler.passes.pipeline import Stage, run_stage
from compiler.types import DType
from tests.equivalence.comparison import Difference, Reference
from tests.equivalence.subjects import Subject
from tests.equivalence.variants import TARGETS, variants
from tests.fuzz.checks import differentiated
from tests.fuzz.program import Program
from tests.models import elaborate


def subjects_of(program: Program) -> Iterator[Subject]:
    """The graph of a program, and that of the gradients of its outputs."""

    def forward(dtype: DType) -> Graph:
        return elaborate(program.text, dtype=dtype)

    def gradient(dtype: DType) -> Graph:
        graph = run_stage(forward(dtype), Stage.BEFORE_GRADIENT)
        return differentiated(graph, floats, False)[0]

    yield Subject("M", "forward", forward)
    floats = [name for name, value in forward(DType.F64).outputs.items() if value.type.dtype.is_float]
    if floats and gradient(DType.F64).outputs:
        yield Subject("M", "gradient", gradient)


def differences(program: Program, seed: int, onnx: bool = True) -> Iterator[Difference]:
    """Where the results of a program depend on its passes: on all for each target, on each for one, by the seed."""
    target = TARGETS[seed % len(TARGETS)]
    for subject in subjects_of(program):
        reference = Reference(subject, strict=False)
        for variant in (*variants("all"), *variants("alone", [target]), *variants("without", [target])):
            yield from reference.check(variant, onnx)
