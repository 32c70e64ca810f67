"""Work that leaves a walk: the same results, and nothing left inside that need not be there."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.operators.control import Scan
from compiler.operators.leaves import Parameter, constant
from compiler.passes.code_motion import hoist_steps, sink_results
from compiler.passes.merge_scans import merge_scans
from compiler.passes.pipeline import optimize
from compiler.passes.regroup_steps import at_most, regroup_steps
from compiler.targets import NUMPY
from compiler.types import DType
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate

CELLS = {
    "projected": "h' = tanh(x @ W + h @ U); output softmax(h' @ V + b)",
    "of the state before": "h' = tanh(x @ W + h @ U); output h @ V",
    "of the item": "h' = h * 0.5; output relu(x @ W) @ U",
    "the same at each step": "h' = h + x @ W; output U @ V",
    "a sum": "h' = h + x @ W; output tanh(x) @ W",
    "a sum that is read": "h' = h + x @ W; output h' * h",
    "gated": "z = sigmoid(x @ W + h @ U); h' = z * h + tanh(concat([x @ W, h], axis: 1) @ G); output [h' @ V, z]",
    "factors of the item": "g = h * sigmoid(x @ W); h' = g * tanh(x @ W) - tanh(g); output h'",
    "several products": "h' = tanh(x @ W + h @ U + (h * h) @ (U * 0.5) + tanh(h) @ U); output h' * tanh(x @ W) * 2",
    "a product of vectors": "h' = tanh(x @ W + h @ U); output h' @ V[:, 0]",
    "some items of the state": "h' = tanh(x @ W + h @ U); output take(h', [0, 2], axis: 1)",
    "an example of the state": "h' = tanh(x @ W + h @ U); output take(h', 1, axis: 0)",
    "no item": "h' = tanh(h @ U); output h'",
    "items that cannot be mapped": "h' = h + pad(x, before: [0, 2], after: [0, 1]); output cumsum(h', axis: 1)",
}


def graph_of(cell: str, reverse: bool = False, dtype: DType = DType.F64) -> Graph:
    *equations, output = cell.split("; output ")
    outputs = output.strip("[]").split(", ") if output.startswith("[") else [output]
    text = f"""
cell Cell() {{
    input x: [batch, 3]
    state h: [batch, 6] = 0
    param W: [3, 6] ~ normal(0.5)
    param U: [6, 6] ~ normal(0.5)
    param V: [6, 2] ~ normal(0.5)
    param G: [12, 6] ~ normal(0.5)
    param b: [2] ~ normal(0.5)
    {"; ".join(equations)}
    output {", ".join(outputs)}
}}

model M {{
    input xs: [time, batch, 3]
    ys = scan(Cell())(xs, axis: 0, reverse: {str(reverse).lower()}, states: true)
    for i in 0..{len(outputs) + 1} {{ y = mean(ys[i] ** 2) + (y if i > 0 else 0) }}
    output y
}}
"""
    return elaborate(text, dtype=dtype)


def with_gradients(graph: Graph) -> Graph:
    parameters = [node.result for node in graph if isinstance(node.op, Parameter)]
    (loss,) = graph.outputs.values()
    made = gradients([loss], [constant(1.0, loss.type.dtype)], parameters)
    outputs = {value.node.op.path: grad for value, grad in zip(parameters, made, strict=True) if grad is not None}
    return Graph(graph.inputs, {"loss": loss, **outputs})


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_results_and_gradients_stay_what_they_were(cell: str, reverse: bool) -> None:
    graph = with_gradients(graph_of(cell, reverse))
    weights = initialize(graph, 3)
    feeds = {"xs": np.random.default_rng(0).normal(size=(5, 4, 3))}
    wanted = run(graph, feeds, weights)
    together = lambda each: hoist_steps(regroup_steps(merge_scans(each)))  # noqa: E731
    for change in (merge_scans, sink_results, regroup_steps, hoist_steps, together, optimize):
        changed = change(graph)
        verify(changed)
        found = run(changed, feeds, weights)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_graph_of_which_nothing_moves_is_returned(cell: str) -> None:
    graph = graph_of(cell)
    for change in (sink_results, hoist_steps):
        once = change(change(graph))  # the first run may leave results without users
        assert change(once) is once


def inside(graph: Graph) -> list[str]:
    return [node.op.name for scan in graph if isinstance(scan.op, Scan) for node in scan.op.body]


def test_a_walk_keeps_only_what_needs_its_states() -> None:
    changed = hoist_steps(graph_of(CELLS["projected"]))
    assert inside(changed).count("matmul") == 1  # h @ U; x @ W comes before, softmax(h' @ V + b) after
    assert "softmax" not in inside(changed)


def test_sums_are_no_walk_at_all() -> None:
    assert inside(hoist_steps(graph_of(CELLS["a sum"]))) == []


def test_back_propagation_through_time_multiplies_by_one_matrix_a_step() -> None:
    changed = optimize(with_gradients(graph_of("h' = tanh(x @ W + h @ U); output h'", dtype=DType.F32)), NUMPY)
    scans = [node.op for node in changed if isinstance(node.op, Scan)]
    assert [node.op.name for node in changed].count("rnn") == 1  # forward is fused still
    assert len(scans) == 1
    assert inside(changed).count("matmul") == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_the_steps_of_an_lstm_hand_out_what_its_gradient_needs(reverse: bool) -> None:
    text = f"""
