"""Losses and metrics of f16 are computed in f32 and rounded at their end; an operator alone is rounded by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nablac
from compiler.types import DType
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
torch_functional = torch.nn.functional

BACKENDS = ("numpy", "ort")
INPUTS = "input y: [n]\n    input t: [n]"
FAR = np.array([300, -60_000, 0, 5, 33_000], np.float16)  # whose squares, or twice them, are beyond f16
NEAR = np.array([0, 30, 0, 1, 0], np.float16)
Oracle = Callable[[Any, Any], Any]  # of tensors of PyTorch

LOSSES: dict[str, tuple[np.ndarray, np.ndarray, Oracle]] = {
    "mse(y, t)": (np.array([300] + [0] * 9, np.float16), np.zeros(10, np.float16), torch_functional.mse_loss),
    "rmse(y, t)": (FAR, NEAR, lambda y, t: torch_functional.mse_loss(y, t).sqrt()),
    "mae(y, t)": (FAR, -FAR, torch_functional.l1_loss),
    "huber(y, t, delta: 2)": (FAR, NEAR, lambda y, t: torch_functional.huber_loss(y, t, delta=2)),
    "log_cosh(y, t)": (FAR, NEAR, lambda y, t: (torch.logaddexp(y - t, t - y) - np.log(2)).mean()),
    "mape(y, t)": (FAR / 50, NEAR + 1, lambda y, t: 100 * ((y - t) / t).abs().mean()),
    "gaussian_nll(y, 0 * t + 0.5, t)": (
        FAR[:1] / 2,
        NEAR[:1],
        lambda y, t: (((y - t) / 0.5) ** 2 / 2 + np.log(0.5)).mean(),
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("text", LOSSES)
def test_a_loss_that_f16_holds_does_not_overflow_before_its_end(text: str, backend: str) -> None:
    y, t, oracle = LOSSES[text]
    model = nablac.compile(f"model M {{\n    {INPUTS}\n    output {text}\n}}\n", dtype="f16", backend=backend)
    (found,) = model(y=y, t=t).values()
    expected = oracle(torch.tensor(y, dtype=torch.float64), torch.tensor(t, dtype=torch.float64))
    assert found.dtype == np.float16 and np.isfinite(expected.item())
    np.testing.assert_allclose(found, expected, rtol=2.0**-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("text", ["masked_accuracy(y, t, ignore: 9)", "cross_entropy(y, t, ignore: 9)"])
def test_more_labels_than_f16_counts(text: str, backend: str) -> None:
    model = nablac.compile(
        f"model M {{\n    input y: [n, 2]\n    input t: i64[n]\n    output {text}\n}}\n", dtype="f16", backend=backend
    )
    (found,) = model(y=np.tile(np.float16([1, 0]), (70_000, 1)), t=np.zeros(70_000, np.int64)).values()
    np.testing.assert_allclose(found, 1 if "accuracy" in text else np.log(1 + np.exp(-1)), rtol=2.0**-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_operator_is_rounded_by_itself(backend: str) -> None:
    """The square of 256 is 65,536, which f16 does not hold: infinity, as the dtype has it."""
    model = nablac.compile("model M {\n    input x: [n]\n    output x ** 2\n}\n", dtype="f16", backend=backend)
    (found,) = model(x=np.float16([255, 256, -300])).values()
    np.testing.assert_array_equal(found, np.float16([65_024, np.inf, np.inf]))


def test_a_variable_that_holds_a_dtype_holds_that_one() -> None:
    """`f32` is written for the model's float type; `dtype(widen(x))` is f32 under whatever name."""
    text = "model M {\n    input x: [n]\n    wide = dtype(widen(x))\n    own = f32\n    output a = cast(x > 0, wide)\n"
    graph = elaborate(f"{text}    output b = cast(x > 0, own)\n}}\n", dtype=DType.F16)
    assert [value.type.dtype for value in graph.outputs.values()] == [DType.F32, DType.F16]
