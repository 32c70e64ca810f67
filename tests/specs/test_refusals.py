"""What the library says to sizes and options that do not fit, in the user's own line."""

from __future__ import annotations

import pytest

from compiler.build import elaborate, program_of
from grammar.diagnostics import NablacError
from grammar.source import Source

REFUSED = {
    "x -> MultiHeadAttention(3)": ("[batch, T, 8]", "width = 8 must split into heads = 3"),
    "x -> MultiHeadAttention(4, kv_heads: 3)": ("[batch, T, 8]", "heads = 4 must split into kv_heads = 3"),
    "x -> SinusoidalPositions()": ("[batch, T, 7]", "width = 7 must be even"),
    "x -> GroupNorm(4)": ("[batch, 6, n]", "channels = 6 must split into groups = 4"),
    "x -> Conv2D(8, 3, groups: 4)": ("[batch, 6, 9, 9]", "channels = 6 must split into groups = 4"),
    "x -> Conv2D(6, 3, groups: 4)": ("[batch, 8, 9, 9]", "filters = 6 must split into groups = 4"),
    "x -> Conv2D(6, [3, 3, 3])": ("[batch, 8, 9, 9]", "[3, 3, 3] must be one number or a list of 2"),
    "x -> Conv2D(6, 3, padding: [1, 2, 3])": ("[batch, 8, 9, 9]", "[1, 2, 3] must be one number or a list of 2"),
    'x -> Conv2D(6, 3, padding: "SAME")': (
        "[batch, 8, 9, 9]",
        'padding = SAME must be "same", "valid" or a number',
    ),
    "x -> Conv1D(6, 3, padding: -1)": ("[batch, 8, 9]", "padding = -1 must be whole, and at least 0"),
    "x -> Conv2D(6, 3.0)": ("[batch, 8, 9, 9]", "kernel = 3.0 must be whole, and at least 1"),
    "x -> Conv2D(6, 3, stride: [1, 1.5])": ("[batch, 8, 9, 9]", "stride = [1, 1.5] must be whole, and at least 1"),
    "x -> Conv1D(6, 3, stride: 0)": ("[batch, 8, 9]", "stride = 0 must be whole, and at least 1"),
    "x -> Conv3D(6, 3, dilation: 0)": ("[batch, 8, 9, 9, 9]", "dilation = 0 must be whole, and at least 1"),
    "x -> Conv2D(6, 0)": ("[batch, 8, 9, 9]", "kernel = 0 must be whole, and at least 1"),
    "x -> Conv2D(0, 3)": ("[batch, 8, 9, 9]", "filters = 0 must be at least 1"),
    "x -> Conv2D(8, 3, groups: 0)": ("[batch, 8, 9, 9]", "channels = 8 must split into groups = 0"),
    "x -> ConvTranspose2D(4, 3, padding: 1, output_padding: 1)": (
        "[batch, 3, 8, 8]",
        "an output padding is at least 0 and below the stride or dilation, 1, and 1 is given",
    ),
    "x -> ConvTranspose2D(4, 3, 2, output_padding: 1)": (
        "[batch, 3, 8, 8]",
        'output_padding goes with padding as a number: padding: "same" has one of its own',
    ),
    "x -> MaxPool2D(0)": ("[batch, 8, 9, 9]", "window = 0 must be whole, and at least 1"),
    "x -> AvgPool1D(2, stride: 0)": ("[batch, 8, 9]", "stride = 0 must be whole, and at least 1"),
    "x -> GroupNorm(0)": ("[batch, 6, n]", "channels = 6 must split into groups = 0"),
    "x -> MultiHeadAttention(0)": ("[batch, T, 8]", "width = 8 must split into heads = 0"),
    "x -> MultiHeadAttention(-2)": ("[batch, T, 8]", "width = 8 must split into heads = -2"),
    "x -> MultiHeadAttention(4, kv_heads: 0)": ("[batch, T, 8]", "heads = 4 must split into kv_heads = 0"),
    "x -> Dense(0)": ("[batch, 3]", "units = 0 must be at least 1"),
    "x -> FeedForward(0)": ("[batch, 3]", "inner = 0 must be at least 1"),
    "x -> LSTM(0)": ("[batch, time, 3]", "units = 0 must be at least 1"),
    "scan(GRUCell(-1))(x, axis: 1)": ("[batch, time, 3]", "hidden = -1 must be at least 1"),
    "x -> UpSample2D(0)": ("[batch, 3, 8, 8]", "factor = 0 must be at least 1"),
    "cast(x, i64) -> Embedding(0, 4)": ("[batch]", "vocabulary = 0 must be at least 1"),
    "x -> Dense(4, bias: 1)": ("[batch, 3]", "`bias` of layer Dense is true or false, and the number 1 is given"),
    "x -> Dense(4, activation: 2)": (
        "[batch, 3]",
        "`activation` of layer Dense is a function, and the number 2 is given",
    ),
    'x -> Conv2D(6, 3, layout: "CHW")': ("[batch, 8, 9, 9]", "layout = CHW must be NCHW or NHWC"),
    'x -> Bidirectional(GRU(4), merge: "add")': (
        "[batch, time, 3]",
        "merge = add must be concat, sum, mean or product",
    ),
    **{
        f"{name}(x, zeros([batch]))": ("[batch, 1]", "the target is f32[batch] beside f32[batch, 1]")
        for name in (
            *("mse", "mae", "rmse", "huber", "log_cosh", "hinge", "mape", "r_squared", "binary_cross_entropy"),
            *("binary_accuracy", "categorical_cross_entropy", "kl_divergence", "cosine_similarity"),
        )
    },
    **{
        f"{name}(x, zeros([batch, 1], i64){more})": (
            "[batch, 5]",
            "the label is i64[batch, 1] beside logits f32[batch, 5]",
        )
        for name, more in {
            **dict.fromkeys(("accuracy", "top_k_accuracy", "cross_entropy", "perplexity"), ""),
            "masked_accuracy": ", ignore: 0",
        }.items()
    },
    "random.bernoulli(1.5, like: x)": (
        "[batch, 3]",
        "`p` of random.bernoulli is a chance from 0 to 1, and the number 1.5 is given",
    ),
    "x -> Dense(4.5)": ("[batch, 3]", "`units` of layer Dense is a whole number, and the number 4.5 is given"),
    "x -> LSTM(4)": ("[batch, 3]", "`x` of LSTM has 3 axes, and [batch, 3] is given"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_refusal_says_what_is_wrong_where_it_was_asked_for(text: str) -> None:
    shape, message = REFUSED[text]
    source = Source("case.model", f"model M() {{\n    input x: {shape}\n    output {text}\n}}\n")
    with pytest.raises(NablacError) as caught:
        elaborate(program_of(source))
    assert message in caught.value.diagnostics[0].message
    assert (caught.value.diagnostics[0].span.source.name, caught.value.diagnostics[0].span.line) == ("case.model", 3)


@pytest.mark.parametrize("name", ["size", "max", "len", "range", "rank", "shape", "split", "pi"])
def test_a_dim_may_be_called_as_a_function_is(name: str) -> None:
    text = f"model M() {{\n    input x: [batch, {name}], y: [2 * {name}]\n    output sum(x, axis: 1)\n}}\n"
    elaborate(program_of(Source("case.model", text)))


def test_a_target_may_be_one_number() -> None:
    source = Source("case.model", "model M() {\n    input x: [batch, 4]\n    output mse(x, 0) + hinge(x, 1)\n}\n")
    elaborate(program_of(source))
