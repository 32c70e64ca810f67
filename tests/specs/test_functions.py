"""Activations, losses and metrics against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.specs.parity import Case, case, check, each, positive, tokens, torch

functional = torch.nn.functional
SIZES = ({"batch": 1, "n": 1}, {"batch": 2, "n": 6}, {"batch": 7, "n": 4})
PAIR = {"y": ("batch", "n"), "target": ("batch", "n")}


def wide(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Numbers from far below to far above zero."""
    return random.standard_normal(shape) * 4


def activation(text: str, oracle: Callable[[Any], Any], shape: tuple[str | int, ...] = ("batch", "n")) -> Case:
    return case(text, f"output {text}", oracle, sizes=SIZES, draws={"x": wide}, x=shape)


ACTIVATIONS = (
    activation("identity(x)", lambda x: x),
    activation("relu(x)", functional.relu),
    activation("leaky_relu(x)", functional.leaky_relu),
    activation("leaky_relu(x, 0.2)", lambda x: functional.leaky_relu(x, 0.2)),
    activation("elu(x)", functional.elu),
    activation("elu(x, alpha: 0.5)", lambda x: functional.elu(x, 0.5)),
    activation("selu(x)", functional.selu),
    activation("gelu(x)", functional.gelu),
    activation("gelu_tanh(x)", lambda x: functional.gelu(x, approximate="tanh")),
    activation("silu(x)", functional.silu),
    activation("softplus(x)", functional.softplus),
    activation("mish(x)", functional.mish),
    activation("hard_sigmoid(x)", lambda x: (x / 6 + 0.5).clamp(0, 1)),
    activation("hard_swish(x)", functional.hardswish),
    activation("hard_tanh(x)", functional.hardtanh),
    activation("softsign(x)", functional.softsign),
    activation("softmax(x, axis: -1)", lambda x: functional.softmax(x, -1)),
    activation("log_softmax(x, axis: -1)", lambda x: functional.log_softmax(x, -1)),
    activation("glu(x)", functional.glu, ("batch", 6)),
    activation("swiglu(x)", lambda x: functional.silu(x[:, :3]) * x[:, 3:], ("batch", 6)),
    activation("sigmoid(x)", torch.sigmoid),
    activation("tanh(x)", torch.tanh),
)


def loss(text: str, oracle: Callable[..., Any], **options: Any) -> Case:
    inputs = {name: options.pop(name) for name in [*options] if isinstance(options[name], tuple) and name != "sizes"}
    return case(text, f"output {text}", oracle, sizes=SIZES, **options, **(inputs or PAIR))


CLASSES: dict[str, Any] = {
    "types": {"label": "i64"},
    "draws": {"label": tokens(5)},
    "logits": ("batch", "n", 5),
    "label": ("batch", "n"),
}
BINARY: dict[str, Any] = {
    "draws": {"logits": wide, "target": lambda random, shape: random.integers(0, 2, shape).astype(float)},
    "logits": ("batch", "n"),
    "target": ("batch", "n"),
}


def by_class(oracle: Callable[..., Any]) -> Callable[..., Any]:
    return lambda logits, label: oracle(logits.flatten(0, 1), label.flatten())


