"""16-bit floats: what adds up or takes several steps is computed in f32, and rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.graph import Graph
from compiler.operators.leaves import Buffer, Constant, Parameter
from compiler.passes.pipeline import optimize
from compiler.rewrite import replace
from compiler.types import DType
from runtime.numpy_executor import NumpyRunner
from tests.compiler.operators.harness import run_every_way, run_numpy
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
F = torch.nn.functional

# The share of itself by which a number is rounded: half of the last of 11 and of 8 bits, and a little of f32's.
ROUNDING = {DType.F16: 2.0**-11 * 1.01, DType.BF16: 2.0**-8 * 1.01}
SMALLEST = {DType.F16: 2.0**-24, DType.BF16: 2.0**-133}

EXPRESSIONS = {
    "sum(x, axis: -1)": lambda x: x.sum(-1),
    "mean(x, axis: [1, 2])": lambda x: x.mean((1, 2)),
    "mean(x)": lambda x: x.mean(),
    "prod(x[:, :, :9], axis: -1)": lambda x: x[:, :, :9].prod(-1),
    "cumsum(x, axis: -1)": lambda x: x.cumsum(-1),
    "logsumexp(x, axis: -1)": lambda x: x.logsumexp(-1),
    "softmax(x, axis: -1)": lambda x: x.softmax(-1),
    "log_softmax(x, axis: 1)": lambda x: x.log_softmax(1),
    "x @ transpose(x, [0, 2, 1])": lambda x: x @ x.mT,
    'einsum("b i j, c i j -> b c", x, x)': lambda x: torch.einsum("bij,cij->bc", x, x),
    "conv(x, x, pads: [1, 1])": lambda x: F.conv1d(x, x, padding=1),
    "conv_transpose(x, transpose(x, [1, 0, 2]), pads: [9, 9])": lambda x: F.conv_transpose1d(
        x, x.transpose(0, 1), padding=9
    ),
    "average_pool(x, [30], count_include_pad: true)": lambda x: F.avg_pool1d(x, 30, 1),
    "sigmoid(x * 4)": lambda x: torch.sigmoid(x * 4),
    "softplus(x)": F.softplus,
    "erf(x)": torch.erf,
    "x ** 5": lambda x: x**5,
    "scatter_elements(x * 0, iota(64) // 64 + zeros([3, 8, 64], i64), x, reduction: \"add\")[:, :, 0]":
        lambda x: x.sum(-1),
}  # fmt: skip


def rounded(dtype: DType) -> Any:
    """Numbers that the dtype holds."""
    return (np.random.default_rng(0).normal(size=(3, 8, 64)) * 2).astype(dtype.numpy)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_kernel_rounds_once(text: str, dtype: DType) -> None:
    x = rounded(dtype)
    graph = elaborate(f"model M {{\n    input x: [3, 8, 64]\n    output y = {text}\n}}\n", dtype=dtype)
    expected = EXPRESSIONS[text](torch.tensor(x.astype(np.float32)).double()).numpy()
    scale = np.abs(expected).max() * 2.0**-20  # what f32 loses where terms cancel
    for way, values in every_way(graph, {"x": x}).items():
        assert values["y"].dtype == dtype.numpy
        error = np.abs(values["y"].astype(np.float64) - expected)
        assert (error <= ROUNDING[dtype] * np.abs(expected) + SMALLEST[dtype] + scale).all(), way


def every_way(made: Graph, feeds: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All ways of f16; onnxruntime has next to no kernels in bf16."""
    if DType.BF16 in {value.type.dtype for value in made.inputs.values()}:
        return {"NumPy": run_numpy(made, feeds), "NumPy, after the passes": run_numpy(optimize(made), feeds)}
    return run_every_way(made, feeds)


