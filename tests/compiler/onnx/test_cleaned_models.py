"""The clean-up of whole models: they compute the same, and keep their docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.operators.making import sum_
from compiler.passes.pipeline import CLEAN_UP, PassRun, optimize, pass_settings
from compiler.training.gradients import gradient_graph
from compiler.training.step import training_step
from runtime.feeds import random_feeds, sizes_from
from runtime.initialization import initialize
from tests.models import elaborate, spec_of
from tests.paths import SPECS
from tests.runtime.graphs import fed, graph

MODELS = ("mlp", "rnn", "lstm", "gpt")


def graphs_of(name: str) -> dict[str, Graph]:
    program = load(SPECS / f"{name}.model")
    spec = spec_of(program, model=program.models[0].name, training=True)
    plain = spec_of(program, model=program.models[0].name)
    graphs = {"inference": plain.graph, "gradient": gradient_graph(spec), "step": training_step(spec).graph}
    return {kind: optimize(each) for kind, each in graphs.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_cleaned_model_computes_the_same(name: str) -> None:
    """On onnxruntime with its own optimisation off."""
    for kind, each in graphs_of(name).items():
        with pass_settings([CLEAN_UP]):
            written = export(each)
        clean = export(each)
        onnx.checker.check_model(clean, full_check=True)
        assert len(clean.graph.node) < len(written.graph.node) + (kind == "inference"), kind
        assert [info.name for info in clean.graph.output] == [info.name for info in written.graph.output]
        weights = {path: np.abs(array) for path, array in initialize(each, 0).items()}
        feeds = {**random_feeds(each, sizes_from(each, 3, 4), 1), **weights}
        feeds = {info.name: feeds[info.name] for info in written.graph.input}
        results = [dict(zip(names_of(model), run_all(model, feeds), strict=True)) for model in (written, clean)]
        for output, wanted in results[0].items():
            np.testing.assert_allclose(results[1][output], wanted, 1e-4, 1e-6, err_msg=f"{kind}: {output}")


def names_of(model: onnx.ModelProto) -> list[str]:
    return [info.name for info in model.graph.output]


def run_all(model: onnx.ModelProto, feeds: dict[str, Any]) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


LAYER = '''
layer Twice() {
    """Both halves."""
    input x: [batch, 4]
    output cast(cast(x, f64), f32) + 1
}
model M { input x: [batch, 4]; output y = x -> Twice() }
'''


def test_a_docstring_moves_on_to_the_next_node_of_its_layer() -> None:
    nodes = export(elaborate(LAYER)).graph.node
    assert [(node.op_type, node.doc_string) for node in nodes] == [("Add", "twice: Both halves.")]


def test_the_clean_up_is_reported_and_can_be_switched_off() -> None:
    runs: list[PassRun] = []
    with pass_settings(observe=runs.append):
        export(elaborate(LAYER))
    (run,) = (run for run in runs if run.name == CLEAN_UP)
    assert (run.before.nodes, run.after.nodes) == (3, 1)
    with pass_settings([CLEAN_UP]):
        assert len(export(elaborate(LAYER)).graph.node) == 3


def test_two_reductions_of_a_broadcast_are_one() -> None:
    x = fed("x", "f32", "n", 3, 4)
    kinds = [node.op_type for node in export(graph([x], y=sum_(sum_(x, (2,), keep=True), (0,), keep=True))).graph.node]
    assert kinds == ["ReduceSum"]
