"""Random programs have equations: every name is defined once, and before it is used."""

from __future__ import annotations

import re

import pytest

from compiler.formulas.gradient_equations import gradient_equations
from compiler.formulas.latex import latex_of
from compiler.formulas.model_equations import model_equations
from compiler.formulas.plain_text import text_of
from compiler.model_spec import ModelSpec, OptimizerSpec, TrainingSpec
from compiler.operators.leaves import Input
from compiler.operators.making import cast, sum_
from compiler.training.parameters import parameters_of
from compiler.types import DType, TensorType
from tests.models import elaborate

pytest.importorskip("torch", reason="the oracle extra is not installed")  # which the programs are drawn with

from tests.fuzz.statements import random_program


@pytest.mark.parametrize("seed", range(60))
def test_a_random_program_has_equations(seed: int) -> None:
    graph = elaborate(random_program(seed).text)
    losses = [cast(sum_(value), DType.F64) for value in graph.outputs.values() if value.type.dtype.is_float]
    floats = {name for name, value in graph.inputs.items() if value.type.dtype.is_float}
    if not losses:
        pytest.skip("no output is a float")
    loss = losses[0]
    for other in losses[1:]:
        loss = loss + other
    if not floats | set(parameters_of(loss)):
        pytest.skip("nothing has a gradient")
    step = Input("step", TensorType(DType.F32))()
    spec = ModelSpec(graph, {}, TrainingSpec(loss, OptimizerSpec({}), step))
    for section in (gradient_equations(spec), model_equations(graph)):
        latex = latex_of(section)
        assert latex.count(r"\left") == latex.count(r"\right")
        lines = [line for line in text_of(section).splitlines() if line and not line.startswith(("#", " "))]
        targets = [line.partition(" = ")[0] for line in lines]
        assert len(set(targets)) == len(targets)
        defined: set[str] = set()
        for line, target in zip(lines, targets, strict=True):
            used = {word for word in re.findall(r"[\w.]+'?", line.partition(" = ")[2]) if word in targets}
            assert used <= defined, line
            defined.add(target)
