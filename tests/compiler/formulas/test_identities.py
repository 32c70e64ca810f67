"""What makes equations shorter changes no value: gradients before and after, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.formulas.identities import READABLE
from compiler.passes.rules import apply_rules
from compiler.passes.simplify import IDENTITIES
from compiler.training.gradients import gradient_graph
from compiler.types import DType
from runtime.numpy_executor import run
from runtime.signature import Signature
from tests.models import spec_of

torch = pytest.importorskip("torch")

from tests.compiler.formulas.networks import NETWORKS  # noqa: E402


@pytest.mark.parametrize("name", NETWORKS)
def test_identities_keep_the_values(name: str) -> None:
    network = NETWORKS[name]
    graph = gradient_graph(spec_of(network.text, training=True, dtype=DType.F64))
    short = apply_rules(apply_rules(apply_rules(graph, IDENTITIES), READABLE), IDENTITIES)
    assert len(short) < len(graph)
    generator = np.random.default_rng(3)
    values = {key: generator.normal(size=shape) for key, shape in network.shapes.items()}
    if network.classes:
        values["label"] = generator.integers(network.classes, size=network.sizes["batch"])
    needed = {key: value for key, value in values.items() if key in Signature.of(graph).types}
    before, after = run(graph, needed), run(short, needed)
    for key, expected in before.items():
        np.testing.assert_allclose(after[key], expected, rtol=1e-11, atol=1e-14)
