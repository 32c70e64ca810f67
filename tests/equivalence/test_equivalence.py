"""Whole models mean what their text says, whatever passes run; the rest of them in a campaign."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from compiler.graph import Graph, Value
from compiler.operators.arithmetic import Abs
from compiler.operators.comparison import Less, Where
from compiler.operators.leaves import constant
from compiler.targets import NUMPY
from tests.equivalence.comparison import Reference
from tests.equivalence.subjects import RANDOM, Subject, subjects
from tests.equivalence.variants import PassRuns, Variant, Which, variants
from tests.models import elaborate
from tests.paths import SPECS

FILES = sorted(SPECS.glob("*.model"))
FEW = [SPECS / f"{name}.model" for name in ("mlp", "lstm")]


def differences(path: Path, *which: Which) -> list[object]:
    """All differences of the graphs of a file's models."""
    listed: list[object] = []
    for subject in subjects(path):
        reference = Reference(subject)
        for name in which:
            for variant in variants(name):
                listed += [vars(difference) for difference in reference.check(variant)]
        assert reference.compared, f"nothing was compared of {subject.name}"
    return listed


@pytest.mark.parametrize("path", FEW, ids=lambda path: path.stem)
def test_all_passes_together_change_nothing(path: Path) -> None:
    assert differences(path, "all") == []


class Wrong(Variant):
    """A variant that changes outputs by a little more than rounding."""

    def optimized(self, graph: Graph, runs: PassRuns) -> Graph:
        return Graph(graph.inputs, {name: value * (1 + 2e-6) for name, value in graph.outputs.items()}, graph.updates)


def test_a_pass_that_changes_a_result_is_noticed() -> None:
    reference = Reference(next(subjects(SPECS / "mlp.model")))
    noticed = list(reference.check(Wrong("wrong", frozenset(), NUMPY, True)))
    assert {difference.end for difference in noticed} == {f"output {name}" for name in reference.graph.outputs}


class Finite(Variant):
    """A variant that has 0 for infinities and NaN."""

    def optimized(self, graph: Graph, runs: PassRuns) -> Graph:
        return Graph(graph.inputs, {name: _finite(value) for name, value in graph.outputs.items()}, graph.updates)


def _finite(value: Value) -> Value:
    dtype = value.type.dtype
    return Where()(Less()(Abs()(value), constant(math.inf, dtype)), value, constant(0.0, dtype))


@pytest.mark.parametrize(
    ("result", "noticed"),
    [
        ("x / x", {"zeros", "halves", "limits of the dtype", "infinities", "NaN"}),
        ("log(x * 0)", {"single", "zeros", "ties", "large", "halves", "limits of the dtype", "infinities", "NaN"}),
        ("x ** 2 - x ** 2", {"infinities", "NaN"}),  # finite numbers give NaN only where their squares overflow
        ("exp(x) / (1 + exp(x))", {"infinities", "NaN"}),
    ],
)
def test_only_what_overflows_may_become_finite(result: str, noticed: set[str]) -> None:
    text = f"model M {{ input x: [batch, 9]; output y = {result} }}"
    reference = Reference(Subject("M", "forward", lambda dtype: elaborate(text, dtype=dtype)))
    differences = reference.check(Finite("finite", frozenset(), NUMPY, True))
    assert {difference.feeds for difference in differences} - {RANDOM} == noticed


@pytest.mark.campaign
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_pass_changes_anything(path: Path) -> None:
    assert differences(path, "all", "alone", "without") == []
