"""Exported models: names, shapes, sources, and files that the checker and onnxruntime take without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import nablac
from compiler.dims import Dim
from compiler.graph import Graph, Value
from compiler.onnx.exporter import export
from compiler.onnx.opsets import needed_opset
from compiler.onnx.output_names import end_names
from compiler.operators.leaves import constant, size_of
from compiler.operators.linear import MatMul
from compiler.operators.powers import Exp
from compiler.operators.random import RandomUniform
from compiler.operators.reductions import Mean
from compiler.operators.shaping import Expand, Reshape, Transpose
from compiler.targets import HIGHEST_OPSET, LOWEST_OPSET
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.numpy_executor import run
from runtime.onnx_session import OnnxRunner
from tests.models import elaborate
from tests.runtime.graphs import Array, buffer, fed, graph, normal, parameter, text_of


def checked(g: Graph, **options: Any) -> onnx.ModelProto:
    """The exported model, once the checker and strict shape inference have passed it."""
    proto = export(g, **options)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    return proto


def agree(g: Graph, feeds: dict[str, Any], capfd: pytest.CaptureFixture[str], **options: Any) -> dict[str, Array]:
    """Both backends give the same, and onnxruntime warns of nothing."""
    runner = OnnxRunner(checked(g, **options).SerializeToString(), threads=1, severity=2)
    given = runner.run({name: feeds[name] for name in runner.inputs})
    expected = run(g, feeds)
    for name, key in zip(end_names(g), (*g.outputs, *g.updates), strict=True):
        assert given[name].dtype == expected[key].dtype
        np.testing.assert_allclose(given[name], expected[key], rtol=1e-5, atol=1e-6)
    captured = capfd.readouterr()
    assert captured.err == "", "onnxruntime warns"
    return given


def shape_of(info: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]


def names(entries: Any) -> list[str]:
    return [each.name for each in entries]


class TestNames:
    def test_inputs_outputs_and_weights_keep_their_names(self) -> None:
        x, w, mean = fed("x", "f32", "batch", 2), parameter("dense.W", 2, 3), buffer("norm.mean", 3)
        y = MatMul()(x, w) - mean
        proto = checked(
            graph([x], {"norm.mean": mean + Mean((0,))(y)}, y=y),
            weights={"dense.W": normal(2, 3), "norm.mean": normal(3)},
        )
        assert names(proto.graph.input) == ["x"]
        assert names(proto.graph.output) == ["y", "norm.mean.next"]
        assert names(proto.graph.initializer)[:2] == ["dense.W", "norm.mean"]

    def test_without_weights_parameters_are_inputs_after_the_others(self) -> None:
        x, w = fed("x", "f32", 2), parameter("w", 2)
        proto = checked(graph([x], y=x * w))
        assert names(proto.graph.input) == ["x", "w"]
        assert not proto.graph.initializer

    def test_named_dims_are_dim_params(self) -> None:
        n = Dim.named("time")
        x = fed("x", "f32", "batch", n, 3)
        proto = checked(graph([x], y=Reshape((x.shape[0], 3 * n))(x)))
        assert shape_of(proto.graph.input[0]) == ["batch", "time", 3]
        assert shape_of(proto.graph.output[0]) == ["batch", "3*time"]

    def test_values_are_called_by_layer_and_operator(self) -> None:
        g = elaborate("model M() {\n    input x: [batch, 3]\n    output x -> Dense(4) -> Dense(2)\n}\n")
        nodes = names(export(g).graph.node)
        assert "dense/Gemm" in nodes, nodes
        assert len(set(nodes)) == len(nodes)

    def test_nodes_tell_their_line_and_layer(self) -> None:
        g = elaborate("model M() {\n    input x: [batch, 3]\n    y = exp(x)\n    output y\n}\n")
        (node,) = export(g).graph.node
        assert {each.key: each.value for each in node.metadata_props} == {"source": "test.model:3:9"}

    def test_every_value_has_its_type(self) -> None:
        x = fed("x", "f32", "n", 2)
        proto = checked(graph([x], y=Exp()(x * 2) + x))
        produced = {output for node in proto.graph.node for output in node.output}
        assert produced == {*names(proto.graph.value_info), *names(proto.graph.output)}

    def test_the_document_and_the_metadata_are_kept(self) -> None:
        g = elaborate('model M() {\n    """What it does."""\n    input x: [2]\n    output x + 1\n}\n')
        proto = checked(g, metadata={"spec": "abc"})
        assert proto.doc_string == proto.graph.doc_string == "What it does."
        assert proto.producer_name == "nablac"
        assert [(each.key, each.value) for each in proto.metadata_props] == [("spec", "abc")]

    def test_an_output_called_like_an_input_gets_another_name(self, capfd: pytest.CaptureFixture[str]) -> None:
        x, w = fed("x", "f32", 2), parameter("w", 2)
        g = Graph({"x": x}, {"x": x * w, "w": w, "y": x}, {}, "test")
        assert end_names(g) == ("x.output", "w.output", "y")
        agree(g, {"x": normal(2), "w": normal(2)}, capfd)


class TestEnds:
    def test_an_input_a_weight_or_a_constant_may_be_an_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        x, w = fed("x", "f32", "n"), parameter("w", 2)
        g = graph([x], same=x, weight=w, one=constant(1, DType.F32))
        agree(g, {"x": normal(3), "w": normal(2)}, capfd)
        agree(g, {"x": normal(3), "w": normal(2)}, capfd, weights={"w": normal(2)})

    def test_one_value_may_be_two_outputs_and_feed_other_nodes(self, capfd: pytest.CaptureFixture[str]) -> None:
        x = fed("x", "f32", "n")
        y = x + 1
        agree(graph([x], a=y, b=y, c=Exp()(y)), {"x": normal(3)}, capfd)

    def test_an_operator_that_is_nothing_in_onnx_may_be_an_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        x = fed("x", "f32", "n")
        agree(graph([x], a=Transpose((0,))(x), b=Reshape(x.shape)(x)), {"x": normal(3)}, capfd)

    def test_unused_inputs_stay_inputs(self, capfd: pytest.CaptureFixture[str]) -> None:
        x, unused = fed("x", "f32", "n"), fed("unused", "i64")
        assert "unused" in names(checked(graph([x, unused], y=x + 1)).graph.input)
        agree(graph([x, unused], y=x + 1), {"x": normal(3), "unused": 1}, capfd)

    def test_equal_constants_are_stored_once(self) -> None:
        x = fed("x", "f32", "n")
        value: Value = x
        for _ in range(5):
            value = value * 2 + 1
        proto = checked(graph([x], y=value))
        assert len(proto.graph.initializer) == 2

    def test_weights_that_nothing_uses_are_left_out(self) -> None:
        x, w = fed("x", "f32", 2), parameter("w", 2)
        proto = checked(graph([x], y=x + w), weights={"w": normal(2), "other": normal(3)})
        assert names(proto.graph.initializer) == ["w"]

    def test_weights_that_are_missing_or_misshaped_are_told(self) -> None:
        x = fed("x", "f32", 2)
        g = graph([x], y=x + parameter("v", 2) + parameter("w", 2))
        with pytest.raises(NablacError) as caught:
            export(g, weights={"w": normal(3)})
        assert [each.code for each in caught.value.diagnostics] == ["E701", "E703"]


SIZES = {
    "a product": lambda n, m: n * m,
    "a square": lambda n, m: n**2 + 1,
    "a difference": lambda n, m: 2 * n - 3,
    "a quotient": lambda n, m: (n + 1) // 2,
    "a quotient of a negative number": lambda n, m: (n - 9) // 4,
    "a remainder": lambda n, m: (n + m) % 3,
    "a remainder of a negative number": lambda n, m: (n - 9) % 4,
    "a quotient by a dim": lambda n, m: (n * 5 + 1) // m,
    "all at once": lambda n, m: (n * m - 7) // 3 * m - (n // 2) % 2,
}


class TestSizes:
    @pytest.mark.parametrize("label", SIZES)
    def test_a_size_is_computed_as_python_would(self, label: str, capfd: pytest.CaptureFixture[str]) -> None:
        x = fed("x", "f32", "n", "m")
        n, m = x.shape
        g = graph([x], size=size_of(SIZES[label](n, m)))
        for shape in ((1, 1), (2, 3), (5, 2), (11, 4)):
            assert agree(g, {"x": np.zeros(shape, np.float32)}, capfd)["size"] == SIZES[label](*shape)

    def test_a_dim_is_read_off_a_composite_axis_where_it_stands_nowhere_alone(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        n, m = Dim.named("n"), Dim.named("m")
        x, y = fed("x", "f32", 3 * n + 1), fed("y", "f32", n + 2 * m)
        g = graph([x, y], n=size_of(n), m=size_of(m), x=Reshape((1, 3 * n + 1))(x))
        given = agree(g, {"x": normal(7), "y": normal(8)}, capfd)
        assert (given["n"], given["m"]) == (2, 3)

    def test_a_size_is_computed_once(self) -> None:
        x, y = fed("x", "f32", "n"), fed("y", "f32", "n")
        (n,) = x.shape
        one = constant(1, DType.F32)
        proto = checked(graph([x, y], a=Expand((n, n + 1))(one), b=Expand((n, n + 1))(one), c=size_of(n + 1)))
        kinds = [node.op_type for node in proto.graph.node]
        assert (kinds.count("Shape"), kinds.count("Add"), kinds.count("Concat")) == (1, 1, 1)

    def test_a_shape_with_one_unknown_is_a_constant(self) -> None:
        x = fed("x", "f32", "n", 4)
        proto = checked(graph([x], y=Reshape((x.shape[0] * 2, 2))(x)))
        assert [node.op_type for node in proto.graph.node] == ["Reshape"]

    def test_a_size_that_no_input_tells_is_an_error(self) -> None:
        n, m = Dim.named("n"), Dim.named("m")
        x = fed("x", "f32", n * m)
        with pytest.raises(NablacError) as caught:
            export(graph([x], n=size_of(n)))
        assert text_of(caught).startswith("error[E908]: the size `n` cannot be determined from the inputs of test")


RECURRENCE = """
cell Leaky(units) {
    input x: [batch, features]
    state h: [batch, units] = 0
    param W: [features, units] ~ glorot_uniform()
    param R: [units, units] ~ glorot_uniform()
    h' = 0.9 * h + 0.1 * sigmoid(x @ W + h @ R) ** 2
    output h'
}
model M(units = 3) {
    input xs: [batch, time, 2]
    ys = scan(Leaky(units), axis: 1)(xs)
    back = scan(Leaky(units), axis: 1, reverse: true)(ys)
    output back
    output first = ys[:, 0]
}
"""


class TestNestedGraphs:
    def test_a_recurrence_becomes_a_scan_that_reads_the_weights_from_outside(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        g = elaborate(RECURRENCE)
        paths = {node.op.path: node.result.type for node in g if node.op.name == "parameter"}  # type: ignore[attr-defined]
        weights = {path: normal(*type.shape) for path, type in paths.items()}  # type: ignore[arg-type]
        for sizes in ((1, 1), (2, 5)):
            agree(g, {"xs": normal(*sizes, 2), **weights}, capfd)
            agree(g, {"xs": normal(*sizes, 2), **weights}, capfd, weights=weights)
        assert [node.op_type for node in export(g).graph.node].count("Scan") == 2

    def test_no_name_is_given_twice_in_the_whole_model(self) -> None:
        given: list[str] = []
        waiting = [export(elaborate(RECURRENCE)).graph]
        while waiting:
            inner = waiting.pop()
            given += [*names(inner.input), *names(inner.initializer)]
            for node in inner.node:
                given += node.output
                waiting += [each.g for each in node.attribute if each.HasField("g")]
        assert len(set(given)) == len(given)


def drawn() -> Graph:
    """A graph that needs opset 18: draws take BitwiseXor."""
    key = fed("key", "i64")
    return graph([key], y=RandomUniform((3,))(key))


class TestOpset:
    def test_it_is_the_lowest_that_every_operator_can_do_with(self) -> None:
        x = fed("x", "f32", "n", 2)
        for g, lowest in ((graph([x], y=x + 1), 17), (drawn(), 18)):
            assert needed_opset(g) == lowest
            proto = checked(g)
            assert (proto.opset_import[0].version, proto.ir_version) == (lowest, 10)

    def test_every_opset_up_to_the_highest_can_be_asked_for(self, capfd: pytest.CaptureFixture[str]) -> None:
        x = fed("x", "f32", "n", 2)
        g = graph([x], y=Mean((0,))(Exp()(MatMul()(x, Transpose((1, 0))(x)))))
        for opset in range(needed_opset(g), HIGHEST_OPSET + 1):
            agree(g, {"x": normal(3, 2)}, capfd, opset=opset)

    @pytest.mark.parametrize(
        ("opset", "message"),
        [
            (LOWEST_OPSET, "test cannot be written in opset 17: `random_uniform` needs 18"),
            (3, "test cannot be written in opset 3: `random_uniform` needs 18"),
            (HIGHEST_OPSET + 1, "opset 25 is above 24, the highest supported"),
        ],
    )
    def test_another_one_is_refused(self, opset: int, message: str) -> None:
        with pytest.raises(NablacError) as caught:
            export(drawn(), opset=opset)
        assert text_of(caught).startswith(f"error[E907]: {message}\n --> opset\nhelp: choose one from 18 to 24")


def test_an_opset_before_the_lowest_is_no_single_operators_fault() -> None:
    x = fed("x", "f32", "n")
    with pytest.raises(NablacError) as caught:
        export(graph([x], y=Exp()(x)), opset=3)
    assert "test cannot be written in opset 3: 17 is the lowest supported" in text_of(caught)


@pytest.mark.parametrize("dtype", list(DType))
def test_every_dtype_goes_through(dtype: DType, capfd: pytest.CaptureFixture[str]) -> None:
    x = fed("x", dtype, "n", 2)
    w = Reshape((2, 2))(constant([0, 1, 1, 0], dtype))
    agree(graph([x], y=Transpose((1, 0))(x), w=w), {"x": np.ones((3, 2), dtype.numpy)}, capfd)


def test_a_graph_of_any_depth_is_written_in_linear_time() -> None:
    x = fed("x", "f32", "n")
    value = x
    for _ in range(20_000):
        value = value + x
    assert len(export(graph([x], y=value)).graph.node) == 20_000


class TestBounds:
    """What NumPy refuses because it lies outside of an axis, onnxruntime refuses too, with its optimiser on."""

    @pytest.mark.parametrize(
        ("inputs", "text", "fits", "outside"),
        [
            ("x: [batch, T]", "x[:, 2:7]", {"x": (2, 8)}, {"x": (2, 3)}),
            ("x: [batch, T]", "x[:, 0:6:2]", {"x": (2, 6)}, {"x": (2, 3)}),
            ("x: [batch, T], y: [batch, S]", "x[:, 0:S] + y", {"x": (2, 5), "y": (2, 3)}, {"x": (2, 1), "y": (2, 3)}),
            ("x: [batch, T, 4]", "x -> LearnedPositions(1)", {"x": (2, 1, 4)}, {"x": (2, 5, 4)}),
            ("x: [batch, T, 4]", "x -> LearnedPositions(3)", {"x": (2, 2, 4)}, {"x": (2, 4, 4)}),
        ],
    )
    def test_both_runtimes_stop(
        self, inputs: str, text: str, fits: dict[str, tuple[int, ...]], outside: dict[str, tuple[int, ...]]
    ) -> None:
        source = f"model M() {{\n    input {inputs}\n    output {text}\n}}\n"
        for backend in ("numpy", "ort"):
            made = nablac.compile(source, backend=backend)
            made(**{name: np.ones(shape, np.float32) for name, shape in fits.items()})
            with pytest.raises(NablacError, match="E806"):
                made(**{name: np.ones(shape, np.float32) for name, shape in outside.items()})


DOCUMENTED = """
layer Inner() {
    \"\"\"What the inner one is.\"\"\"
    input x: [batch, 3]
    output exp(x)
}
layer Outer() {
    \"\"\"What the outer one is.\"\"\"
    input x: [batch, 3]
    output Inner()(Inner()(x))
}
model M {
    input x: [batch, 3]
    output y = x -> Outer()
    output same = x
}
"""


def test_the_first_node_of_a_layer_carries_its_docstring() -> None:
    nodes = nablac.compile(DOCUMENTED).onnx().graph.node
    assert [node.doc_string for node in nodes] == [
        "outer: What the outer one is.\nouter.inner: What the inner one is.",
        "outer.inner_1: What the inner one is.",
        "",
    ]


def test_docstrings_of_cells_reach_the_nodes_of_their_steps() -> None:
    cell = 'cell C() {\n"""A sum so far."""\ninput x: [batch]; state s: [batch] = 0; s\' = s * x + 1; output s\' }\n'
    proto = nablac.compile(cell + "model M { input x: [batch, time]; output y = scan(C())(x, axis: 1) }").onnx()
    assert [node.doc_string for node in proto.graph.node if node.doc_string] == ["c: A sum so far."]


def test_a_copy_of_an_input_knows_its_line() -> None:
    (copy,) = [node for node in nablac.compile(DOCUMENTED).onnx().graph.node if node.op_type == "Identity"]
    assert {each.key: each.value for each in copy.metadata_props} == {"source": "<text>:13:11"}


BF16 = (
    "one_hot(argmax(x, axis: -1), 4) + x",
    "cumsum(x, axis: 1) + top_k(x, k: 4)[0]",
    "round(x) + sin(x) + floor(x) + x % 2 + sign(x)",
    "cast(isinf(x), dtype(x)) + cast(isnan(x), dtype(x))",
    "zeros([1, 4]) + cast(iota(4), dtype(x)) + x",
    "random.normal(like: x) + random.bernoulli(0.5, like: x)",
    'scatter_elements(x, argmax(x, axis: 1, keep: true), x[:, :1], axis: 1, reduction: "add")',
    "unsqueeze(x, -1) -> GRU(3)",
    "unsqueeze(x, -1) -> LSTM(3)",
    "unsqueeze(x, -1) -> SimpleRNN(3)",
    "unsqueeze(x, -1) -> MultiHeadAttention(1)",
    'einsum("b t, b t -> b", x, x)',
    "reshape(x, [batch, 1, 2, 2]) -> Conv2D(2, 2) -> max_pool([2, 2]) -> average_pool([1, 1])",
    "conv_transpose(reshape(x, [batch, 1, 2, 2]), ones([1, 2, 3, 3]))",
    "x -> LayerNorm() -> BatchNorm() -> softmax(axis: 1) -> gelu",
)


@pytest.mark.parametrize("opset", [None, 18, 22, 24])
@pytest.mark.parametrize("text", BF16)
def test_what_onnx_has_no_bf16_operator_for_is_computed_in_f32(text: str, opset: int | None) -> None:
    made = nablac.compile(f"model M {{\n    input x: [batch, 4]\n    output y = {text}\n}}\n", dtype="bf16")
    onnx.checker.check_model(made.onnx(opset), full_check=True)
    types = {value.type.tensor_type.elem_type for value in made.onnx(opset).graph.output}
    assert types == {onnx.TensorProto.BFLOAT16}


def test_sizes_that_were_computed_for_bf16_are_there_when_it_is_computed_in_f32() -> None:
    """`top_k` lowers itself twice, and the size that it takes is computed once."""
    made = nablac.compile(
        "model M {\n    input x: [batch, n]\n    output y = top_k(x, k: n // 2 + 1)[0][..., 0]\n}\n", dtype="bf16"
    )
    onnx.checker.check_model(made.onnx(18), full_check=True)


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("noise = random.normal(like: x)\n    output y = x", ["x"]),
        ("options = [x, x + random.normal(like: x)]\n    output y = options[0]", ["x"]),
        ("options = [x, x + random.normal(like: x)]\n    output y = options[1]", ["x", "seed"]),
        ("output y = x + random.normal(like: x) if noisy else x", ["x"]),
    ],
)
def test_a_draw_that_nothing_reads_needs_no_seed(body: str, inputs: list[str]) -> None:
    made = nablac.compile(f"model M(noisy = false) {{\n    input x: [batch, 4]\n    {body}\n}}\n")
    assert [each.name for each in made.onnx().graph.input] == inputs
