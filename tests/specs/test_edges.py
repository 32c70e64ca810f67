"""The library at zeros, ties, seams and far out: values, gradients and theirs are those of the smooth function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.operators.leaves import constant
from compiler.types import DType
from runtime.numpy_executor import run
from tests.models import elaborate
from tests.specs.parity import Case, case, check, check_gradients, each, torch

functional = torch.nn.functional
ZEROS = [0.0, -0.0, 1e-8, -1e-8, 0.5, 1, -1, 3.0, -3.0]
FAR = [20.0, -20.0, 80.0, -80.0, 1e4, -1e4]


def at(text: str, oracle: Callable[..., Any], *, types: dict[str, str] | None = None, **inputs: Any) -> Case:
    """A row: inputs that are what they are, not drawn."""
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    shapes: dict[str, Any] = {name: value.shape for name, value in arrays.items()}
    draws = {name: (lambda random, shape, value=value: value) for name, value in arrays.items()}
    label = f"{text} at {', '.join(str(value.tolist()) for value in arrays.values())}"
    return case(label, f"output {text}", oracle, types=types, draws=draws, sizes=({},), **shapes)


def elu(x: Any, alpha: float) -> Any:
    """functional.elu, which has a second derivative of 0 at 0, whichever side the first comes from."""
    return torch.where(x > 0, x, alpha * torch.expm1(torch.where(x > 0, 0, x)))


def log_cosh(y: Any, target: Any) -> Any:
    size = (y - target).abs()
    small = torch.where(size < 5, y - target, 0)
    return torch.where(size < 5, torch.cosh(small).log(), size + functional.softplus(-2 * size) - np.log(2)).mean()


def entropy(logits: Any, target: Any) -> Any:
    """functional.binary_cross_entropy_with_logits, twice differentiable where its target is fed."""
    return -(target * functional.logsigmoid(logits) + (1 - target) * functional.logsigmoid(-logits)).mean()


def cosine(y: Any, target: Any) -> Any:
    return functional.cosine_similarity(y, target, -1).mean()


def divergence(log_y: Any, target: Any) -> Any:
    return torch.where(target > 0, target * (torch.where(target > 0, target, 1).log() - log_y), 0).sum(-1).mean()


def cosines_near_zero(y: Any, target: Any) -> Any:
    """functional.cosine_similarity where `y` is shorter than 1e-8; its gradient takes that norm for what it was."""
    return (y / 1e-8 * target / target.norm(dim=-1, keepdim=True)).sum(-1).mean()


LOGITS = [[0.0, 0, 0], [1, 1, -1], [80, -80, 0], [-1e4, 1e4, 1e4]]
FEW: dict[str, Any] = {"types": {"label": "i64"}, "logits": LOGITS, "label": [0, 2, 1, 1]}
EDGES = (
    *(
        at(text, oracle, x=ZEROS + FAR)
        for text, oracle in {
            "elu(x)": lambda x: elu(x, 1.0),
            "elu(x, alpha: 0.5)": lambda x: elu(x, 0.5),
            "selu(x)": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
            "gelu(x)": functional.gelu,
            "gelu_tanh(x)": lambda x: functional.gelu(x, approximate="tanh"),
            "silu(x)": functional.silu,
            "softsign(x)": functional.softsign,
            "softplus(x)": lambda x: -functional.logsigmoid(-x),
            "sigmoid(x)": torch.sigmoid,
            "tanh(x)": torch.tanh,
            "softmax(x, axis: 0)": lambda x: functional.softmax(x, 0),
            "log_softmax(x, axis: 0)": lambda x: functional.log_softmax(x, 0),
            "logsumexp(x)": lambda x: torch.logsumexp(x, 0),
            "x ** 2": torch.square,
            "max(x * x)": lambda x: (x * x).amax(),
        }.items()
    ),
    at("mish(x)", functional.mish, x=[*ZEROS, *FAR[:4]]),
    at("maximum(x, -x)", torch.abs, x=ZEROS + FAR),  # each half: the derivative of |0| is 0 whichever way it is written
    at("maximum(x, 0) - minimum(0, x)", torch.abs, x=ZEROS),
    at("maximum(x, 0) + softplus(-abs(x))", lambda x: -functional.logsigmoid(-x), x=[1, -1, 2e-8]),
    at("mse(y, target)", functional.mse_loss, y=ZEROS, target=np.zeros(9)),
    at("mae(y, target)", functional.l1_loss, y=ZEROS, target=np.zeros(9)),
    at("rmse(y, target)", lambda y, t: (y - t).norm() / 3, y=np.arange(9.0), target=np.zeros(9)),
    at(
        "huber(y, target)", functional.huber_loss, y=[0.0, -0.0, 1e-8, -1e-8, 0.5, -0.5, 2, -2, 1e4], target=np.zeros(9)
    ),
    at("log_cosh(y, target)", log_cosh, y=ZEROS + FAR, target=np.zeros(15)),
    at("binary_cross_entropy(logits, target)", entropy, logits=ZEROS + FAR, target=np.zeros(15)),
    at("binary_cross_entropy(logits, target)", entropy, logits=ZEROS + FAR, target=np.ones(15)),
    at("binary_cross_entropy(logits, target)", entropy, logits=ZEROS + FAR, target=np.full(15, 0.3)),
    at("cross_entropy(logits, label)", functional.cross_entropy, **FEW),
    at(
        "cross_entropy(logits, label, smoothing: 0.1)",
        lambda x, t: functional.cross_entropy(x, t, label_smoothing=0.1),
        **FEW,
    ),
    at("categorical_cross_entropy(logits, target)", functional.cross_entropy, logits=LOGITS, target=np.eye(4, 3)),
    at("kl_divergence(log_y, target)", divergence, log_y=[[0.0, -2, -1]] * 2, target=[[1.0, 0, 0], [0, 0.5, 0.5]]),
    at("cosine_similarity(y, target)", cosine, y=[[3.0, 4], [1, 0], [1e-3, 0]], target=[[3.0, 4], [0, 1], [-1, 0]]),
    at("cosine_similarity(y, target)", cosines_near_zero, y=[[0.0, 0], [1e-9, 0]], target=[[3.0, 4], [0, 1]]),
)


@each(EDGES)
def test_values_at_the_edges_are_torchs(case: Case) -> None:
    check(case)


@each(EDGES)
def test_gradients_at_the_edges_are_torchs(case: Case) -> None:
    check_gradients(case)


def slope(text: str, dtype: DType, **inputs: Any) -> dict[str, Any]:
    """The value of a text and its gradient with respect to the first input, in a dtype."""
    declared = ", ".join(f"{name}: [{', '.join(map(str, np.shape(value)))}]" for name, value in inputs.items())
    graph = elaborate(f"model M() {{\n    input {declared}\n    output value = {text}\n}}\n", dtype=dtype)
    value = graph.outputs["value"]
    (grad,) = gradients([value], [constant(1.0, dtype)], [next(iter(graph.inputs.values()))])
    assert grad is not None
    feeds = {name: np.asarray(each, dtype.numpy) for name, each in inputs.items()}
    return run(Graph(graph.inputs, {"value": value, "slope": grad}), feeds)


SLOPES = {
    # What loses its length, or its error, has no direction to go: a norm's gradient at 0 is 0 in PyTorch.
    "rmse(x, y)": ({"x": [1.0, 2], "y": [1.0, 2]}, DType.F32, 0, [0, 0]),
    "rmse(x, 0)": ({"x": [0.0, 0]}, DType.F16, 0, [0, 0]),
    # The squares of these overflow, or are lost.
    "cosine_similarity(x, y)": ({"x": [[3e30, 4e30]], "y": [[3e-30, 4e-30]]}, DType.F32, 5e-22, None),
    "sum(unit_vectors(x))": ({"x": [[300.0, 400]]}, DType.F16, 1.4, None),
    "cosine_similarity(y, x)": ({"x": [[0.0, 0]], "y": [[300.0, 400]]}, DType.F16, 0, None),
    "sum(gelu_tanh(x))": ({"x": [300.0, -300]}, DType.F16, 300, [1, 0]),
    "r_squared(x, y)": ({"x": [10000.0, 10001, 10003], "y": [10000.0, 10002, 10003]}, DType.F32, 1 - 3 / 14, None),
    "kl_divergence(x, y)": ({"x": [[-1.0, -1]], "y": [[0.0, 1]]}, DType.F16, 1, [[0, -1]]),
    "huber(x, 0, delta: 3)": ({"x": [3.0, -3]}, DType.F64, 4.5, [1.5, -1.5]),
    "log_cosh(x, 0)": ({"x": [np.inf]}, DType.F32, np.inf, [1]),
    "huber(x, 0)": ({"x": [-np.inf]}, DType.F32, np.inf, [-1]),
    "binary_cross_entropy(x, 1)": ({"x": [30.0]}, DType.F32, np.log1p(np.exp(-30)), None),
}


@pytest.mark.parametrize("text", SLOPES)
def test_far_out_a_slope_is_a_number(text: str) -> None:
    inputs, dtype, value, expected = SLOPES[text]
    found = slope(text, dtype, **inputs)
    np.testing.assert_allclose(found["value"], value, rtol=1e-3 if dtype is DType.F16 else 1e-5, atol=1e-30)
    if expected is not None:
        np.testing.assert_allclose(found["slope"], expected, rtol=1e-3)


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16, DType.F32], ids=str)
@pytest.mark.parametrize("text", ["sinusoids(3001, 8, x)", "rotate(x)"])
def test_far_positions_differ_in_16_bits_too(text: str, dtype: DType) -> None:
    model = f"model M() {{\n    input x: [3001, 8]\n    output {text}\n}}\n"
    feeds = {"x": np.ones((3001, 8))}
    (expected,) = run(elaborate(model, dtype=DType.F64), feeds).values()
    (found,) = run(elaborate(model, dtype=dtype), {"x": feeds["x"].astype(dtype.numpy)}).values()
    rounding = {DType.F16: 2e-3, DType.BF16: 2e-2, DType.F32: 1e-3}[dtype]
    np.testing.assert_allclose(found.astype(float), expected, atol=rounding)
