"""What the library says to sizes and options that do not fit, in the user's own line."""

from __future__ import annotations

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source
from tests.models import elaborate

REFUSED = {
    "x -> MultiHeadAttention(3)": ("[batch, T, 8]", "heads = 3 must divide width = 8"),
    "x -> MultiHeadAttention(4, kv_heads: 3)": ("[batch, T, 8]", "kv_heads = 3 must divide heads = 4"),
    "x -> SinusoidalPositions()": ("[batch, T, 7]", "width = 7 must be even"),
    "x -> GroupNorm(4)": ("[batch, 6, n]", "groups = 4 must divide channels = 6"),
    "x -> Conv2D(8, 3, groups: 4)": ("[batch, 6, 9, 9]", "groups = 4 must divide channels = 6"),
    "x -> Conv2D(6, 3, groups: 4)": ("[batch, 8, 9, 9]", "groups = 4 must divide filters = 6"),
    "x -> Conv2D(6, [3, 3, 3])": ("[batch, 8, 9, 9]", "[3, 3, 3] must be a number or a list of 2 numbers"),
    "x -> Conv2D(6, 3, padding: [1, 2, 3])": ("[batch, 8, 9, 9]", "[1, 2, 3] must be a number or a list of 2 numbers"),
    'x -> Conv2D(6, 3, padding: "SAME")': (
        "[batch, 8, 9, 9]",
        'padding = SAME must be "same", "valid" or a number',
    ),
    "x -> Conv1D(6, 3, padding: -1)": ("[batch, 8, 9]", "padding = -1 must be a whole number of at least 0"),
    "x -> Conv2D(6, 3.0)": ("[batch, 8, 9, 9]", "kernel = 3.0 must be a whole number of at least 1"),
    "x -> Conv2D(6, 3, stride: [1, 1.5])": (
        "[batch, 8, 9, 9]",
        "stride = [1, 1.5] must be a whole number of at least 1",
    ),
    "x -> Conv1D(6, 3, stride: 0)": ("[batch, 8, 9]", "stride = 0 must be a whole number of at least 1"),
    "x -> Conv3D(6, 3, dilation: 0)": ("[batch, 8, 9, 9, 9]", "dilation = 0 must be a whole number of at least 1"),
    "x -> Conv2D(6, 0)": ("[batch, 8, 9, 9]", "kernel = 0 must be a whole number of at least 1"),
    "x -> Conv2D(0, 3)": ("[batch, 8, 9, 9]", "filters = 0 must be at least 1"),
    "x -> Conv2D(8, 3, groups: 0)": ("[batch, 8, 9, 9]", "groups = 0 must divide channels = 8"),
    "x -> ConvTranspose2D(4, 3, padding: 1, output_padding: 1)": (
        "[batch, 3, 8, 8]",
        "an output padding must be at least 0 and below the stride or dilation, 1, not 1",
    ),
    "x -> ConvTranspose2D(4, 3, 2, output_padding: 1)": (
        "[batch, 3, 8, 8]",
        'output_padding needs a number as padding: "same" determines its own',
    ),
    "x -> MaxPool2D(0)": ("[batch, 8, 9, 9]", "window = 0 must be a whole number of at least 1"),
    "x -> AvgPool1D(2, stride: 0)": ("[batch, 8, 9]", "stride = 0 must be a whole number of at least 1"),
    "x -> GroupNorm(0)": ("[batch, 6, n]", "groups = 0 must divide channels = 6"),
    "x -> MultiHeadAttention(0)": ("[batch, T, 8]", "heads = 0 must divide width = 8"),
    "x -> MultiHeadAttention(-2)": ("[batch, T, 8]", "heads = -2 must divide width = 8"),
    "x -> MultiHeadAttention(4, kv_heads: 0)": ("[batch, T, 8]", "kv_heads = 0 must divide heads = 4"),
    "x -> Dense(0)": ("[batch, 3]", "units = 0 must be at least 1"),
    "x -> FeedForward(0)": ("[batch, 3]", "inner = 0 must be at least 1"),
    "x -> LSTM(0)": ("[batch, time, 3]", "units = 0 must be at least 1"),
    "scan(GRUCell(-1))(x, axis: 1)": ("[batch, time, 3]", "hidden = -1 must be at least 1"),
    "x -> UpSample2D(0)": ("[batch, 3, 8, 8]", "factor = 0 must be at least 1"),
    "cast(x, i64) -> Embedding(0, 4)": ("[batch]", "vocabulary = 0 must be at least 1"),
    "x -> Dense(4, bias: 1)": ("[batch, 3]", "`bias` of layer Dense must be true or false, got the number 1"),
    "x -> Dense(4, activation: 2)": (
        "[batch, 3]",
        "`activation` of layer Dense must be a function, got the number 2",
    ),
    'x -> Conv2D(6, 3, layout: "CHW")': ("[batch, 8, 9, 9]", "layout = CHW must be NCHW or NHWC"),
    'x -> Bidirectional(GRU(4), merge: "add")': (
        "[batch, time, 3]",
        "merge = add must be concat, sum, mean or product",
    ),
    **{
        f"{name}(x, zeros([batch]))": ("[batch, 1]", "the shapes of target f32[batch] and output f32[batch, 1] differ")
        for name in (
            *("mse", "mae", "rmse", "huber", "log_cosh", "hinge", "mape", "r_squared", "binary_cross_entropy"),
            *("median_absolute_error", "auc", "average_precision", "precision", "recall", "f1"),
            *("binary_accuracy", "categorical_cross_entropy", "kl_divergence", "cosine_similarity"),
        )
    },
    **{
        f"{name}(x, zeros([batch, 1], i64){more})": (
            "[batch, 5]",
            "the label is i64[batch, 1], logits f32[batch, 5]: each row needs one label",
        )
        for name, more in {
            **dict.fromkeys(("macro_f1", "accuracy", "top_k_accuracy", "cross_entropy", "perplexity"), ""),
            "masked_accuracy": ", ignore: 0",
        }.items()
    },
    "cross_entropy(softmax(x), zeros([batch], i64))": ("[batch, 3]", "expected logits, got the output of `softmax`"),
    "cross_entropy(reshape(softmax(x), [batch, 3]), zeros([batch], i64))": (
        "[batch, 3]",
        "expected logits, got the output of `softmax`: leave it out",
    ),
    "categorical_cross_entropy(softmax(x), softmax(x))": (
        "[batch, 3]",
        "expected logits, got the output of `softmax`: leave it out",
    ),
    "perplexity(sigmoid(x), zeros([batch], i64))": ("[batch, 3]", "expected logits, got the output of `sigmoid`"),
    "binary_cross_entropy(x -> Dense(1, activation: sigmoid), 1)": (
        "[batch, 3]",
        "expected logits, got the output of `sigmoid`: leave it out",
    ),
    "binary_accuracy(sigmoid(x), 1)": ("[batch, 3]", "expected logits, got the output of `sigmoid`: leave it out"),
    "kl_divergence(softmax(x), softmax(x))": (
        "[batch, 3]",
        "log_y must be a logarithm, such as log_softmax, not softmax",
    ),
    "cross_entropy(x, zeros([batch], i64))": ("[batch, 1]", "f32[batch, 1] has one class: use binary_cross_entropy"),
    "cross_entropy(x, zeros([batch], i64), smoothing: 1)": (
        "[batch, 3]",
        "smoothing = 1 must be at least 0 and below 1",
    ),
    "cross_entropy(x, zeros([batch], i64), smoothing: -0.1)": (
        "[batch, 3]",
        "smoothing = -0.1 must be at least 0 and below 1",
    ),
    "huber(x, 0, delta: 0)": ("[batch, 3]", "delta = 0 must be above 0"),
    "top_k_accuracy(x, zeros([batch], i64))": ("[batch, 3]", "k = 5 exceeds the 3 classes: it would always be 1"),
    "top_k_accuracy(x, zeros([batch], i64), k: 0)": ("[batch, 3]", "k = 0 must be a whole number of at least 1"),
    "x -> Dropout(1)": ("[batch, 3]", "rate = 1 must be at least 0 and below 1"),
    "x -> SpatialDropout2D(-0.5)": ("[batch, 3, 8, 8]", "rate = -0.5 must be at least 0 and below 1"),
    "x -> GaussianNoise(-1.0)": ("[batch, 3]", "std = -1.0 must be at least 0"),
    "x -> LSTM(4, recurrent_dropout: 1.5)": (
        "[batch, time, 3]",
        "recurrent_dropout = 1.5 must be at least 0 and below 1",
    ),
    "x -> GRU(4, recurrent_dropout: -1)": (
        "[batch, time, 3]",
        "recurrent_dropout = -1 must be at least 0 and below 1",
    ),
    "x -> BatchNorm(momentum: 2)": ("[batch, 3]", "momentum = 2 must be at least 0 and below 1"),
    "x -> BatchNorm(eps: -1e-5)": ("[batch, 3]", "eps = -1e-05 must be at least 0"),
    "x -> LayerNorm(eps: -1)": ("[batch, 3]", "eps = -1 must be at least 0"),
    "x -> RMSNorm(eps: -1)": ("[batch, 3]", "eps = -1 must be at least 0"),
    "x -> InstanceNorm(eps: -1)": ("[batch, 3, n]", "eps = -1 must be at least 0"),
    "x -> RepeatVector(0)": ("[batch, 3]", "times = 0 must be at least 1"),
    "x -> LearnedPositions(0)": ("[batch, T, 4]", "length = 0 must be at least 1"),
    "x -> MultiHeadAttention(2, head_width: 0)": ("[batch, T, 8]", "head_width = 0 must be at least 1"),
    "x + normal([3], std: -1)": ("[batch, 3]", "std = -1 must be at least 0"),
    "warmup(x, 0.1, steps: 0)": ("[n]", "steps = 0 must be above 0"),
    "cosine_decay(x, 0.1, steps: -5)": ("[n]", "steps = -5 must be above 0"),
    "cosine_decay(x, -0.1, steps: 5)": ("[n]", "rate = -0.1 must be above 0"),
    "cosine_decay(x, 0.1, steps: 5, lowest: -1)": ("[n]", "lowest = -1 must be at least 0"),
    "linear_decay(x, 0.1, steps: 0)": ("[n]", "steps = 0 must be above 0"),
    "exponential_decay(x, 0.1, steps: 5, factor: 0)": ("[n]", "factor = 0 must be above 0"),
    "step_decay(x, 0.1, every: 0)": ("[n]", "every = 0 must be above 0"),
    "one_cycle(x, 0.1, steps: 5, rise: 1)": ("[n]", "rise = 1 must be above 0 and below 1"),
    "noam(x, width: 0)": ("[n]", "width = 0 must be above 0"),
    "x -> TransformerEncoder(-1, 2, 8)": ("[batch, T, 4]", "depth = -1 must be at least 0"),
    "random.normal(like: x, std: -1)": (
        "[batch, 3]",
        "`std` of random.normal must be at least 0, got the number -1",
    ),
    "random.uniform(like: x, low: 2)": (
        "[batch, 3]",
        "`low` of random.uniform must not be above `high`, got 2 and 1.0",
    ),
    "x + uniform([3], 1, 0)": ("[batch, 3]", "`low` of random.uniform must not be above `high`, got 1 and 0"),
    "random.bernoulli(1.5, like: x)": (
        "[batch, 3]",
        "`p` of random.bernoulli must be a probability in [0, 1], got the number 1.5",
    ),
    "x -> Dense(4.5)": ("[batch, 3]", "`units` of layer Dense must be a whole number, got the number 4.5"),
    "x -> LSTM(4)": ("[batch, 3]", "`x` of LSTM needs 3 axes, got [batch, 3]"),
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
    elaborate(text)


def test_a_target_may_be_one_number() -> None:
    source = Source("case.model", "model M() {\n    input x: [batch, 4]\n    output mse(x, 0) + hinge(x, 1)\n}\n")
    elaborate(program_of(source))


OPTIMIZERS = {
    "sgd(lr: 0)": "lr = 0 must be above 0",
    "sgd(momentum: 2)": "momentum = 2 must be at least 0 and below 1",
    "sgd(nesterov: true)": "nesterov needs a momentum above 0",
    "sgd(weight_decay: -0.1)": "weight_decay = -0.1 must be at least 0",
    "adam(lr: -0.001)": "lr = -0.001 must be above 0",
    "adam(beta1: 1.5)": "beta1 = 1.5 must be at least 0 and below 1",
    "adam(beta2: 1)": "beta2 = 1 must be at least 0 and below 1",
    "adam(eps: -1e-8)": "eps = -1e-08 must be at least 0",
    "adam(lr: step -> cosine_decay(0.1, steps: -5))": "steps = -5 must be above 0",
    "adamw(weight_decay: -1)": "weight_decay = -1 must be at least 0",
    "rmsprop(decay: 1)": "decay = 1 must be at least 0 and below 1",
    "rmsprop(momentum: -0.5)": "momentum = -0.5 must be at least 0 and below 1",
    "adagrad(eps: -1)": "eps = -1 must be at least 0",
    "lion(beta2: 1)": "beta2 = 1 must be at least 0 and below 1",
}


def trained(settings: str) -> None:
    """Check a model of one output that is trained so."""
    text = "model M() {\n    input x: [batch, 3]\n    y = x -> Dense(1)\n    output y\n}\n"
    check(program_of(Source("case.model", f"{text}train M {{ {settings} }}\n")))


@pytest.mark.parametrize("text", OPTIMIZERS)
def test_an_optimizer_says_which_numbers_it_takes(text: str) -> None:
    with pytest.raises(NablacError) as caught:
        trained(f"target t: [batch, 1]; loss mse(y, t); optimizer {text}")
    assert [each.message for each in caught.value.diagnostics] == [OPTIMIZERS[text]]


@pytest.mark.parametrize(
    "text", ["adam(beta1: 0)", "adam(lr: step -> warmup(1e-3, steps: 5))", "adam(beta1: 0.9 / step)"]
)
def test_an_optimizer_takes_what_makes_sense(text: str) -> None:
    trained(f"target t: [batch, 1]; loss mse(y, t); optimizer {text}")


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        ("target t: [batch]", "mean((y - t) ** 2)"),
        ("target t: [batch]", "mean((t - y) ** 2)"),
        ("target t: [batch]", "mean(abs(t - 2 * y))"),
        ("target t: [batch, 1]", "mean((squeeze(y, -1) - t) ** 2)"),
        ("target t: [batch, 1], w: [batch]", "mean(w * (y - t) ** 2)"),
        ("target t: bool[batch]", "mean(where(t, y, -y))"),
        ("target t: [batch]", "mse(y, zeros([batch, 1])); metric error = mean(maximum(y, t))"),
    ],
)
def test_examples_are_not_compared_with_each_other(targets: str, loss: str) -> None:
    with pytest.raises(NablacError) as caught:
        trained(f"{targets}; loss {loss}")
    (found,) = caught.value.diagnostics
    assert found.code == "E301"
    assert found.message.endswith("broadcast to f32[batch, batch], pairing every example with every other")


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        ("target t: [batch]", "mean((squeeze(y, -1) - t) ** 2)"),
        ("target t: [batch]", "mean((y - unsqueeze(t, 1)) ** 2)"),
        ("target t: [batch, 1], w: [batch, 1]", "mean(w * (y - t) ** 2)"),
        ("target t: [batch, 4]", "mean((y - t) ** 2 * [1.0, 2, 3, 4])"),  # weights for each class
        ("target t: [batch, 1]", "mean((y - t) ** 2 / sum(t))"),
        ("target t: [batch, 1]", "mean((y - unsqueeze(squeeze(t, -1), 0)) ** 2)"),  # all pairs, and said so
        ("target t: [batch]", "mean(cast(unsqueeze(t, 1) == t, f32) * abs(y - unsqueeze(squeeze(y, -1), 0)))"),
        ("target t: [batch, 1]", "mean(sum(y * y, axis: -1, keep: true) + sum(t * t, axis: -1) - 2 * y @ t^T)"),
    ],
)
def test_what_broadcasts_for_a_reason_does(targets: str, loss: str) -> None:
    trained(f"{targets}; loss {loss}")
