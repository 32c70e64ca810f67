"""Whole models mean what their text says, whatever passes run; the rest of them in a campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.graph import Graph
from compiler.targets import NUMPY
from tests.equivalence.comparison import Reference
from tests.equivalence.subjects import subjects
from tests.equivalence.variants import PassRuns, Variant, Which, variants
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


@pytest.mark.campaign
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_pass_changes_anything(path: Path) -> None:
    assert differences(path, "all", "alone", "without") == []
