"""The two backends check each other: on random graphs they agree, and where a model is tampered with it is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.dims import Dim
from compiler.graph import Graph, Value
from compiler.graph_checks import verify
from compiler.onnx.exporter import export
from compiler.operators.activations import Sigmoid, Softplus, Tanh
from compiler.operators.arithmetic import Abs, Maximum, Minimum
from compiler.operators.leaves import constant
from compiler.operators.linear import MatMul
from compiler.operators.ordering import ArgMax, ArgMin
from compiler.operators.powers import Exp
from compiler.operators.reductions import Max, Mean, Prod, Sum
from compiler.operators.shaping import Concat, Flip, Reshape, Transpose, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.passes.known_weights import KnownWeights
from compiler.passes.pipeline import optimize
from compiler.types import DType
from runtime.feeds import edge_feeds
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from runtime.verification import compare, first_divergence, random_feeds, relative_error, sample_sizes
from tests.models import elaborate
from tests.runtime.graphs import fed, graph, normal, parameter

TEXT = """
model M() {
    input tokens: i64[batch, time], mask: bool[batch, time]
    h = tokens -> Embedding(7, 4) -> LSTM(3, sequences: true)
    output h * unsqueeze(cast(mask, f32), axes: [-1])
    output best = argmax(h, axis: -1)
}
"""


BESIDE = "concat([(maximum(minimum(x, 1e30), -1e30) * {}, x * 1e20])"  # of which some numbers overflow in any case


def tampered(proto: onnx.ModelProto, kind: str, to: str) -> bytes:
    """The model with its first node of one kind made another."""
    next(node for node in proto.graph.node if node.op_type == kind).op_type = to
    return proto.SerializeToString()


class TestCompare:
    def test_a_models_backends_agree_at_several_sizes(self) -> None:
        g = optimize(elaborate(TEXT))
        weights = initialize(g)
        report = compare(g, export(g, weights=weights).SerializeToString(), weights)
        assert report.passed
        random = [each for each in report.comparisons if each.feeds == "random"]
        assert len(random) == 6
        assert {each.sizes["batch"] for each in random} == {1, 2, 7}
        assert report.worst.error < 1e-5
        assert report.diverging is None

    def test_next_values_of_buffers_are_compared_too(self) -> None:
        g = elaborate("model M() {\n    input x: [batch, 3]\n    output x -> BatchNorm()\n}\n", training=True)
        weights = initialize(g)
        report = compare(g, export(g, weights=weights).SerializeToString(), weights)
        assert report.passed
        assert {each.output for each in report.comparisons} >= set(g.updates)

    def test_the_first_node_that_differs_is_found_where_one_does(self) -> None:
        x = fed("x", "f32", "n", 3)
        g = graph([x], y=Exp()(Tanh()(x) * 0.5) + 1, z=x * 3)
        report = compare(g, tampered(export(g), "Mul", "Div"), {}, locate=True)
        assert not report.passed
        assert report.worst.output == "y"
        assert all(each.error == 0 for each in report.comparisons if each.output == "z")
        assert report.diverging is None, "exported anew, every node agrees"

    def test_a_kernel_that_differs_is_named_with_its_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        g = elaborate("model M() {\n    input x: [batch, 3]\n    y = exp(tanh(x))\n    output y + 1\n}\n")
        monkeypatch.setattr(Tanh, "compute", lambda self, x: np.tanh(x) * np.float32(1.01))
        monkeypatch.setattr(Tanh, "ufunc", "sin")
        found = first_divergence(g, {}, random_feeds(g, {"batch": 4}, 0), 1e-4)
        assert found is not None
        assert (found.operator, found.location, found.type) == ("tanh", "test.model:3:13", "f32[batch, 3]")

    def test_a_wrong_pass_is_seen_where_the_text_is_compared(self) -> None:
        x = fed("x", "f32", "n", 3)
        right, wrong = graph([x], y=x * 2 + 1), graph([x], y=x * 2 - 1)
        written = export(wrong).SerializeToString()
        assert compare(wrong, written, {}).passed
        assert not compare(wrong, written, {}, text=right).passed

    @pytest.mark.parametrize("layers", ["LayerNorm() -> Dense(8, gelu)", "EncoderLayer(2, 16)"])
    def test_floats_of_16_bits_agree_but_for_their_rounding(self, layers: str) -> None:
        g = elaborate(f"model M() {{\n    input x: f16[batch, T, 8]\n    output y = x -> {layers}\n}}\n")
        weights = initialize(g)
        report = compare(g, export(g, weights=weights).SerializeToString(), weights, edges=False)
        assert report.passed
        assert any(each.error > report.tolerance for each in report.comparisons)

    def test_scores_beyond_f16_are_no_fault_of_attention(self) -> None:
        text = elaborate(
            "model M() {\n    input x: f16[batch, T, 8]\n    output y = x -> MultiHeadAttention(2, causal: true)\n}\n"
        )
        weights = {path: array * np.float16(4) for path, array in initialize(text).items()}
        g = optimize(text)
        report = compare(g, export(g, weights=weights).SerializeToString(), weights, text=text)
        (large,) = (each for each in report.comparisons if each.feeds == "large")
        assert large.excuse is not None and "overflow in one order" in large.excuse

    def test_numbers_beyond_f16_between_two_operators_are_no_fault(self) -> None:
        """onnxruntime computes f16 in f32 and leaves out the rounding to f16 in between, which is infinite here."""
        x = fed("x", "f16", "n", 3)
        g = graph([x], y=(x - 0.5) / 0.25 * 0.125)
        report = compare(g, export(g).SerializeToString(), {})
        assert report.passed
        (limits,) = (each for each in report.comparisons if each.feeds == "limits of the dtype")
        assert limits.error == np.inf and limits.excuse == "onnxruntime does not round f16 between operators"
        wrong = graph([x], y=(x - 0.5) / 0.25 * 0.25)
        assert not compare(wrong, export(wrong).SerializeToString(), {}, text=g).passed

    @pytest.mark.parametrize("factor", [0.97, 1.03, -1.0])
    def test_a_wrong_pass_over_floats_of_16_bits_is_seen(self, factor: float) -> None:
        x = fed("x", "f16", "n", 3)
        right, wrong = graph([x], y=x * 2 + 1), graph([x], y=x * (2 * factor) + 1)
        assert not compare(wrong, export(wrong).SerializeToString(), {}, text=right).passed

    def test_sizes_may_be_given(self) -> None:
        x = fed("x", "f32", "n")
        report = compare(
            g := graph([x], y=x + 1), export(g).SerializeToString(), {}, sizes=[{"n": 5}, {"n": 6}], edges=False
        )
        assert [each.sizes for each in report.comparisons] == [{"n": 5}, {"n": 6}]


MASKED = """
model M() {
    input q: [batch, 1, T, 4], k: [batch, 1, S, 4], v: [batch, 1, S, 2], mask: bool[batch, S]
    seen = unsqueeze(unsqueeze(mask, 1), 1)
    output y = softmax(SCORES, axis: -1) @ v
}
"""


STATED = {
    "lstm": ("x -> LSTM(3)", "NaN", "`lstm`, NaN: "),
    "gru": ("x -> GRU(3)", "NaN", "`gru`, NaN: "),
    "max_pool": ("max_pool(x, kernel: [2])", "NaN", "`max_pool`, NaN in a window: "),
    "a sum beyond": (
        "conv(transpose(x, [0, 2, 1]), W[:, :, 0:2])",
        "limits of the dtype",
        "`conv`, sums that overflow ",
    ),
}


class TestEdges:
    def test_a_mask_that_is_added_is_not_one_that_replaces(self) -> None:
        right = elaborate(MASKED.replace("SCORES", "where(seen, q @ k^T, -1e4)"))
        wrong = elaborate(MASKED.replace("SCORES", "q @ k^T + where(seen, 0.0, -1e4)"))
        report = compare(wrong, export(wrong).SerializeToString(), {}, text=right)
        assert not report.agrees
        assert compare(right, export(right).SerializeToString(), {}, text=right).passed

    def test_a_choice_between_what_rounding_makes_unequal_is_no_fault(self) -> None:
        x = fed("x", "f32", "n", 3)
        terms = [Slice((1,), (place,), (place + 1,))(x) for place in range(3)]
        left, right = (terms[0] + terms[1]) + terms[2], terms[0] + (terms[1] + terms[2])
        text, other = (graph([x], y=ArgMax(-1)(Concat(1)(*each))) for each in ((left, right), (right, left)))
        report = compare(other, export(other).SerializeToString(), {}, sizes=[{"n": 500}], text=text)
        assert report.passed and report.comparisons[0].error >= 1
        assert report.comparisons[0].excuse == "rounding moves it as much"

    def test_the_sign_of_a_zero_and_what_is_below_normal_numbers_are_not_told(self) -> None:
        x = fed("x", "f32", "n", 9)
        text, other = graph([x], y=1 / (x * x * x)), graph([x], y=1 / (x * x * Abs()(x)))
        assert compare(other, export(other).SerializeToString(), {}, text=text).agrees is False
        zeros = graph([x], y=constant(1.0, DType.F32) / (x * 0.0)), graph([x], y=constant(1.0, DType.F32) / (x * -0.0))
        report = compare(zeros[1], export(zeros[1]).SerializeToString(), {}, text=zeros[0])
        assert {each.excuse for each in report.comparisons if each.feeds == "zeros"} == {"rounding moves it as much"}

    def test_another_choice_between_equals_is_one(self) -> None:
        x = fed("x", "f32", "n", 3)
        text, last = ArgMax(-1)(x), constant(2, DType.I64) - ArgMax(-1)(Flip((1,))(x))
        other = graph([x], y=last)
        report = compare(other, export(other).SerializeToString(), {}, text=graph([x], y=text))
        assert {each.feeds for each in report.comparisons if each.error and not each.excuse} >= {"zeros", "ties"}
        assert {each.error for each in report.comparisons if each.feeds == "random"} == {0.0}

    def test_another_operator_is_one_whatever_rounding_does(self) -> None:
        x = fed("x", "f32", "n", 3)
        text, other = graph([x], y=ArgMax(-1)(Tanh()(x) * 2)), graph([x], y=ArgMin(-1)(Tanh()(x) * 2))
        assert not compare(other, export(other).SerializeToString(), {}, text=text).agrees
        g = graph([x], y=Exp()(x))
        assert not compare(g, tampered(export(g), "Exp", "Sinh"), {}).agrees

    @pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
    @pytest.mark.parametrize("form", ["mean", "alone"])
    def test_an_infinity_for_a_number_is_one(self, monkeypatch: pytest.MonkeyPatch, dtype: str, form: str) -> None:
        """The largest numbers are finite in the reference, however they are rounded."""
        x = fed("x", dtype, "n", 3)
        y = Softplus()(x)
        g = graph([x], y=Mean((1,))(y) if form == "mean" else y)
        assert compare(g, export(g).SerializeToString(), {}).agrees
        one = np.ones((), dtype.replace("f", "float"))
        monkeypatch.setattr(Softplus, "lower", lambda self, emit, x: emit("Log", emit("Add", emit("Exp", x), one)))
        report = compare(g, export(g).SerializeToString(), {})
        assert not report.agrees
        wrong = {each.feeds: each.excuse for each in report.comparisons if each.error == np.inf}
        assert wrong["limits of the dtype"] is None and wrong["large"] is None, wrong

    def test_a_product_beyond_in_one_order_is_no_fault(self) -> None:
        x = fed("x", "f32", "n", 3)  # of the largest numbers, some are beside zeros
        g = graph([x], y=Prod()(x))
        report = compare(g, export(g).SerializeToString(), {})
        assert report.agrees
        excuses = {each.feeds: each.excuse or "" for each in report.comparisons}
        assert excuses["limits of the dtype"].startswith("`prod`, products that overflow"), excuses

    @pytest.mark.parametrize("label", STATED)
    def test_what_an_operator_states_is_a_reason(self, label: str) -> None:
        text, edge, reason = STATED[label]
        body = f"input x: [batch, T, 3]\n    param W: [2, 3, 3] ~ normal(1.0)\n    output y = {text}"
        g = optimize(elaborate(f"model M {{\n    {body}\n}}\n"))
        weights = initialize(g)
        report = compare(g, export(g, weights=weights).SerializeToString(), weights)
        reasons = {each.feeds: each.excuse for each in report.comparisons if each.excuse}
        assert report.passed
        assert (reasons[edge] or "").startswith(reason), reasons

    def test_an_operator_excuses_only_what_depends_on_it(self) -> None:
        text = "model M {\n    input x: [batch, T, 3]\n    output y = x -> LSTM(3)\n    output c = CHOICE\n}\n"
        choices = ("maximum(x, 0.0)", "where(x > 0, x, 0.0)")
        right, wrong = (optimize(elaborate(text.replace("CHOICE", each))) for each in choices)
        weights = initialize(right)
        report = compare(right, export(wrong, weights=weights).SerializeToString(), weights)
        of_nan = {each.output: each.excuse for each in report.comparisons if each.feeds == "NaN" and each.error}
        assert not report.agrees and (of_nan["y"] or "").startswith("`lstm`") and of_nan["c"] is None, of_nan

    @pytest.mark.parametrize(
        ("text", "folded", "model", "agrees"),
        [
            ("(x * 1e30) * 1e-30", "x", "x", True),
            ("(x * 1e30) * 1e-30", "x", "minimum(x, 1e6)", False),
            ("concat([x, x * 1e20]) * 1", "concat([x, x * 1e20])", "concat([x, x * 1e20])", True),
            # What overflows with the scale in the weights alone is a fault, beside what overflows in the text too
            (BESIDE.format("1e-20) * 1e20"), BESIDE.format("1e20) * 1e-20"), "", False),
            # a sum of infinities in another order
            ("(x * 1e20 + x * 1e20) - x * 1e20 + (x - x)", "x * 1e20 + (x - x)", "", True),
        ],
    )
    def test_an_overflow_before_a_scale_excuses_nothing_else(
        self, text: str, folded: str, model: str, agrees: bool
    ) -> None:
        graphs = [elaborate(f"model M {{\n input x: [batch]\n output y = {each}\n}}\n") for each in (text, folded)]
        exported = elaborate(f"model M {{\n input x: [batch]\n output y = {model or folded}\n}}\n")
        known = KnownWeights(graphs[1], {}, {})
        report = compare(graphs[0], export(exported).SerializeToString(), {}, folded=known)
        assert all(each.error < 1e-4 for each in report.comparisons if each.feeds == "random")
        (limits,) = (each for each in report.comparisons if each.feeds == "limits of the dtype")
        assert (limits.error < 1e-4 or limits.excuse is not None) == agrees, limits

    def test_what_no_random_number_meets_is_fed(self) -> None:
        g = elaborate(
            TEXT.replace("tokens:", "x: [batch, time], n: i8[batch], tokens:").replace("h *", "h * unsqueeze(x, 2) *")
        )
        feeds = {each.label: each for each in edge_feeds(g)}
        assert set(feeds["single"].sizes.values()) == {1}
        assert not feeds["zeros"].arrays["mask"].any() and feeds["ties"].arrays["mask"].all()
        assert not feeds["zeros"].arrays["tokens"].any() and (feeds["ties"].arrays["tokens"] == 6).all()
        zeros = feeds["zeros"].arrays["x"]
        assert not zeros.any() and np.signbit(zeros).any()
        for name in ("large", "infinities"):
            rows = feeds[name].arrays["mask"].any(axis=1)
            assert rows.any() and not rows.all(), name
        limits = feeds["limits of the dtype"].arrays
        assert np.finfo(np.float32).max in limits["x"] and limits["n"].min() == -128
        assert np.isinf(feeds["infinities"].arrays["x"]).any() and np.isnan(feeds["NaN"].arrays["x"]).any()

    def test_a_model_of_tokens_has_few_edges(self) -> None:
        g = elaborate("model M {\n    input t: i64[batch, T]\n    output t -> Embedding(7, 4)\n}\n")
        assert [each.label for each in edge_feeds(g)] == ["single", "zeros", "ties", "large", "halves"]


class TestInputs:
    def test_whole_numbers_are_valid_in_the_smallest_table_they_index(self) -> None:
        g = elaborate(TEXT)
        feeds = random_feeds(g, {"batch": 50, "time": 20}, 0)
        assert (feeds["tokens"].min(), feeds["tokens"].max()) == (0, 6)
        rows = feeds["mask"].any(axis=1)
        assert rows.any() and not rows.all()  # some rows hold nothing

    def test_a_table_looked_up_in_a_step_counts(self) -> None:
        text = (
            "cell C() {\n    input t: i64[batch]\n    state h: [batch, 2] = 0\n    param e: [5, 2] ~ normal(1.0)\n"
            "    h' = 0.5 * h + e[t]\n    output h'\n}\n"
            "model M() {\n    input ts: i64[batch, time]\n    output scan(C(), axis: 1)(ts)\n}\n"
        )
        feeds = random_feeds(elaborate(text), {"batch": 50, "time": 20}, 0)
        assert feeds["ts"].max() == 4

    def test_lengths_grow_until_something_is_left(self) -> None:
        x = fed("x", "f32", "batch", "time")
        part = Slice((1,), (0,), (x.shape[1] - 20,))(x)  # type: ignore[operator]
        samples = list(sample_sizes(graph([x], y=part)))
        assert samples
        for sizes in samples:
            assert sizes["time"] > 20
            assert sizes["batch"] <= 7

    def test_a_model_without_named_dims_runs_once(self) -> None:
        x = fed("x", "f32", 3)
        assert list(sample_sizes(graph([x], y=x))) == [{}]


@pytest.mark.parametrize(
    ("left", "right", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], 0.0),
        ([1.0, 2.2], [1.0, 2.0], 0.1),
        ([0.0], [1e-9], 1e-6),
        ([1.0], [np.nan], np.inf),
        ([1.0], [np.inf], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_an_error_is_relative_to_the_largest_magnitude(left: list[float], right: list[float], error: float) -> None:
    assert relative_error(np.array(left), np.array(right)) == pytest.approx(error)


def test_whole_numbers_are_equal_or_they_are_not() -> None:
    assert relative_error(np.array([1, 2]), np.array([1, 3])) == 1.0
    assert relative_error(np.array([True]), np.array([False])) == 1.0


# Random graphs: elementwise operators, products, reductions and movers over values of two shapes

N, M = Dim.named("n"), Dim.named("m")


def applications(values: list[Value]) -> st.SearchStrategy[Value]:
    """One more node on some of the values; all of them stay small."""
    wide = [value for value in values if value.type.rank == 2]
    pick, pick_wide = st.sampled_from(values), st.sampled_from(wide)
    unary = st.sampled_from([Tanh(), Sigmoid(), Abs()])
    binary = st.sampled_from([lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, Maximum(), Minimum()])
    return st.one_of(
        st.builds(lambda op, x: op(x), unary, pick),
        st.builds(lambda op, x, y: op(x, y), binary, pick_wide, pick),
        st.builds(lambda x: Transpose((1, 0))(Transpose((1, 0))(x)), pick_wide),
        st.builds(lambda x, y: Tanh()(MatMul()(MatMul()(x, Transpose((1, 0))(y)), x)), pick_wide, pick_wide),
        st.builds(lambda x: Reshape((N, M))(Tanh()(Reshape((N * M,))(x))), pick_wide),
        st.builds(lambda x: Mean((0,))(x), pick_wide),
        st.builds(lambda x: x - Max((1,), keep=True)(x), pick_wide),
        st.builds(lambda x, y: Slice((0,), (0,), (N,))(Concat(0)(x, y)), pick_wide, pick_wide),
        st.builds(lambda x: Sum((0,))(Concat(0)(Unsqueeze((0,))(x), Unsqueeze((0,))(x))), pick),
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    x, row = fed("x", "f32", "n", "m"), fed("row", "f32", "m")
    values: list[Value] = [x, row, parameter("w")]
    for _ in range(draw(st.integers(1, 12))):
        values.append(Tanh()(draw(applications(values))))
    ends = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4))
    return graph([x, row], **{f"y{place}": end for place, end in enumerate(ends)})


@settings(max_examples=60)
@given(graphs(), st.integers(1, 4), st.integers(1, 5))
def test_random_graphs_give_the_same_on_both_backends(g: Graph, n: int, m: int) -> None:
    verify(g)
    feeds: dict[str, Any] = {"x": normal(n, m), "row": normal(m)}
    weights = {"w": np.array(0.7, np.float32)}
    before = {name: array.copy() for name, array in feeds.items()}
    expected = run(g, feeds, weights if any(node.op.name == "parameter" for node in g) else {})
    again = run(g, feeds, weights)
    proto = export(g, weights=weights)
    onnx.checker.check_model(proto, full_check=True)
    found = OnnxRunner(proto.SerializeToString(), threads=1).run(feeds)
    better = optimize(g)
    verify(better)
    rewritten = run(better, feeds, weights)
    for name, value in expected.items():
        np.testing.assert_array_equal(value, again[name])
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(rewritten[name], value, rtol=2e-4, atol=2e-5)
    for name, array in before.items():
        assert np.array_equal(array, feeds[name])
