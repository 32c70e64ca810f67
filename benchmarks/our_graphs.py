"""Our side of a case: its source, its weights, and its ONNX files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.models import Case
from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from grammar.source import Source

if TYPE_CHECKING:
    from nablac.model import Model


def source_of(case: Case) -> TextSource:
    """The source of a case's model."""
    return TextSource(program_of(Source("case.model", case.text)), preset=case.preset, hypers=case.hypers)


def model_of(case: Case) -> Model:
    """A case's model, as a user has it."""
    from nablac.compiling import from_program

    program = program_of(Source("case.model", case.text))
    return from_program(program, preset=case.preset, hypers=case.hypers)


def weights_of(case: Case) -> dict[str, np.ndarray]:
    """Initial values with some noise, so that no weight is all zeros or ones, and a wrong copy shows in the results."""
    from runtime.initialization import initialize

    generator = np.random.default_rng(0)
    weights = {}
    for path, array in initialize(source_of(case).spec(training=False).graph, 0).items():
        if array.dtype.kind == "f":
            noise = generator.normal(0, 0.02, array.shape).astype(array.dtype)
            array = array + (abs(noise) if path.endswith("running_variance") else noise)
        weights[path] = array
    return weights
