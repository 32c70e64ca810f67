"""What an output says of a target, as the loss tells it."""

from __future__ import annotations

import pytest

from compiler.output_meanings import output_meanings
from tests.models import spec_of

# The model's body, targets and loss; what each output means
CASES: dict[str, tuple[str, str, str, dict[str, tuple[str, str]]]] = {
    "a value": ("output y = x -> Dense(1)", "t: [batch, 1]", "mse(y, t)", {"y": ("value", "t")}),
    "a value without its last axis": (
        "output y = squeeze(x -> Dense(1), -1)",
        "t: [batch, 1]",
        "mse(unsqueeze(y, -1), t)",
        {"y": ("value", "t")},
    ),
    "logits": ("output y = x -> Dense(3)", "t: i64[batch]", "cross_entropy(y, t)", {"y": ("logits", "t")}),
    "smoothed and ignoring": (
        "output y = x -> Dense(3)",
        "t: i64[batch]",
        "cross_entropy(y, t, smoothing: 0.1, ignore: 0)",
        {"y": ("logits", "t")},
    ),
    "logits of one-hot rows": (
        "output y = x -> Dense(3)",
        "t: [batch, 3]",
        "categorical_cross_entropy(y, t)",
        {"y": ("logits", "t")},
    ),
    "probabilities and the class of inner logits": (
        "z = x -> Dense(3)\n output p = softmax(z)\n output log_p = log_softmax(z)\n output best = argmax(p)",
        "t: i64[batch]",
        "cross_entropy(z, t)",
        {"p": ("probabilities", "t"), "log_p": ("log_probabilities", "t"), "best": ("class", "t")},
    ),
    "yes or no": (
        "output y = x -> Dense(1)",
        "t: [batch, 1]",
        "binary_cross_entropy(y, t)",
        {"y": ("binary_logits", "t")},
    ),
    "the probability of yes": (
        "z = x -> Dense(2)\n output p = sigmoid(z)",
        "t: [batch, 2]",
        "binary_cross_entropy(z, t)",
        {"p": ("binary_probabilities", "t")},
    ),
    "two losses": (
        "h = x -> Dense(4) -> tanh\n output kind = h -> Dense(3)\n output price = h -> Dense(1)\n output h",
        "a: i64[batch]\n target b: [batch, 1]",
        "cross_entropy(kind, a) + mse(price, b)",
        {"kind": ("logits", "a"), "price": ("value", "b")},
    ),
    "an autoencoder": ("output y = x -> Dense(4)", "", "mse(y, x)", {}),
    "an output beside the loss": (
        "h = x -> Dense(4)\n output y = h -> Dense(1)\n output z = h -> Dense(1)",
        "t: [batch, 1]",
        "mse(y, t)",
        {"y": ("value", "t")},
    ),
    "scores of more classes than the part that is compared": (
        "output all = x -> Dense(4)",
        "t: i64[batch]",
        "cross_entropy(all[:, :3], t)",
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_each_output_says(case: str) -> None:
    body, targets, loss, meanings = CASES[case]
    target = f"target {targets}" if targets else ""
    text = f"model M {{ input x: [batch, 4]\n {body} }}\ntrain M {{ {target}\n loss {loss} }}\n"
    spec = spec_of(text)
    assert {name: (said.kind, said.target) for name, said in output_meanings(spec).items()} == meanings


def test_without_a_train_block_nothing_is_said() -> None:
    text = "model M { input x: [batch, 4]; output y = x -> Dense(1) }\n"
    assert output_meanings(spec_of(text)) == {}
