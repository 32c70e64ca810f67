"""How people write normalisations and activations: each writing becomes its operator, and what is only near does not.

A file of `writings/` begins with a model in which a row's lines take the place of `ROW`. The title of a row says which
function it is, and then who writes it so or how; a near miss is `left alone`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.operators.leaves import Placeholder
from compiler.operators.shaping import Reshape
from compiler.passes.pipeline import Stage, optimize, run_stage
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
F = torch.nn.functional
FOLDER = Path(__file__).with_name("writings")
LEFT_ALONE = "left alone"
LEAST = 24  # writings, and near misses, of each family

Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """An operator, and PyTorch's function of the inputs and the parameters of a table's model."""

    operator: str
    oracle: Callable[[Tensors], Any]


NORMS = {
    "layer norm": Function("layer_normalization", lambda t: F.layer_norm(t["x"], (6,), t["g"], t["b"], 1e-5)),
    "layer norm alone": Function("layer_normalization", lambda t: F.layer_norm(t["x"], (6,), None, None, 1e-5)),
    "layer norm of two axes": Function("layer_normalization", lambda t: F.layer_norm(t["x"], (4, 6), t["G"], t["B"])),
    "rms norm": Function("rms_normalization", lambda t: F.rms_norm(t["x"], (6,), t["g"], 1e-5)),
    "instance norm": Function(
        "instance_normalization", lambda t: F.instance_norm(t["image"], None, None, t["c"], t["d"], eps=1e-5)
    ),
    "group norm": Function("group_normalization", lambda t: F.group_norm(t["image"], 2, t["c"], t["d"], 1e-5)),
    "batch norm": Function(
        "batch_normalization", lambda t: F.batch_norm(t["image"], t["centre"], t["spread"], t["c"], t["d"], eps=1e-5)
    ),
    "batch norm of rows": Function(
        "batch_normalization", lambda t: F.batch_norm(t["rows"], t["centre"], t["spread"], t["c"], t["d"], eps=1e-5)
    ),
}
ACTIVATIONS = {
    "gelu": Function("gelu", lambda t: F.gelu(t["x"])),
    "gelu by tanh": Function("gelu", lambda t: F.gelu(t["x"], approximate="tanh")),
    "hard sigmoid": Function("hard_sigmoid", lambda t: F.hardsigmoid(t["x"])),
    "hard swish": Function("hard_swish", lambda t: F.hardswish(t["x"])),
    "mish": Function("mish", lambda t: F.mish(t["x"])),
    "silu": Function("silu", lambda t: F.silu(t["x"])),
}
FAMILIES: Mapping[str, Mapping[str, Function]] = {"norms": NORMS, "activations": ACTIVATIONS}


@dataclass(frozen=True)
class Writing:
    """One row: its family, the function that it is or `left alone`, its title, and the whole text of its model."""

    family: str
    function: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.function}: {self.title}"


def rows_of(family: str) -> Iterator[Writing]:
    model, *rows = re.split(r"^=== ", (FOLDER / f"{family}.txt").read_text(), flags=re.MULTILINE)
    for row in rows:
        heading, _, lines = row.partition("\n")
        function, _, title = heading.partition(": ")
        yield Writing(family, function, title, model.replace("ROW", lines.strip().replace("\n", "\n    ")))


ROWS = [row for family in FAMILIES for row in rows_of(family)]
WRITINGS = [row for row in ROWS if row.function != LEFT_ALONE]
NEAR_MISSES = [row for row in ROWS if row.function == LEFT_ALONE]


def compiled(graph: Graph) -> Graph:
    """A graph as it is exported."""
    return run_stage(optimize(graph), Stage.EXPORT)


def operators_of(graph: Graph) -> list[str]:
    """The names of the operators that compute something."""
    return [node.op.name for node in graph if node.operands and not isinstance(node.op, (Placeholder, Reshape))]


def tensors_of(graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays in f64 for the inputs and the parameters of a graph."""
    random = np.random.default_rng(0)
    feeds = {name: 2 * random.standard_normal(value.shape) + 0.5 for name, value in graph.inputs.items()}
    return feeds, {path: np.asarray(array, np.float64) for path, array in initialize(graph, 3).items()}


@pytest.mark.parametrize("writing", WRITINGS, ids=str)
def test_a_writing_becomes_its_operator(writing: Writing) -> None:
    function = FAMILIES[writing.family][writing.function]
    graph = elaborate(writing.text, dtype=DType.F64)
    feeds, weights = tensors_of(graph)
    better = compiled(graph)
    assert operators_of(better) == [function.operator]
    (result,) = run(better, feeds, weights).values()
    expected = function.oracle({name: torch.tensor(array) for name, array in (feeds | weights).items()})
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("near_miss", NEAR_MISSES, ids=str)
def test_a_near_miss_is_left_alone(near_miss: Writing) -> None:
    graph = elaborate(near_miss.text, dtype=DType.F64)
    feeds, weights = tensors_of(graph)
    better = compiled(graph)
    assert not {function.operator for function in FAMILIES[near_miss.family].values()} & set(operators_of(better))
    with np.errstate(invalid="ignore"):  # of the root of a negative number
        written, results = (run(each, feeds, weights) for each in (graph, better))
    for name, array in written.items():
        np.testing.assert_allclose(results[name], array, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_table_has_enough_rows(family: str) -> None:
    assert len([row for row in WRITINGS if row.family == family]) >= LEAST
    assert len([row for row in NEAR_MISSES if row.family == family]) >= LEAST
    assert {row.function for row in WRITINGS if row.family == family} == set(FAMILIES[family])
