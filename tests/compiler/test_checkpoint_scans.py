"""Recurrences in segments: the same results and gradients, from fewer saved values."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.onnx.exporter import export
from compiler.operators.control import Scan
from compiler.operators.leaves import Parameter, constant
from compiler.passes.pipeline import optimize
from compiler.training.checkpoint_scans import checkpoint_scans
from compiler.training.step import training_step
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.numpy_plan import plan
from tests.models import elaborate, spec_of

MODELS = {
    "an LSTM of 25 steps": ("LSTM(6)", 25),
    "a GRU of 23 steps, in segments and a rest": ("GRU(6)", 23),
    "outputs of all steps": ("SimpleRNN(6, sequences: true)", 18),
    "backwards": ("LSTM(6, reverse: true, sequences: true)", 19),
    "two recurrences": ("LSTM(6, sequences: true) -> GRU(4)", 16),
}


def loss_of(layers: str, length: int | str) -> Graph:
    text = f"model M {{ input x: [batch, {length}, 3]; y = x -> {layers}; output loss = mean(y * y) }}"
    return elaborate(text, dtype=DType.F64)


def with_gradients(graph: Graph) -> Graph:
    loss = graph.outputs["loss"]
    sources = [node.result for node in graph if isinstance(node.op, Parameter)] + list(graph.inputs.values())
    grads = gradients([loss], [constant(1.0, DType.F64)], sources)
    outputs = {str(index): grad for index, grad in enumerate(grads) if grad is not None}
    assert len(outputs) == len(sources)
    return Graph(graph.inputs, {"loss": loss, **outputs})


@cache
def graphs(name: str) -> tuple[Graph, Graph]:
    """The gradients without segments, not optimised, and those with segments, optimised."""
    loss = loss_of(*MODELS[name])
    changed = optimize(with_gradients(checkpoint_scans(loss, 0, {"batch": 2})))
    verify(changed)
    return with_gradients(loss), changed


def scans_in_segments(graph: Graph) -> int:
    return sum(isinstance(node.op, Scan) and node.op.recompute for node in graph)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("backend", ["numpy", "onnxruntime"])
def test_gradients_stay_what_they_were(name: str, backend: str) -> None:
    plain, changed = graphs(name)
    assert scans_in_segments(changed)
    weights = initialize(plain, 3)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, MODELS[name][1], 3))}
    wanted = run(plain, feeds, weights)
    if backend == "numpy":
        results = run(changed, feeds, weights)
    else:
        import onnxruntime as ort

        session = ort.InferenceSession(export(changed, weights=weights).SerializeToString())
        results = dict(zip(changed.outputs, session.run(None, feeds), strict=True))
    for label, array in wanted.items():
        np.testing.assert_allclose(results[label], array, rtol=1e-12, atol=1e-15, err_msg=label)


def test_fewer_values_are_in_memory() -> None:
    loss = loss_of("LSTM(8)", 144)
    plain, changed = (optimize(with_gradients(each)) for each in (loss, checkpoint_scans(loss, 0, {"batch": 4})))
    peak, lower = (plan(graph, {"batch": 4}).peak_bytes for graph in (plain, changed))
    assert lower < peak / 4


@pytest.mark.parametrize(
    ("layers", "length", "budget"),
    [
        pytest.param("LSTM(6)", 25, 10**6, id="a budget that suffices"),
        pytest.param("LSTM(6)", "time", 0, id="a length that is known only when the model runs"),
        pytest.param("LSTM(6, truncate: 5)", 25, 0, id="segments of truncated back-propagation"),
        pytest.param("LSTM(6)", 3, 0, id="few steps"),
    ],
)
def test_what_has_no_segments(layers: str, length: int | str, budget: int) -> None:
    loss = loss_of(layers, length)
    assert checkpoint_scans(loss, budget, {"batch": 2, "time": 25}) is loss


def test_a_training_step_has_a_budget() -> None:
    text = """
model M { input x: [batch, 25, 3]; output y = x -> LSTM(6) -> Dense(1) }
train M { target t: [batch, 1]; loss mse(y, t); optimizer adam(lr: 1e-3) }
"""
    spec = spec_of(text, training=True)
    assert not scans_in_segments(training_step(spec).graph)
    assert scans_in_segments(training_step(spec, memory_budget=1000, sizes={"batch": 2}).graph)