COUNTED = {
    "mean(x)": 1, "sum(x[:, :4000])": 4000, "max(cumsum(x, axis: -1)[:, :4000])": 4000, "mse(x, x * 0)": 1,
    "max(x * 300 -> RMSNorm())": 1, "max(x[:, :2] * [300, -300] -> LayerNorm())": 1,
    "max(reshape(x * [300], [1, 8, 512]) -> GroupNorm(2))": 0, "mean(x * 300 -> RMSNorm())": 1,
    "max(conv(reshape(x, [1, 4096, 1])[:, :4000], ones([1, 4000, 1])))": 4000,
    "max(softmax(reshape(x, [1, 64, 64]), axis: -1) @ reshape(x, [1, 64, 64]))": 1,
    "cross_entropy(x * 0, zeros([1], i64))": 8.317766166719343,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("text", COUNTED)
def test_many_ones_add_up(text: str, dtype: DType) -> None:
    made = elaborate(f"model M {{\n    input x: [1, 4096]\n    output y = {text}\n}}\n", dtype=dtype)
    ones = {
        node.op.path: np.full(node.result.shape, float(node.op.path.endswith("gamma")), dtype.numpy)
        for node in made
        if isinstance(node.op, Parameter)
    }
    constants = {value: Constant.of(ones[value.node.op.path])() for value in _parameters(made)}
    (whole,) = replace(list(made.outputs.values()), constants)
    graph = Graph(made.inputs, {"y": whole})
    for way, values in every_way(graph, {"x": np.ones((1, 4096), dtype.numpy)}).items():
        np.testing.assert_allclose(float(values["y"]), COUNTED[text], 2 * ROUNDING[dtype], err_msg=way)


def _parameters(made: Graph) -> list[Any]:
    return [node.result for node in made if isinstance(node.op, Parameter)]


def test_a_gradient_over_many_steps_adds_up_in_f32() -> None:
    """Of `h' = h + w`, over 4,096 steps: every step adds to the gradient of `w`."""
    text = (
        "cell C() {\n    input x: [b]\n    input w: [b]\n    state h: [b] = 0\n    h' = x * w\n    output h'\n}\n"
        "model M {\n    input x: [b, 4096], w: [b]\n    y = scan(C())(x, axis: 1, w: w)\n"
        "    output dw = gradient(sum(y[:, -1] + sum(y, axis: 1) / 64), w)\n}\n"
    )
    made = elaborate(text, dtype=DType.F16)
    feeds = {"x": np.ones((1, 4096), np.float16), "w": np.ones(1, np.float16)}
    assert run_numpy(made, feeds)["dw"] == 65


HALF = {
    "gradient(sum(hard_sigmoid(x) * s), x)": lambda x: torch.where(x.abs() < 3, 1 / 6, 0.0),
    "cast(x / 3 == clip(x / 3, -9, 9), f16)": torch.ones_like,
    "cast(x / 3 == max(x / 3), f16)": lambda x: (x == x.max()).double(),
    "gradient(sum(clip(x / 3, -1, 1)), x)": lambda x: torch.where(x.abs() <= 3, 1 / 3, 0.0),
    "gradient(max(x / 3), x)": lambda x: (x == x.max()) / 3,
    "logsumexp(x * 0 + 20, axis: 0, keep: true)": lambda x: x.new_full((1,), 20 + np.log(7)),
    "sigmoid(x - 12)": lambda x: torch.sigmoid(x - 12),
    "cast(argmax(x / 3, axis: 0), f16)": lambda x: x.argmax().double(),
}


@pytest.mark.parametrize("text", HALF)
def test_onnxruntime_compares_what_was_rounded(text: str) -> None:
    """It computes f16 in f32, and would find a number unequal to itself where it rounds only one of two."""
    lines = f"    input x: [7], s: [7]\n    y = hard_sigmoid(x)\n    output y\n    output z = {text}\n"
    made = elaborate(f"model M {{\n{lines}}}\n", dtype=DType.F16)
    x = np.array([-1, 0.1, 0.5, 1, 2.5, -7, 8], np.float16)
    expected = HALF[text](torch.tensor(x.astype(np.float64))).numpy()
    for way, found in run_every_way(made, {"x": x, "s": np.ones(7, np.float16)}).items():
        np.testing.assert_allclose(found["z"].astype(np.float64), expected, 2e-3, 1e-7, err_msg=f"by {way}")


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("size", ["n", "70000"])
def test_a_mean_over_more_than_f16_holds_has_a_gradient(size: str, dtype: DType) -> None:
    text = f"model M {{\n    input x: [{size}]\n    output dx = gradient(mean(x), x)\n}}\n"
    made = elaborate(text, dtype=dtype)
    for way, found in every_way(made, {"x": np.zeros(70000, dtype.numpy)}).items():
        np.testing.assert_allclose(found["dx"].astype(np.float64), 1 / 70000, 5e-3, err_msg=way)


@pytest.mark.parametrize("size", ["n", "70000"])
def test_a_batch_of_more_than_f16_holds_is_normalised(size: str) -> None:
    text = f"model M {{\n    input x: [1, 1, {size}]\n    output y = x -> BatchNorm()\n}}\n"
    made = elaborate(text, dtype=DType.F16, training=True)
    x = np.tile(np.array([1000, -1000], np.float16), 35000).reshape(1, 1, -1)
    stored = {
        node.op.path: np.full(node.result.shape, float(node.op.path.endswith(("gamma", "variance"))), np.float16)
        for node in made
        if isinstance(node.op, (Parameter, Buffer))
    }
    found = NumpyRunner(made, stored).run({"x": x})
    np.testing.assert_array_equal(found["y"], np.sign(x))
    assert float(found["batch_norm.running_mean"][0]) == 0
