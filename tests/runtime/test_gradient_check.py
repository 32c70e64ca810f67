"""`check --gradients`: what it says is wrong is, at zeros and corners too, and what is right it lets be."""

from __future__ import annotations

import pytest

from compiler.elaborate.program import program_of
from grammar.source import Source
from runtime.gradient_check import GradientRow, check_gradients

LINE = "input x: [batch, 4]\n y = x -> Dense(3) -> Dense(1)"
BODY = "input x: [batch, 4]\n y = x -> Dense(5, activation: relu) -> Dense(1)"


def rows(body: str, loss: str, target: str = "t: [batch, 1]", seed: int = 0) -> list[GradientRow]:
    text = f"model M {{\n {body}\n output y\n}}\ntrain M {{\n target {target}\n loss {loss}\n}}\n"
    return check_gradients(program_of(Source("m.model", text)), "M", seed=seed)


@pytest.mark.parametrize(
    ("loss", "point"),
    [
        # Binary cross entropy of pieces: at a logit of 0 the pieces say -t, and the whole 0.5 - t.
        ("mean(relu(y) - y * t + softplus(-abs(y)))", "parameters of 0"),
        ("sqrt(mean((y - t) ** 2))", "errors of 0"),
        ("mean(where(abs(x) > 1, log(abs(x)), 0)) + mean(y * t)", "inputs of 0"),
    ],
)
def test_a_wrong_gradient_at_zero_is_told(loss: str, point: str) -> None:
    found = rows(LINE, loss)
    wrong = [row for row in found if not row.passed]
    assert wrong and {row.point for row in wrong} == {point}
    assert all(row.passed for row in found if not row.point)


@pytest.mark.parametrize(
    "loss",
    [
        *("mse(y, t)", "mae(y, t)", "huber(y, t)", "log_cosh(y, t)", "hinge(y, t)", "rmse(y, t)"),
        *("binary_cross_entropy(y, t)", "1 - cosine_similarity(y, t)", "mean(y * maximum(y, t))"),
        *("mean(y ** 0 + abs(y) + prod(y, axis: -1, keep: true))", "mean(elu(y) + mish(y) + gelu(y)) + mean(y * t)"),
    ],
)
@pytest.mark.parametrize("body", [LINE, BODY], ids=["line", "relu"])
def test_corners_and_zeros_are_not_called_wrong(body: str, loss: str) -> None:
    assert [row for row in rows(body, loss) if not row.passed] == []


UNET = """input image: [batch, 1, 8, 8]
 a = image -> Conv2D(6, 3) -> BatchNorm() -> relu -> Conv2D(6, 3) -> BatchNorm() -> relu
 b = a -> MaxPool2D(2) -> Conv2D(12, 3) -> BatchNorm() -> relu
 c = concat([a, b -> ConvTranspose2D(6, 2, 2, "valid")], axis: 1) -> Conv2D(6, 3) -> BatchNorm() -> relu
 y = rearrange(c -> Conv2D(3, 1), "b c h w -> b h w c")"""


@pytest.mark.parametrize("seed", range(4))
def test_a_network_of_many_corners_is_not_called_wrong(seed: int) -> None:
    found = rows(UNET, "cross_entropy(y, t)", "t: i64[batch, 8, 8]", seed)
    assert len(found) > 20
    assert [row for row in found if not row.passed] == []


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_gradients_of_16_bits_are_checked_without_their_rounding(dtype: str) -> None:
    body = f"input x: {dtype}[batch, time, 4]\n y = x -> LSTM(3) -> LayerNorm() -> Dense(1, activation: gelu)"
    found = rows(body, "mse(cast(y, f32), t)")
    assert len(found) > 10
    assert [row for row in found if not row.passed] == []
