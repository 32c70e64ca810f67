"""Weights that are known when a model is compiled: what becomes of them, and that results stay the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.onnx.exporter import export
from compiler.operators.leaves import Stored
from compiler.passes.known_weights import KnownWeights, with_known_weights
from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY, ORT_CPU
from compiler.types import DType
from runtime.feeds import random_feeds, sizes_from
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner, run
from runtime.onnx_file import save
from runtime.onnx_session import OnnxRunner
from runtime.verification import relative_error
from tests.models import elaborate
from tests.paths import SPECS

CHANGED = [
    SPECS / f"{name}.model" for name in ("characters", "forecaster", "gru", "llama", "lstm", "resnet", "rnn", "t5")
]
NORM = "model M {{\n    input x: [b, 2, 6, 6]\n    output y = x -> {layers}\n}}\n"
TIED = """model M {
    input tokens: i64[b, t]
    param table: [4000, 3] ~ normal(0.5)
    x = take(table, tokens, axis: 0)
    output y = x @ table^T
}
"""
STATEFUL = """model M {
    input x: [b, 2, 6, 6]
    buffer shift: [2] = 0.5
    param scale: [2] ~ normal(0.5)
    param W: [2, 2, 3, 3] ~ normal(0.5)
    shift' = shift + 1
    output y = (conv(x, W) - reshape(shift, [2, 1, 1])) * reshape(scale, [2, 1, 1])
}
"""


def graph_of(text: str, dtype: DType = DType.F32) -> Graph:
    return optimize(elaborate(text, dtype=dtype))


def drawn(graph: Graph) -> dict[str, Any]:
    """Weights that look trained: those that begin as 0 or 1 are other numbers."""
    rng = np.random.default_rng(3)
    return {
        path: np.abs(array * rng.uniform(0.5, 2, array.shape) + 0.1 * rng.normal(size=array.shape)).astype(array.dtype)
        for path, array in initialize(graph, 1).items()
    }


def paths(graph: Graph) -> list[str]:
    return [node.op.path for node in graph if isinstance(node.op, Stored)]


def operators(known: KnownWeights) -> list[str]:
    return [node.op.name for node in known.graph if node.operands]


@pytest.mark.parametrize("path", CHANGED, ids=lambda path: path.stem)
def test_a_spec_has_the_results_that_it_had(path: Path) -> None:
    """In f64, as NumPy runs the text, to within 1e-9; the graph stays well formed."""
    program = load(path)
    text = elaborate(program, model=program.models[0].name, dtype=DType.F64)
    weights = drawn(text)
    feeds = random_feeds(text, sizes_from(text, 2, 5), 0)
    expected = run(text, feeds, weights)
    for target in (ORT_CPU, NUMPY):
        known = with_known_weights(optimize(text, target), weights, target)
        verify(known.graph)
        for name, array in NumpyRunner(known.graph, known.weights).run(feeds).items():
            assert relative_error(array, expected[name]) < 1e-9, (target.name, name)


def test_a_residual_network_is_convolutions_and_nothing_of_its_norms() -> None:
    """With 50 layers it has as many nodes as PyTorch's exporter needs: 122."""
    program = load(SPECS / "resnet.model")
    hypers = {"blocks": [3, 4, 6, 3], "bottleneck": True, "width": 2}
    graph = optimize(elaborate(program, model="ResNet", hypers=hypers))
    known = with_known_weights(graph, initialize(graph, 0))
    kinds = [node.op_type for node in export(known.graph, weights=known.weights).graph.node]
    assert {kind: kinds.count(kind) for kind in ("Conv", "Relu", "Add")} == {"Conv": 53, "Relu": 49, "Add": 16}
    assert len(kinds) <= 122


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Conv2D(4, 3, 2, 1, bias: false) -> BatchNorm()", "Conv2d(2, 4, 3, 2, 1, bias=False), BatchNorm2d(4)"),
        ("Conv2D(4, 3, 1, 2, groups: 2, dilation: 2) -> BatchNorm()", "Conv2d(2, 4, 3, 1, 2, 2, 2), BatchNorm2d(4)"),
        ("BatchNorm() -> relu -> Conv2D(3, 3, 1, 1)", "BatchNorm2d(2), ReLU(), Conv2d(2, 3, 3, 1, 1)"),
        ("Flatten() -> Dense(5) -> BatchNorm()", "Flatten(), Linear(72, 5), BatchNorm1d(5)"),
    ],
)
def test_a_norm_is_pytorchs(ours: str, theirs: str) -> None:
    torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
    graph = graph_of(NORM.format(layers=ours), DType.F64)
    weights = drawn(graph)
    kinds = {
        name: getattr(torch.nn, name) for name in ("Conv2d", "BatchNorm1d", "BatchNorm2d", "ReLU", "Flatten", "Linear")
    }
    net = eval(f"Sequential({theirs})", {**kinds, "Sequential": torch.nn.Sequential}).double().eval()
    for module in net:
        for name, array in _theirs(module, weights):
            getattr(module, name).data.copy_(torch.from_numpy(array))
    x = np.random.default_rng(0).normal(size=(3, 2, 6, 6))
    known = with_known_weights(graph, weights)
    actual = run(known.graph, {"x": x}, known.weights)["y"]
    np.testing.assert_allclose(actual, net(torch.from_numpy(x)).detach().numpy(), rtol=1e-12, atol=1e-12)


