"""Before and after of every pass: a file of `rewrites/` for each, of small models with their dumps.

A file begins with a model in which a row's lines take the place of `ROW`, and may name passes that run `first`. Then
come its rows: a title, the lines, the
dump before the pass, and the dump after it; a row without the latter is left alone. Dumps are without the inputs and
the parameters. Each is also run on random and extreme inputs: what a pass keeps, it keeps there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.dump import dump
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.passes.bodies import everywhere
from compiler.passes.pipeline import Pass, Stage, all_passes, pass_names, passes_of, run_stage
from compiler.passes.rules import Rules, apply_rules
from compiler.targets import EXPORT_TARGETS, Target
from runtime.feeds import edge_feeds, random_feeds, sizes_from
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate

FOLDER = Path(__file__).with_name("rewrites")
BY_NAME: Mapping[str, Pass] = all_passes()
NAMES = pass_names()
NOT_FROM_A_TEXT = ("a cast to the same dtype",)  # rules whose pattern only built graphs have: see test_identities.py
_OUTSIDE = re.compile(r"^(graph |  input |  parameter |  buffer )")


@dataclass(frozen=True)
class Row:
    """One rewrite: a text, its dump before the pass and after it."""

    of: str
    title: str
    text: str
    before: str
    after: str
    first: tuple[str, ...]

    @cached_property
    def graph(self) -> Graph:
        graph = elaborate(self.text)
        for name in self.first:
            graph = BY_NAME[name].run(graph)
        return graph


def rows_of(name: str) -> Iterator[Row]:
    model, *rows = re.split(r"^=== ", (FOLDER / f"{name}.txt").read_text(), flags=re.MULTILINE)
    first: tuple[str, ...] = ()
    if model.startswith("first: "):
        line, _, model = model.partition("\n")
        first = tuple(line.removeprefix("first: ").split(", "))
    for row in rows:
        lines, *dumps = re.split(r"^--- (?:before|after)\n", row, flags=re.MULTILINE)
        title, _, text = lines.partition("\n")
        before, after = (each.rstrip() for each in (dumps * 2)[:2])
        yield Row(name, title, model.replace("ROW", text.strip().replace("\n", "\n    ")), before, after, first)


ROWS = [row for name in NAMES for row in rows_of(name)]


def shown(graph: Graph) -> str:
    return "\n".join(line for line in dump(graph).splitlines() if not _OUTSIDE.match(line))


def feeds_of(graph: Graph) -> Iterator[dict[str, Any]]:
    yield from (each.arrays for each in edge_feeds(graph))
    for size in (1, 5):
        yield random_feeds(graph, sizes_from(graph, size, size + 1), size)


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.of}: {row.title}") for row in ROWS])
def test_a_pass_does_what_its_table_says(row: Row) -> None:
    graph, each = row.graph, BY_NAME[row.of]
    changed = each.run(graph)
    verify(changed)
    assert shown(graph) == row.before
    assert shown(changed) == row.after
    assert changed is graph or row.before != row.after  # nothing after it need look at an unchanged graph
    assert shown(each.run(changed)) == row.after  # it has come to an end
    weights = initialize(graph, 1)
    for feeds in feeds_of(graph):
        with np.errstate(all="ignore"):
            wanted = run(graph, feeds, weights)
            given = run(changed, {name: feeds[name] for name in changed.inputs}, weights)
        for name, array in wanted.items():
            if each.keeps == "bits":
                assert given[name].tobytes() == array.tobytes() or _same_but_for_nan(given[name], array), name
            else:
                rtol = 1e-5 if array.dtype.itemsize > 2 else 2e-3  # of 16 bits, which a fused operator rounds once
                largest = float(np.max(np.abs(array[np.isfinite(array)]), initial=1.0))
                atol = 1e-6 * largest + rtol
                np.testing.assert_allclose(given[name], array, rtol=rtol, atol=atol, err_msg=name)


def _same_but_for_nan(left: Any, right: Any) -> bool:
    """Whether arrays have the same bits, but for those of NaN, which say nothing."""
    nan = np.isnan(left) & np.isnan(right)
    return left.shape == right.shape and np.where(nan, 0, left).tobytes() == np.where(nan, 0, right).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_pass_is_missed(name: str) -> None:
    """Without it one of its rows ends up as something else, whatever the other passes do."""
    changed = [row for row in ROWS if row.of == name and row.before != row.after]
    target = next(
        target for target in EXPORT_TARGETS.values() if name in (p.name for p in passes_of(*Stage, target=target))
    )
    assert any(shown(compiled(row.graph, target)) != shown(compiled(row.graph, target, name)) for row in changed)


def compiled(graph: Graph, target: Target, *disabled: str) -> Graph:
    """A graph after all stages that lead to an ONNX file, and what a gradient check begins with."""
    for stage in Stage:
        graph = run_stage(graph, stage, target, disabled=disabled)
    return graph


@pytest.mark.parametrize(
    ("name", "without"),
    [
        pytest.param(name, rule.name, id=f"{name}: {rule.name}")
        for name in NAMES
        for rule in BY_NAME[name].rules
        if rule.name not in NOT_FROM_A_TEXT
    ],
)
def test_every_rule_is_missed(name: str, without: str) -> None:
    """Without it one of the rows of its pass ends up as something else."""
    rules = BY_NAME[name].rules
    others = tuple(rule for rule in rules if rule.name != without)
    assert len(others) == len(rules) - 1, "two rules share a name"
    assert any(dump != shown(rewritten(graph, others)) for graph, dump in with_all_rules(name))


@cache
def with_all_rules(name: str) -> list[tuple[Graph, str]]:
    """The graphs of the rows that a pass changes, and their dumps after its rules."""
    graphs = [row.graph for row in ROWS if row.of == name and row.before != row.after]
    return [(graph, shown(rewritten(graph, BY_NAME[name].rules))) for graph in graphs]


def rewritten(graph: Graph, rules: Rules) -> Graph:
    return everywhere(partial(apply_rules, rules=rules))(graph)


@pytest.mark.parametrize("name", NAMES)
def test_every_pass_says_what_it_leaves_alone(name: str) -> None:
    alone = [row for row in ROWS if row.of == name and row.before == row.after]
    assert alone, f"{name} has no row that it leaves alone"


def test_every_file_is_of_a_pass() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)
