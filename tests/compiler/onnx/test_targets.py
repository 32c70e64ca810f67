"""What a file for a target contains, and what it computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import nablac
from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.onnx.device import leaving_nodes
from compiler.onnx.exporter import export
from compiler.operators.arithmetic import Abs
from compiler.operators.indexing import Iota, ScatterElements, ScatterNd
from compiler.operators.leaves import constant
from compiler.operators.random import FoldKey, RandomNormal, RandomUniform
from compiler.operators.reductions import LogSumExp, Max, Sum
from compiler.operators.shaping import Concat, Flip
from compiler.operators.slicing import Slice
from compiler.passes.pipeline import optimize
from compiler.targets import EXPORT_TARGETS, ORT_CPU, ORT_CUDA, ORT_WEB, PORTABLE, TENSORRT, Target
from compiler.training.gradients import gradient_graph
from compiler.training.step import training_step
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.feeds import random_feeds, sizes_from
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from tests.compiler.onnx.portable_forms import forms_of
from tests.models import elaborate, spec_of
from tests.paths import SPECS
from tests.runtime.graphs import fed, graph, text_of

CELL = """cell Own(units: int) {
    input x: [batch, features]
    state h: [batch, units] = 0
    param W: [features, units] ~ normal(0.5)
    h' = relu(x @ W + h) * 0.5
    output h'
}
"""
RECURRENT = "model M {{ input x: [batch, T, 3]\n output y = x -> {} }}"
LOSS = "\ntrain M { target t: [batch, 4]; loss mse(y, t) }"
TEXTS = {
    "a reverse recurrence": RECURRENT.format("GRU(4, reverse: true)"),
    "both directions": RECURRENT.format("Bidirectional(LSTM(4, sequences: true))"),
    "the reset gate first": RECURRENT.format("GRU(4, reset_after: false)"),
    "a step that reads outer values": CELL
    + "model M { input x: [batch, T, 3], z: [4]\n output y = (scan(Own(4))(x, axis: 1)) * z }",
    "attention": "model M { input x: [batch, T, 8]\n output y = x -> MultiHeadAttention(2, causal: true) }",
}


def _sequence() -> Graph:
    x = fed("x", "f32", "n", 3)
    return graph([x], y=Slice((0,), (1,), (x.shape[0],))(x), z=Flip((-1,))(x), w=Concat(-1)(x, x))


def _positions() -> Graph:
    x = fed("x", "f32", "n", 3)
    return graph([x], y=Iota(x.shape[0])(), fixed=Iota(4)())


def _reductions() -> Graph:
    x = fed("x", "f32", "n", 3)
    return graph([x], y=Max((1,))(x), z=LogSumExp((0,), keep=True)(x), s=Sum((0,))(x))


def _whole_numbers() -> Graph:
    n = fed("i", "i64", "n", 3)
    return graph([n], y=Abs()(n))


def _rows_added() -> Graph:
    table, rows, x = fed("table", "f32", 5, 3), fed("rows", "i64", "n", 1), fed("x", "f32", "n", 3)
    return graph([table, rows, x], y=ScatterNd("add")(table, rows, x))


def _elements_added() -> Graph:
    table, columns, x = fed("table", "f32", 5, 3), fed("columns", "i64", 5, "k"), fed("x", "f32", 5, "k")
    return graph([table, columns, x], y=ScatterElements(-1, "add")(table, columns, x))


def _draws() -> Graph:
    key, size = fed("key", "i64"), fed("x", "f32", "n")
    folded = FoldKey("3")(key, constant(-9, DType.I64))
    return graph([key, size], u=RandomUniform((3, *size.shape))(key), v=RandomNormal((7,))(folded))


BUILT: dict[str, Callable[[], Graph]] = {
    "bounds and axes": _sequence,
    "positions": _positions,
    "reductions": _reductions,
    "whole numbers": _whole_numbers,
    "rows added": _rows_added,
    "elements added": _elements_added,
    "draws": _draws,
}


def graph_of(name: str) -> Graph:
    return elaborate(TEXTS[name]) if name in TEXTS else BUILT[name]()


@pytest.mark.parametrize("target", [ORT_CUDA, PORTABLE], ids=["ort-cuda", "portable"])
@pytest.mark.parametrize("name", [*TEXTS, *BUILT])
def test_a_target_computes_the_same(name: str, target: Target) -> None:
    graph = graph_of(name)
    weights = initialize(graph, 0)
    model = export(optimize(graph, target), weights=weights, target=target)
    onnx.checker.check_model(model, full_check=True)
    session = OnnxRunner(model.SerializeToString())
    for batch in (1, 3):
        feeds = random_feeds(graph, sizes_from(graph, batch, 5), batch)
        feeds |= {key: np.array(2**31 - 5 * batch) for key in feeds if key == "key"}
        wanted, results = run(graph, feeds, weights), session.run(feeds)
        for key, array in wanted.items():
            np.testing.assert_allclose(results[key], array, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", [*TEXTS, *BUILT])
def test_a_portable_file_has_only_what_clients_run(name: str) -> None:
    graph = optimize(graph_of(name), PORTABLE)
    model = export(graph, weights=initialize(graph, 0), target=PORTABLE)
    assert forms_of(model) == set()


@pytest.mark.parametrize(
    ("target", "onnx_type", "dtype", "opset", "has"),
    [
        (ORT_CPU, "Where", "f64", 17, True),
        (ORT_CPU, "Erf", "f64", 17, False),
        (ORT_CPU, "BitwiseXor", "u32", 18, True),
        (ORT_CUDA, "BitwiseXor", "u32", 18, False),
        (ORT_CUDA, "Cos", "f32", 21, True),
        (ORT_CUDA, "Cos", "f32", 22, True),
        (ORT_CUDA, "Elu", "f32", 22, False),  # its kernel is of version 6, and opset 22 changed the operator
        (ORT_CUDA, "Conv", "f32", 22, True),
        (ORT_CUDA, "GroupNormalization", "f32", 21, False),
        (ORT_WEB, "MatMul", "f32", 17, True),
        (ORT_WEB, "MatMul", "f64", 17, False),
        (ORT_WEB, "LSTM", "f32", 17, False),
        (TENSORRT, "ConstantOfShape", "i64", 17, True),
        (TENSORRT, "BitShift", "u32", 17, False),
        (PORTABLE, "BitShift", "u32", 17, True),  # of which no table says anything
    ],
)
def test_tables_say_which_kernels_there_are(target: Target, onnx_type: str, dtype: str, opset: int, has: bool) -> None:
    assert target.has_kernel(onnx_type, dtype, opset) == has


def test_what_has_no_kernel_leaves_the_device() -> None:
    text = "model M { input x: [n, 8, 8, 3]; y = tan(tan(x)); output n = size(x, 0)\n output y = y -> MaxPool2D(2) }"
    graph = optimize(elaborate(text), ORT_CUDA)
    shown = {}
    for opset in (None, 22):
        model = export(graph, weights={}, target=ORT_CUDA, opset=opset)
        rows = leaving_nodes(model, ORT_CUDA)
        shown[opset] = [(row.count, row.onnx_type, row.dtype, row.source) for row in rows]
        assert leaving_nodes(model, ORT_CPU) == leaving_nodes(model, PORTABLE) == []
    assert shown[None] == [(2, "Tan", "f32", "test.model:1:42")]
    assert shown[22] == [*shown[None], (1, "MaxPool", "f32", "std/pooling.model:18:12")]


@pytest.mark.parametrize(
    ("name", "table", "leaving"),
    [
        *((name, "ort-cuda", set()) for name in ("mlp", "cnn", "gru", "lstm", "gpt", "llama")),
        ("cnn", "ort-cuda-1.23", set()),
        ("gpt", "ort-cuda-1.23", {("ReduceMax", "u8")}),  # whether any element is true
    ],
)
def test_specs_stay_on_cuda(name: str, table: str, leaving: set[tuple[str, str]]) -> None:
    """Draws, recurrences and optimizers included, by tables that are made from the providers themselves."""
    target = ORT_CUDA.replace(kernels=table)
    program = load(SPECS / f"{name}.model")
    spec = spec_of(program, model=program.models[0].name, training=True)
    plain = elaborate(program, model=program.models[0].name)
    rows = [
        row
        for written in (plain, gradient_graph(spec), training_step(spec).graph)
        for row in leaving_nodes(export(optimize(written, target), target=target), target)
    ]
    assert {(row.onnx_type, row.dtype) for row in rows} == leaving


def test_attention_is_one_node_only_where_the_rest_stays_on_the_device() -> None:
    graph = elaborate("model M { input x: [batch, T, 8]\n output y = x -> MultiHeadAttention(2) }")
    weights = initialize(graph, 0)
    opsets = {
        target.name: export(optimize(graph, target), weights=weights, target=target).opset_import[0].version
        for target in EXPORT_TARGETS.values()
    }
    assert opsets == {"ort-cpu": 24, "ort-cuda": 24, "ort-web": 17, "tensorrt": 24, "portable": 17}


def test_an_opset_outside_of_the_targets_range_is_refused() -> None:
    model = nablac.compile("model M { input x: [batch, 3]; output y = x + 1 }")
    with pytest.raises(NablacError) as caught:
        model.onnx(18, target="portable")
    assert "opset 18 is above 17, the highest supported by `--target portable`" in text_of(caught)
    with pytest.raises(NablacError) as caught:
        model.onnx(target="ort-gpu")
    assert text_of(caught).startswith("error[E910]: there is no target `ort-gpu`")


def test_gradients_through_recurrences_are_not_portable() -> None:
    graph = gradient_graph(spec_of(RECURRENT.format("GRU(4)") + LOSS))
    weights = initialize(graph, 0)
    assert export(optimize(graph), weights=weights).graph.node
    with pytest.raises(NablacError) as caught:
        export(optimize(graph, PORTABLE), weights=weights, target=PORTABLE)
    refused = "`--target portable` writes no gradient of a recurrence of unknown length"
    assert f"`scan` cannot be exported to ONNX: {refused}, which few clients that read ONNX run" in text_of(caught)


def test_a_draw_of_more_numbers_than_f32_counts_is_refused() -> None:
    key = fed("key", "i64")
    large = graph([key], y=RandomUniform((1 << 24,))(key))
    assert export(large).graph.node
    with pytest.raises(NablacError) as caught:
        export(large, target=PORTABLE)
    assert "`--target portable` counts to 2**24, below the 16,777,216 numbers of this draw" in text_of(caught)