def _theirs(module: Any, weights: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """PyTorch's names of a layer's tensors, with ours."""
    kind = type(module).__name__
    if kind in ("Flatten", "ReLU"):
        return
    names = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_variance"}
    layer = "batch_norm"
    if not kind.startswith("Batch"):
        names, layer = {"weight": "W", "bias": "b"}, "conv2d" if kind == "Conv2d" else "dense"
    for theirs, ours in names.items():
        if f"{layer}.{ours}" in weights:
            array = weights[f"{layer}.{ours}"]
            yield theirs, array.T if kind == "Linear" else array


def test_a_table_that_is_read_both_ways_is_stored_once() -> None:
    graph = graph_of(TIED)
    weights = initialize(graph, 0)
    known = with_known_weights(graph, weights)
    assert paths(known.graph) == ["table"] and not known.derived
    on_numpy = with_known_weights(graph, weights, NUMPY)
    assert on_numpy.derived == {"table.folded": ("table",)}
    assert np.shares_memory(on_numpy.weights["table.folded"], weights["table"]), "a view takes no memory"


def test_what_a_graph_updates_is_not_known() -> None:
    graph = graph_of(STATEFUL)
    known = with_known_weights(graph, initialize(graph, 0))
    assert "shift" in paths(known.graph)
    assert operators(known).count("sub") == 1
    assert list(known.graph.updates) == ["shift"]


def test_weights_that_are_missing_or_misshaped_are_left_to_be_told() -> None:
    graph = graph_of("model M {\n    input x: [b, 3]\n    param w: [2, 3]\n    output y = x @ w^T\n}\n")
    for weights in ({}, {"w": np.ones((3, 3), np.float32)}):
        assert paths(with_known_weights(graph, weights).graph) == ["w"]


def test_weights_stay_by_name_where_that_is_asked_for() -> None:
    graph = graph_of(NORM.format(layers="Conv2D(4, 3) -> BatchNorm()"))
    known = with_known_weights(graph, initialize(graph, 0), keep=True)
    assert known.graph is graph and not known.derived


def test_a_derived_tensor_tells_its_sources_and_is_computed_when_it_is_written(tmp_path: Path) -> None:
    graph = graph_of(NORM.format(layers="Conv2D(4, 3) -> BatchNorm()"))
    weights = drawn(graph)
    known = with_known_weights(graph, weights)
    proto = export(known.graph, weights=known.weights, largest=0)
    assert not any(tensor.raw_data for tensor in proto.graph.initializer)
    (file,) = save(proto, tmp_path / "m.onnx", known.weights)
    whole = export(known.graph, weights=known.weights)
    read = onnx.load_model(str(file))
    assert {each.name: each for each in read.graph.initializer} == {each.name: each for each in whole.graph.initializer}
    docs = {each.name: each.doc_string for each in read.graph.initializer}
    assert docs["conv2d.W.folded"].startswith("computed from conv2d.W, batch_norm.")
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    expected = OnnxRunner(export(graph, weights=weights).SerializeToString(), optimize=False).run({"x": x})["y"]
    np.testing.assert_allclose(OnnxRunner(file).run({"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def test_names_of_derived_tensors_are_not_those_of_others() -> None:
    text = "model M {\n    input x: [b, 3]\n    param w: [2, 3] ~ normal(1)\n    output w.folded = x @ w^T\n}\n"
    graph = graph_of(text.replace("w.folded = x", "y = x"))
    graph = Graph(graph.inputs, {"w.folded": graph.outputs["y"]})
    known = with_known_weights(graph, initialize(graph, 0))
    assert list(known.derived) == ["w.folded_2"]


def test_a_table_is_not_looked_up_outside_of_it_before_the_model_runs() -> None:
    text = (
        "model M {\n    input x: [b, 3]\n    param w: [2, 3] ~ normal(1)\n    output y = x + take(w, 5, axis: 0)\n}\n"
    )
    graph = graph_of(text)
    known = with_known_weights(graph, initialize(graph, 0))
    assert "take" in operators(known)