def probabilities(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Distributions, one class of which has no chance."""
    found = random.random(shape)
    found[..., 0] = 0
    return found / found.sum(-1, keepdims=True)


def divergence(x: Any, target: Any) -> Any:
    """functional.kl_div with a gradient where the target is 0."""
    terms = target * (target.clamp(min=1e-30).log() - functional.log_softmax(x, -1))
    return torch.where(target > 0, terms, 0).sum(-1).mean()


def r_squared(y: Any, target: Any) -> Any:
    return 1 - ((target - y) ** 2).sum() / ((target - target.mean()) ** 2).sum()


LOSSES = (
    loss("mse(y, target)", functional.mse_loss),
    loss("mae(y, target)", functional.l1_loss),
    loss("huber(y, target)", functional.huber_loss),
    loss("huber(y, target, delta: 0.3)", lambda y, t: functional.huber_loss(y, t, delta=0.3)),
    loss("log_cosh(y, target)", lambda y, t: torch.log(torch.cosh(y - t)).mean()),
    loss(
        "gaussian_nll(y, exp(s), target)",
        lambda y, s, t: functional.gaussian_nll_loss(y, t, s.exp() ** 2),
        y=("batch", 5),
        s=("batch", 5),
        target=("batch", 5),
    ),
    loss("cross_entropy(logits, label)", by_class(functional.cross_entropy), **CLASSES),
    loss(
        "cross_entropy(logits, label, smoothing: 0.1)",
        by_class(lambda x, t: functional.cross_entropy(x, t, label_smoothing=0.1)),
        **CLASSES,
    ),
    loss(
        "cross_entropy(logits, label, ignore: 0)",
        by_class(lambda x, t: functional.cross_entropy(x, t, ignore_index=0).nan_to_num()),
        **CLASSES,
    ),
    loss(
        "cross_entropy(logits, label, smoothing: 0.2, ignore: 3)",
        by_class(lambda x, t: functional.cross_entropy(x, t, ignore_index=3, label_smoothing=0.2).nan_to_num()),
        **CLASSES,
    ),
    loss(
        "categorical_cross_entropy(logits, target)",
        functional.cross_entropy,
        draws={"target": probabilities},
        logits=("batch", 5),
        target=("batch", 5),
    ),
    loss("binary_cross_entropy(logits, target)", functional.binary_cross_entropy_with_logits, **BINARY),
    loss(
        "kl_divergence(log_softmax(x, axis: -1), target)",
        divergence,
        draws={"target": probabilities},
        x=("batch", 5),
        target=("batch", 5),
    ),
    loss(
        "hinge(y, target)",
        lambda y, t: (1 - y * t).clamp(min=0).mean(),
        draws={"target": lambda random, shape: random.integers(0, 2, shape) * 2.0 - 1},
        y=("batch",),
        target=("batch",),
    ),
)


def auc(x: Any, t: Any) -> Any:
    """The share of the pairs of a positive and a negative that are in order, equals as halves."""
    above = x[t > 0.5][:, None] - x[t <= 0.5][None]
    return ((above > 0).double() + 0.5 * (above == 0).double()).mean()


def average_precision(x: Any, t: Any) -> Any:
    """By its definition: the precision at each threshold, times the recall that it adds."""
    x, t = x.flatten(), t.flatten()
    total, before = 0.0, 0.0
    for threshold in x.unique().flip(0):
        right = t[x >= threshold].sum()
        total, before = total + (right - before) * t[x >= threshold].mean(), right
    return total / t.sum()


def f1(said: Any, t: Any) -> Any:
    return 2 * (said * t).sum() / (said.sum() + t.sum()).clamp(min=1)


RANKED: dict[str, Any] = {
    "draws": {
        "x": lambda random, shape: random.integers(0, 9, shape) / 4 - 1,  # many are equal
        "target": lambda random, shape: np.arange(np.prod(shape)).reshape(shape) % 3 / 2 >= 0.5,
    },
    "types": {"target": "bool"},
    "x": ("batch", "n"),
    "target": ("batch", "n"),
}
METRICS = (
    case("auc", "output auc(x, target)", lambda x, t: auc(x, t.double()), sizes=SIZES[1:], **RANKED),
    case(
        "auc of two scores",
        "output auc(x, target)",
        lambda x, t: auc(x[:, 1] - x[:, 0], t),
        sizes=SIZES[1:],
        draws={"x": wide, "target": lambda random, shape: np.arange(shape[0]) % 2},
        types={"target": "i64"},
        x=("batch", 2),
        target=("batch",),
    ),
    case(
        "average_precision",
        "output average_precision(x, target)",
        lambda x, t: average_precision(x, t.double()),
        sizes=SIZES[1:],
        **RANKED,
    ),
    loss(
        "median_absolute_error(y, target)",
        lambda y, t: torch.quantile((y - t).abs(), 0.5, dim=0).mean(),
    ),
    loss(
        "precision(logits, target)",
        lambda x, t: ((x > 0) & (t > 0.5)).double().sum() / (x > 0).sum().clamp(min=1),
        **BINARY,
    ),
    loss(
        "recall(logits, target)",
        lambda x, t: ((x > 0) & (t > 0.5)).double().sum() / (t > 0.5).sum().clamp(min=1),
        **BINARY,
    ),
    loss("f1(logits, target)", lambda x, t: f1((x > 0).double(), (t > 0.5).double()), **BINARY),
    loss(
        "macro_f1(logits, label)",
        lambda x, t: torch.stack([f1((x.argmax(-1) == k).double(), (t == k).double()) for k in range(5)]).mean(),
        **CLASSES,
    ),
    loss("accuracy(logits, label)", lambda x, t: (x.argmax(-1) == t).double().mean(), **CLASSES),
    loss(
        "top_k_accuracy(logits, label, k: 2)",
        lambda x, t: (x.topk(2).indices == t[..., None]).any(-1).double().mean(),
        **CLASSES,
    ),
    loss(
        "masked_accuracy(logits, label, ignore: 0)",
        lambda x, t: (x.argmax(-1) == t)[t != 0].double().sum() / (t != 0).sum().clamp(min=1),
        **CLASSES,
    ),
    loss("binary_accuracy(logits, target)", lambda x, t: ((x > 0) == (t > 0.5)).double().mean(), **BINARY),
    loss("rmse(y, target)", lambda y, t: functional.mse_loss(y, t).sqrt()),
    loss("mape(y, target)", lambda y, t: 100 * ((t - y) / t).abs().mean(), draws={"target": positive}, **PAIR),
    case("r_squared", "output r_squared(y, target)", r_squared, sizes=SIZES[1:], **PAIR),
    loss("perplexity(logits, label)", by_class(lambda x, t: functional.cross_entropy(x, t).exp()), **CLASSES),
    loss("cosine_similarity(y, target)", lambda y, t: functional.cosine_similarity(y, t, -1).mean()),
)


@each(ACTIVATIONS)
def test_activations_are_torchs(case: Case) -> None:
    check(case)


@each(LOSSES)
def test_losses_are_torchs(case: Case) -> None:
    check(case)


@each(METRICS)
def test_metrics_are_what_they_say(case: Case) -> None:
    check(case)