model M {{
    input xs: [time, batch, 3]
    ys, h, c = scan(LSTMCell(6))(xs, axis: 0, reverse: {str(reverse).lower()}, states: true)
    output mean(ys ** 2) + mean(h * c)
}}
"""
    graph = with_gradients(elaborate(text))
    changed = optimize(graph)
    verify(changed)
    forward, backward = (node.op for node in changed if isinstance(node.op, Scan))
    names = [node.op.name for node in (*changed, *forward.body, *backward.body)]
    assert names.count("sigmoid") == 1  # of three gates, and not computed again
    assert [node.op.name for node in forward.body].count("matmul") == 1  # of all four gates
    assert [node.op.name for node in backward.body].count("matmul") == 1
    assert names.count("matmul") == 5  # and the projection of the items, and the gradients of two matrices
    weights = initialize(graph, 3)
    feeds = {"xs": np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)}
    found = run(changed, feeds, weights)
    for name, array in run(graph, feeds, weights).items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-7, err_msg=name)


def test_factors_and_products_are_grouped_by_what_is_known_before_the_walk() -> None:
    walk = hoist_steps(regroup_steps(graph_of("h' = tanh(h) * (x @ W) * sigmoid(x @ W) * 0.5; output h'")))
    assert [name for name in inside(walk) if name != "input"] == ["tanh", "mul"]
    walk = hoist_steps(regroup_steps(graph_of("h' = tanh(h @ U + x @ W + sigmoid(h) @ U); output h'")))
    assert inside(walk).count("matmul") == inside(walk).count("concat") == 1


BOUNDED = {  # factors, where `t` and `u` are hyperbolic tangents: whether their magnitude is known to be at most 1
    **dict.fromkeys(
        ["sigmoid(x)", "t", "-t", "transpose(t, permutation: [1, 0])", "t * u", "0.5 * t", "-1.0 * t"], True
    ),
    **dict.fromkeys(["1 - sigmoid(x)", "1 - sigmoid(x) * sigmoid(y)", "1 - t * t", "1 - t ** 2"], True),
    **dict.fromkeys(["x", "exp(x)", "-x", "1.5 * t", "t * x", "1 - t", "1 - t * u", "1 - x * x", "1 - x ** 2"], False),
    **dict.fromkeys(["1 - t ** 3", "2 - sigmoid(x)", "1 - sigmoid(x) * x"], False),
}


@pytest.mark.parametrize("factor", BOUNDED)
def test_which_factors_are_known_to_be_at_most_1(factor: str) -> None:
    graph = elaborate(f"model M {{ input x: [2, 2], y: [2, 2]; t = tanh(x); u = tanh(y); output r = {factor} }}")
    assert at_most(graph.outputs["r"], 1.0) == BOUNDED[factor]


def test_the_forward_walk_is_made_once() -> None:
    graph = with_gradients(graph_of(CELLS["gated"]))
    assert sum(isinstance(node.op, Scan) for node in graph) == 3
    assert sum(isinstance(node.op, Scan) for node in merge_scans(graph)) == 2
