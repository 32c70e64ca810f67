"""Operators that passes create from equations, against PyTorch: normalisations, activations, Gemm, packed attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph, Operator
from compiler.operators.attention import LATER
from compiler.operators.channel_normalization import BatchNormalization, GroupNormalization, InstanceNormalization
from compiler.operators.fused_activations import Gelu, HardSigmoid, HardSwish, Mish, Silu
from compiler.operators.gemm import Gemm
from compiler.operators.layer_normalization import LayerNormalization, RMSNormalization
from compiler.operators.leaves import Input
from compiler.operators.packed_attention import PackedAttention
from compiler.operators.rotary_embedding import RotaryEmbedding
from compiler.operators.standardization import Standardization
from compiler.types import DType, TensorType
from tests.compiler.operators.harness import (
    OperatorCases,
    case,
    each,
    refuses,
    run_numpy,
    run_onnx,
    uniform,
)

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
F = torch.nn.functional
BATCH = {"batch": 2, "T": 5}
FLOATS = (DType.F32, DType.F64, DType.F16)
KEYS = np.array([[True] * 4 + [False] * 3, [False] * 7]).reshape(2, 1, 1, 7)
LOWEST = -3.4028234663852886e38


def packed(heads: int, groups: int, causal: bool = False) -> Any:
    def oracle(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        q, k, v = (x.unflatten(-1, (n, -1)).transpose(1, 2) for x, n in ((q, heads), (k, groups), (v, groups)))
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=0.5, enable_gqa=heads != groups)
        y = y if mask is None else torch.where(mask.any(-1, True), y, 0.0)
        return y.transpose(1, 2).flatten(2)

    return oracle


def rotated(heads: int = 0) -> Any:
    """As rotate_half of LLaMA has it: the tables for both halves, and the halves exchanged."""

    def oracle(x: Any, across: Any, up: Any) -> Any:
        x = x.unflatten(-1, (heads, -1)).transpose(1, 2) if heads else x
        a, b = x.chunk(2, -1)
        y = x * torch.cat((across, across), -1) + torch.cat((-b, a), -1) * torch.cat((up, up), -1)
        return y.transpose(1, 2).flatten(2) if heads else y

    return oracle


def standardized(axes: tuple[int, ...], eps: float, centred: bool = True) -> Any:
    def oracle(x: Any) -> Any:
        x = x - x.mean(axes, keepdim=True) if centred else x
        inverse = (x.square().mean(axes, keepdim=True) + eps).rsqrt()
        return x * inverse, inverse

    return oracle


CASES = (
    case("layer norm", LayerNormalization(-1, 1e-3), x=(2, 5, 6), g=(6,), b=(6,), named=BATCH, order=0,
         oracle=lambda x, g, b: F.layer_norm(x, (6,), g, b, 1e-3)),
    case("layer norm of two axes, scaled", LayerNormalization(-2, 1e-3), x=(2, 5, 6), g=(5, 6), named={"batch": 2},
         order=0, oracle=lambda x, g: F.layer_norm(x, (5, 6), g, None, 1e-3)),
    case("layer norm of named sizes alone", LayerNormalization(1, 1e-3), x=(2, 5, 6), named=BATCH, order=0,
         oracle=lambda x: F.layer_norm(x, (5, 6), None, None, 1e-3)),
    case("rms norm", RMSNormalization(-1, 1e-3), x=(2, 5, 6), g=(6,), named=BATCH, order=0,
         oracle=lambda x, g: F.rms_norm(x, (6,), g, 1e-3)),
    case("rms norm alone", RMSNormalization(1, 1e-3), x=(2, 4, 6), named={"batch": 2}, order=0,
         oracle=lambda x: F.rms_norm(x, (4, 6), None, 1e-3)),
    case("standardization", Standardization(-2, 1e-3), x=(2, 5, 6), named=BATCH, oracle=standardized((1, 2), 1e-3)),
    case("standardization by the root mean square", Standardization(-1, 1e-3, False), x=(2, 5, 6), named=BATCH,
         oracle=standardized((2,), 1e-3, centred=False)),
    case("instance norm", InstanceNormalization(1e-3), x=(2, 4, 5, 3), g=(4,), b=(4,), named=BATCH, order=0,
         oracle=lambda x, g, b: F.instance_norm(x, None, None, g, b, eps=1e-3)),
    case("group norm", GroupNormalization(1e-3, 2), x=(2, 4, 5, 3), g=(4,), b=(4,), named=BATCH, order=0,
         oracle=lambda x, g, b: F.group_norm(x, 2, g, b, 1e-3)),
    case("group norm of rows", GroupNormalization(1e-3, 2), x=(3, 6), g=(6,), b=(6,), named={}, order=0,
         oracle=lambda x, g, b: F.group_norm(x, 2, g, b, 1e-3)),
    case("batch norm", BatchNormalization(1e-3), x=(2, 4, 5, 3), g=(4,), b=(4,), m=(4,), v=uniform((4,), 1, 2),
         named=BATCH, order=0, oracle=lambda x, g, b, m, v: F.batch_norm(x, m, v, g, b, eps=1e-3)),
    case("gelu", Gelu(), x=(3, 5), order=0, oracle=F.gelu, dtypes=(DType.F32, DType.F16)),
    case("gelu by tanh", Gelu(tanh=True), x=(3, 5), order=0, oracle=lambda x: F.gelu(x, approximate="tanh"),
         dtypes=FLOATS),
    case("hard sigmoid", HardSigmoid(), x=uniform((3, 7), -5, 5), order=0, oracle=F.hardsigmoid, dtypes=FLOATS),
    case("hard swish", HardSwish(), x=uniform((3, 7), -5, 5), order=0, oracle=F.hardswish, dtypes=FLOATS),
    case("mish", Mish(), x=(3, 5), order=0, oracle=F.mish, dtypes=FLOATS),
    case("silu", Silu(), x=(3, 5), order=0, oracle=F.silu, dtypes=FLOATS),
    case("gemm", Gemm(), x=(3, 4), y=(4, 5), b=(5,), order=0, oracle=lambda x, y, b: x @ y + b),
    case("gemm without a bias", Gemm(right_transposed=True), x=(3, 4), y=(5, 4), order=0,
         oracle=lambda x, y: x @ y.T),
    case("gemm of transposed sides with factors", Gemm(0.5, -2.0, True, True), x=(4, 3), y=(5, 4), b=(3, 1), order=0,
         oracle=lambda x, y, b: 0.5 * x.T @ y.T - 2 * b),
    case("packed attention", PackedAttention(2, 2, 0.5), q=(2, 5, 6), k=(2, 7, 6), v=(2, 7, 8), order=0,
         named={"batch": 2, "T": 5, "S": 7}, oracle=packed(2, 2), dtypes=(DType.F32, DType.F64)),
    case("masked packed attention", PackedAttention(2, 2, 0.5, (("mask", LOWEST),), True), q=(2, 5, 6), k=(2, 7, 6),
         v=(2, 7, 8), mask=KEYS, order=0, named={"batch": 2, "T": 5, "S": 7}, oracle=packed(2, 2),
         dtypes=(DType.F32, DType.F64)),
    case("causal packed attention of shared heads", PackedAttention(4, 2, 0.5, ((LATER, LOWEST),)), q=(2, 5, 12),
         k=(2, 5, 6), v=(2, 5, 4), order=0, named=BATCH, oracle=packed(4, 2, causal=True),
         dtypes=(DType.F32, DType.F64)),
    case("rotated heads", RotaryEmbedding(), x=(2, 3, 5, 6), across=(5, 3), up=(5, 3), order=0, named=BATCH,
         oracle=rotated(), dtypes=FLOATS),
    case("rotated heads side by side", RotaryEmbedding(3), x=(2, 5, 6), across=(5, 1), up=(5, 1), order=0, named=BATCH,
         oracle=rotated(3), dtypes=FLOATS),
    case("a rotated token", RotaryEmbedding(2), x=(3, 1, 8), across=(1, 2), up=(1, 2), order=0, named={"batch": 3},
         oracle=rotated(2), dtypes=FLOATS),
)  # fmt: skip


@each(CASES)
class TestFusedForms(OperatorCases):
    pass


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_lowest_opset_gives_the_same(case: Any) -> None:
    arrays = case.arrays_in(DType.F32)
    graph = case.graph(case.symbolic_types(arrays))
    feeds = case.feeds(arrays, graph)
    given = run_onnx(graph, feeds, opset=17)
    assert given is not None
    for name, expected in run_numpy(graph, feeds).items():
        np.testing.assert_allclose(given[name], expected, rtol=1e-5, atol=1e-5)


NAN, INF = float("nan"), float("inf")
EXTREME = np.array([0.0, -0.0, 1e-30, -1e-30, 3, -3, 17.5, -17.5, 88, -88, 200, -200, 3e38, -3e38, INF, -INF, NAN])
EQUATIONS = {
    Gelu(): lambda x: x * (0.5 * (1 + torch.erf(x / 2**0.5))),
    Gelu(tanh=True): lambda x: x * (0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))),
    HardSigmoid(): lambda x: torch.clip(x / 6 + 0.5, 0, 1),
    HardSwish(): lambda x: x * torch.clip(x / 6 + 0.5, 0, 1),
    Mish(): lambda x: x * torch.tanh(torch.logaddexp(x, torch.zeros_like(x))),
    Silu(): lambda x: x * torch.sigmoid(x),
}


@pytest.mark.parametrize("op", EQUATIONS, ids=str)
@pytest.mark.parametrize("opset", [17, 24])
def test_an_activation_at_its_edges_is_its_equation(op: Operator, opset: int) -> None:
    x = EXTREME.astype(np.float32)
    expected = EQUATIONS[op](torch.tensor(x).double()).numpy()
    graph = Graph({"x": (value := Input("x", TensorType(DType.F32, x.shape))())}, {"result": op(value)})
    for way in (run_numpy(graph, {"x": x}), run_onnx(graph, {"x": x}, opset=opset)):
        assert way is not None
        np.testing.assert_allclose(way["result"], expected.astype(np.float32), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("op", [LayerNormalization(-1, 1e-5), RMSNormalization(-1, 1e-5)], ids=str)
def test_a_norm_far_from_zero_and_with_infinities_is_its_equation(op: Operator) -> None:
    rows = [[1000.5, 1001, 999], [5, 5, 5], [0, 0, 0], [INF, 1, 2], [NAN, 1, 2], [1e-20, 2e-20, 0], [1e15, 1, 2]]
    x = np.array(rows, np.float32)
    wide = torch.tensor(x).double()
    centred = wide - wide.mean(-1, keepdim=True) if isinstance(op, LayerNormalization) else wide
    expected = (centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()).numpy()
    graph = Graph({"x": (value := Input("x", TensorType(DType.F32, x.shape))())}, {"result": op(value)})
    for way in (run_numpy(graph, {"x": x}), *(run_onnx(graph, {"x": x}, opset=opset) for opset in (17, 24))):
        assert way is not None
        np.testing.assert_allclose(way["result"], expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("gradient", [[1, 2, 3], [INF, 1, 1], [INF, -INF, 0], [INF, INF, INF], [NAN, 0, 0]], ids=str)
def test_a_gradient_with_infinities_is_that_of_the_equations(gradient: list[float], centred: bool) -> None:
    x = np.array([[1, 2, -4], [5, 5, 5], [0, 0, 0], [INF, 1, 2], [-INF, INF, 0], [NAN, 1, 2], [1e160, 2, 1]])
    flow = np.broadcast_to(np.array(gradient, np.float64), x.shape)
    leaf = torch.tensor(x, requires_grad=True)
    standardized((-1,), 1e-5, centred)(leaf)[0].backward(torch.tensor(flow))
    values = [Input(name, TensorType(DType.F64, x.shape))() for name in ("x", "flow")]
    normal = Standardization(-1, 1e-5, centred).apply(values[0]).results[0]
    (result,) = gradients([normal], values[1:], values[:1])
    assert result is not None
    graph = Graph({"x": values[0], "flow": values[1]}, {"result": result})
    computed = run_numpy(graph, {"x": x, "flow": flow})["result"]
    np.testing.assert_allclose(computed, leaf.grad.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (LayerNormalization(), ("f32[n, 4]", "f32[3]"), "the scale and the shift must be f32[4]"),
        (RMSNormalization(), ("f32[n, 4]", "f32[4]", "f32[4]"), "the scale and the shift must be f32[4]"),
        (LayerNormalization(), ("i64[n, 4]",), "expected float tensors, got i64[n, 4]"),
        (InstanceNormalization(), ("f32[4]",), "expected float tensors of 2 axes or more, got f32[4]"),
        (InstanceNormalization(), ("f32[n, 4, 2]", "f32[2]"), "expected vectors f32[4], got f32[2]"),
        (GroupNormalization(1e-5, 3), ("f32[n, 4, 2]",), "3 groups do not divide the channels of f32[n, 4, 2]"),
        (Gemm(), ("f32[2, 3]", "f32[4, 2]"), "inner dimensions differ: 3 (left) and 4 (right)"),
        (Gemm(), ("f32[2, 3, 1]", "f32[4, 2]"), "expected matrices of floats, got f32[2, 3, 1] and f32[4, 2]"),
        (Gemm(), ("f32[2, 3]", "f32[3, 1]", "f32[2]"), "the bias f32[2] does not broadcast to f32[2, 1]"),
        (PackedAttention(3, 1, 1.0), ("f32[n, 5, 4]",) * 3,
         "expected [batch, length, 3 heads of a width], got f32[n, 5, 4]"),
        (RotaryEmbedding(), ("f32[n, 2, 5, 3]", "f32[5, 1]", "f32[5, 1]"),
         "expected [batch, heads, T, an even width], got f32[n, 2, 5, 3]"),
        (RotaryEmbedding(2), ("f32[n, 5, 8]", "f32[5, 2]", "f32[5, 4]"),
         "expected two tables [5, 2] for f32[n, 5, 8], got f32[5, 2] and f32[5, 4]"),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit_are_refused(op: Operator, types: tuple[str, ...], message: str) -> None:
    assert str(refuses(op, *types)) == message
