"""Plans: the same numbers as one operator after the other, less memory, and no limit on depth."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.operators.arithmetic import FloorDiv
from compiler.operators.indexing import Take
from compiler.operators.leaves import constant, size_of
from compiler.operators.linear import MatMul
from compiler.operators.powers import Exp, Pow
from compiler.operators.shaping import Reshape, Transpose
from compiler.operators.slicing import Slice
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.chaining import ChainOperator
from runtime.numpy_executor import MOST_PLANS, NumpyRunner, run
from runtime.numpy_plan import plan
from tests.models import elaborate
from tests.runtime.graphs import buffer, fed, graph, normal, parameter, text_of


def test_named_dims_take_their_sizes_from_the_feeds() -> None:
    x = fed("x", "f32", "n", "m")
    n, m = x.shape
    doubled = graph([x], y=Reshape((m, n))(x), size=size_of(n * m + 1))
    for shape in ((2, 3), (4, 1)):
        found = run(doubled, {"x": normal(*shape)})
        assert found["y"].shape == shape[::-1]
        assert found["size"] == shape[0] * shape[1] + 1


def test_weights_may_be_fed_beside_inputs_or_given_before() -> None:
    x, w = fed("x", "f32", "n", 2), parameter("dense.W", 2, 3)
    product = graph([x], y=MatMul()(x, w))
    arrays = {"x": normal(4, 2), "dense.W": normal(2, 3)}
    mixed = run(product, arrays)["y"]
    apart = run(product, {"x": arrays["x"]}, {"dense.W": arrays["dense.W"]})["y"]
    assert np.array_equal(mixed, apart)
    assert np.array_equal(mixed, arrays["x"] @ arrays["dense.W"])


def test_next_values_of_buffers_come_by_path() -> None:
    x, mean = fed("x", "f32", 2), buffer("norm.mean", 2)
    found = run(graph([x], {"norm.mean": mean * 0.5 + x}, y=x), {"x": [1, 2], "norm.mean": [2, 4]})
    assert found["norm.mean"].tolist() == [2.0, 4.0]


def test_elementwise_steps_write_over_dead_operands_alone() -> None:
    x = fed("x", "f32", "n", 64)
    a = x * 2
    b = a + 1  # over `a`
    c = Exp()(b)  # not over `b`: it is read again
    d = Transpose((1, 0))(b)
    e = b * c  # not over `b`: `d` is a view of it
    f = MatMul()(d, e)
    steps = plan(g := graph([x], y=f), {"n": 64}).steps
    assert [len(step.arguments) - len(step.node.operands) for step in steps] == [0, 1, 0, 0, 1, 0]
    array = normal(64, 64) * np.float32(0.1)
    b_ = array * np.float32(2) + np.float32(1)
    np.testing.assert_allclose(run(g, {"x": array})["y"], b_.T @ (b_ * np.exp(b_)), rtol=1e-5)
    over = steps[4]
    assert over.arguments[2] == over.arguments[1], "`e` is written over `c`"


def test_fed_arrays_weights_constants_and_results_are_never_written_to() -> None:
    x, w = fed("x", "f32", 3), parameter("w", 3)
    kept = x + w
    g = graph([x], kept=kept, y=(kept * 2) * kept, z=x * w)
    feeds = {"x": normal(3), "w": normal(3)}
    before = {name: array.copy() for name, array in feeds.items()}
    first = run(g, feeds)
    again = run(g, feeds)
    for name, array in feeds.items():
        assert np.array_equal(array, before[name])
    for name, array in first.items():
        assert np.array_equal(array, again[name])
    np.testing.assert_array_equal(first["kept"], before["x"] + before["w"])


def test_an_operator_that_hands_its_operand_on_does_not_lend_its_memory() -> None:
    x = fed("x", "f32", 4)
    same = Pow()(x, constant(1, DType.F32))  # its kernel gives `x` itself
    array = normal(4)
    before = array.copy()
    run(graph([x], y=Exp()(same)), {"x": array})
    assert np.array_equal(array, before)


def test_results_are_the_callers_own() -> None:
    x = fed("x", "f32", 2, 2)
    array = normal(2, 2)
    found = run(graph([x], same=x, part=Slice((0,), (0,), (1,))(x), one=constant(1, DType.F32)), {"x": array})
    for name, result in found.items():
        assert not np.may_share_memory(result, array), name
        result[...] = 0


def test_peak_memory_counts_what_lives_at_once() -> None:
    x = fed("x", "f32", "n", 256)
    chain = x
    for _ in range(10):
        chain = chain + x  # the first makes memory, the others write over it
    assert plan(graph([x], y=chain), {"n": 4}).peak_bytes == 4 * 256 * 4
    held = [x * 2 for _ in range(3)]
    assert plan(graph([x], y=held[0] + (held[1] + held[2])), {"n": 4}).peak_bytes == 3 * 4 * 256 * 4
    view = Reshape((256, x.shape[0]))(x * 2)
    assert plan(graph([x], y=Transpose((1, 0))(view)), {"n": 4}).peak_bytes == 4 * 256 * 4


def test_a_graph_of_any_depth_runs() -> None:
    x = fed("x", "f64")
    value = x
    for _ in range(50_000):
        value = value + x
    assert run(graph([x], y=value), {"x": 1.0})["y"] == 50_001


def test_plans_are_made_once_for_each_size_and_the_oldest_is_dropped() -> None:
    x = fed("x", "f32", "n")
    runner = NumpyRunner(graph([x], y=x + 1))
    for size in (1, 2, 1):
        runner.run({"x": np.ones(size, np.float32)})
    assert len(runner.plans) == 2
    first = runner.plan({"n": 1})
    for size in range(3, 3 + MOST_PLANS - 1):
        runner.run({"x": np.ones(size, np.float32)})
    assert len(runner.plans) == MOST_PLANS
    assert runner.plan({"n": 1}) is first, "the one used last is kept"


RECURRENCE = """
cell Sum() {
    input x: [batch, 2]
    state h: [batch, 2] = 0
    h' = 0.5 * h + x
    output h'
}
model M() {
    input xs: [batch, time, 2]
    y = scan(Sum())(xs, axis: 1)
    output y
}
"""


def test_a_recurrence_runs_its_step_along_the_axis() -> None:
    xs = normal(3, 4, 2)
    h, expected = np.zeros((3, 2), np.float32), []
    for step in range(4):
        h = np.float32(0.5) * h + xs[:, step]
        expected.append(h)
    g = elaborate(RECURRENCE)
    np.testing.assert_allclose(run(g, {"xs": xs})["y"], np.stack(expected, 1), rtol=1e-6)


def test_data_that_an_operator_refuses_is_told_with_its_line() -> None:
    g = elaborate("model M() {\n    input x: i64[n]\n    param t: [5, 2] = 0\n    y = t[x]\n    output y\n}\n")
    with pytest.raises(NablacError) as caught:
        run(g, {"x": [1, 9], "t": np.zeros((5, 2), np.float32)})
    assert text_of(caught) == (
        "error[E806]: `take` cannot run on this data: index 9 is out of bounds for axis 0 with size 5\n"
        " --> test.model:4:9\n  |\n4 |     y = t[x]\n  |         ^^^^"
    )


def test_integers_divided_by_zero_are_told() -> None:
    x, y = fed("x", "i64", 2), fed("y", "i64", 2)
    with pytest.raises(NablacError) as caught:
        run(graph([x, y], z=FloorDiv()(x, y)), {"x": [1, 2], "y": [1, 0]})
    assert caught.value.diagnostics[0].code == "E806"


def test_memory_that_is_not_to_be_had_is_told() -> None:
    x = fed("x", "f32", "n", 1)
    big = MatMul()(x, Transpose((1, 0))(x))
    wide = graph([x], y=MatMul()(big, x))
    with pytest.raises(NablacError) as caught:
        run(wide, {"x": np.broadcast_to(np.float32(1), (2**24, 1))})
    assert caught.value.diagnostics[0].code == "E810"
    assert caught.value.diagnostics[0].hint == "run a smaller batch"


def test_a_tensor_of_the_models_own_size_needs_no_smaller_batch() -> None:
    g = elaborate(
        "model M() {\n    input x: [n]\n    y = random.normal([3000000, 3000000, 20000])\n    output sum(y) + x\n}\n"
    )
    with pytest.raises(NablacError) as caught:
        run(g, {"x": [1.0], "seed": 0})
    assert caught.value.diagnostics[0].code == "E810"
    assert caught.value.diagnostics[0].hint == "its size is the model's own: choose a smaller one"


def test_a_size_that_nothing_tells_is_an_error() -> None:
    x, y = fed("x", "f32", 6), fed("y", "f32", "n")
    n = y.shape[0]
    g = Graph({"x": x}, {"y": size_of(n)}, {}, "test")
    with pytest.raises(NablacError) as caught:
        run(g, {"x": np.ones(6, np.float32)})
    assert caught.value.diagnostics[0].code == "E908"


def test_a_table_takes_indices_of_every_integer_type() -> None:
    table, place = fed("table", "f32", 3), fed("place", "i32", "n")
    assert run(graph([table, place], y=Take(0)(table, place)), {"table": [1, 2, 3], "place": [2, 0]})["y"].tolist() == [
        3,
        1,
    ]


def test_large_elementwise_operators_run_as_chains_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = fed("x", "f32", "n", 64), parameter("w", 64)
    a = MatMul()(x, Transpose((1, 0))(x))
    b = Exp()(a * constant(0.01, DType.F32)) + a
    c = Transpose((1, 0))(b)
    d = b * c  # not in the chain of `b`, since `c` is a view of all of it
    y = d / (d + constant(1.0, DType.F32))  # `z` has another shape
    g = graph([x], kept=b, y=y, z=x * w + x)
    feeds = {"x": normal(96, 64), "w": normal(64)}
    whole = run(g, feeds)
    monkeypatch.setattr("runtime.chaining.LEAST", 1)
    monkeypatch.setattr("runtime.numpy_chains.BLOCK", 100)
    steps = plan(g, {"n": 96}).steps
    chains = [step.node for step in steps if isinstance(step.node.op, ChainOperator)]
    assert [len(node.op.chain.nodes) for node in chains] == [3, 3, 2]  # type: ignore[attr-defined]
    for name, array in run(g, feeds).items():
        assert array.tobytes() == whole[name].tobytes(), name


def test_a_chain_overwrites_dead_operands_and_counts_no_memory_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x = fed("x", "f32", 64, 64)
    product = MatMul()(x, x)
    g = graph([x], y=Exp()(product * 2) + product)
    alone = plan(g, {}).peak_bytes
    monkeypatch.setattr("runtime.chaining.LEAST", 1)
    chained = plan(g, {})
    assert len(chained.steps) == 2
    assert chained.peak_bytes == 64 * 64 * 4 < alone
    array = normal(64, 64) * np.float32(0.1)
    np.testing.assert_array_equal(chained.run({"x": array})[0], np.exp((array @ array) * 2) + array @ array)
