"""The library's layers and losses on the inputs of PyTorch's own module tests: values and gradients in f64."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph, Value
from compiler.operators.leaves import Buffer, Input, Parameter, constant
from compiler.operators.reductions import Sum
from compiler.types import DType
from runtime.numpy_executor import run
from tests.models import elaborate
from tests.specs import weights as maps

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
pytest.importorskip("expecttest", reason="PyTorch's module samples need it: pip install 'nablac[oracle]'")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

Weights = Callable[[Any], Mapping[str, Any]]


class Absent(Exception):
    """The library has no such thing; the argument says what."""


@dataclass(frozen=True)
class Ours:
    """A layer or function of the library: an expression of `x` (`x0`, `x1` .. where there are several)."""

    text: str
    weights: Weights = field(default=lambda module: {})
    setup: str = ""


def ours(module: Any, inputs: list[Any]) -> Ours:
    """What the library has for a module as it is made."""
    name = type(module).__name__
    if name not in TABLE:
        raise Absent("no such layer")
    return TABLE[name](module, inputs)


def _function(text: str) -> Callable[[Any, list[Any]], Ours]:
    return lambda module, inputs: Ours(text.format(m=module))


def _loss(text: str) -> Callable[[Any, list[Any]], Ours]:
    def loss(module: Any, inputs: list[Any]) -> Ours:
        if module.reduction != "mean":
            raise Absent("a loss that is no mean")
        if getattr(module, "weight", None) is not None or getattr(module, "pos_weight", None) is not None:
            raise Absent("weights of classes or examples")
        return Ours(text.format(m=module))

    return loss


def _batched(rank: int, inputs: list[Any]) -> None:
    if inputs[0].ndim != rank:
        raise Absent("an input without a batch axis")


def _softmax(name: str) -> Callable[[Any, list[Any]], Ours]:
    def softmax(module: Any, inputs: list[Any]) -> Ours:
        if module.dim is None or not inputs[0].ndim:
            raise Absent("an axis that is guessed, or none")
        return Ours(f"{name}(x, axis: {module.dim})")

    return softmax


def _gelu(module: Any, inputs: list[Any]) -> Ours:
    return Ours("gelu_tanh(x)" if module.approximate == "tanh" else "gelu(x)")


def _softplus(module: Any, inputs: list[Any]) -> Ours:
    if (module.beta, module.threshold) != (1.0, 20.0):
        raise Absent("softplus with a slope or a threshold")
    return Ours("softplus(x)")


def _glu(module: Any, inputs: list[Any]) -> Ours:
    if module.dim not in (-1, inputs[0].ndim - 1):
        raise Absent("glu of an axis that is not the last")
    return Ours("glu(x)")


def _cross_entropy(module: Any, inputs: list[Any]) -> Ours:
    _loss("")(module, inputs)
    logits, target = inputs
    if target.is_floating_point():
        if module.label_smoothing or logits.ndim != 2:
            raise Absent("probabilities with smoothing, or of images")
        return Ours("categorical_cross_entropy(x0, x1)")
    if module.label_smoothing and (target == module.ignore_index).any():
        raise Absent("smoothing beside ignored labels")
    order = [0, *range(2, logits.ndim), 1] if logits.ndim > 1 else [0]
    if (target == module.ignore_index).all():
        raise Absent("the mean of no example, which is 0")
    ignored = f", ignore: {module.ignore_index}" if (target == module.ignore_index).any() else ""
    return Ours(f"cross_entropy(transpose(x0, {order}), x1, smoothing: {module.label_smoothing}{ignored})")


def _linear(module: Any, inputs: list[Any]) -> Ours:
    bias = "true" if module.bias is not None else "false"
    return Ours(f"x -> Dense({module.out_features}, bias: {bias})", maps.dense("dense"))


def _convolution(module: Any, inputs: list[Any]) -> Ours:
    rank = len(module.kernel_size)
    _batched(rank + 2, inputs)
    if module.padding_mode != "zeros":
        raise Absent("padding that is no zeros")
    transposed = module.transposed
    if transposed and rank != 2:
        raise Absent("a transposed convolution that is not of images")
    one = rank == 1

    def shown(each: Any) -> str:
        return str(each[0]) if one else str(list(each))

    padding = f'"{module.padding}"' if isinstance(module.padding, str) else shown(module.padding)
    options = f"stride: {shown(module.stride)}, padding: {padding}, groups: {module.groups}"
    options += f", dilation: {shown(module.dilation)}, bias: {'true' if module.bias is not None else 'false'}"
    if transposed:
        options += f", output_padding: {shown(module.output_padding)}"
    kind = f"{'ConvTranspose' if transposed else 'Conv'}{rank}D"
    made = f"x -> {kind}({module.out_channels}, {shown(module.kernel_size)}, {options})"
    return Ours(made, maps.convolution("conv_transpose2d" if transposed else f"conv{rank}d"))


def _batch_norm(module: Any, inputs: list[Any]) -> Ours:
    if module.running_mean is None or module.weight is None or module.momentum is None:
        raise Absent("a batch norm without running statistics, scale or momentum")
    return Ours(f"x -> BatchNorm({1 - module.momentum}, {module.eps})", maps.batch_norm("batch_norm"))


def _norm(path: str, **names: str) -> Weights:
    def weights(module: Any) -> Mapping[str, Any]:
        return {f"{path}.{ours}": getattr(module, theirs) for ours, theirs in names.items()}

    return weights


def _layer_norm(module: Any, inputs: list[Any]) -> Ours:
    if len(module.normalized_shape) != 1 or module.weight is None:
        raise Absent("a norm of several axes, or without a scale")
    if type(module).__name__ == "RMSNorm":
        eps = module.eps if module.eps is not None else torch.finfo(torch.float64).eps
        return Ours(f"x -> RMSNorm({eps})", _norm("rms_norm", gamma="weight"))
    bias = module.bias is not None
    names = {"gamma": "weight"} | ({"beta": "bias"} if bias else {})
    return Ours(f"x -> LayerNorm({module.eps}, bias: {'true' if bias else 'false'})", _norm("layer_norm", **names))


def _group_norm(module: Any, inputs: list[Any]) -> Ours:
    if module.weight is None:
        return Ours(f"x -> GroupNorm({module.num_groups}, {module.eps})")
    weights = _norm("group_norm", gamma="weight", beta="bias")
    return Ours(f"x -> GroupNorm({module.num_groups}, {module.eps})", weights)


def _instance_norm(module: Any, inputs: list[Any]) -> Ours:
    if module.track_running_stats:
        raise Absent("an instance norm with running statistics")
    if "LazyInstance" in type(module).__name__ or inputs[0].ndim < 3 or inputs[0].shape[1] != module.num_features:
        raise Absent("an input without a batch axis")
    weights: Weights = (
        (lambda m: {}) if module.weight is None else _norm("instance_norm.group_norm", gamma="weight", beta="bias")
    )
    return Ours(f"x -> InstanceNorm({module.eps})", weights)


def _pool(kind: str, rank: int) -> Callable[[Any, list[Any]], Ours]:
    def pool(module: Any, inputs: list[Any]) -> Ours:
        _batched(rank + 2, inputs)
        if module.ceil_mode or getattr(module, "return_indices", False):
            raise Absent("windows rounded up, or places")
        if getattr(module, "divisor_override", None) or (rank == 1 and getattr(module, "dilation", 1) != 1):
            raise Absent("a divisor, or a dilation of one axis")

        def shown(each: Any) -> str:
            first = each[0] if isinstance(each, tuple) else each
            return str(first) if rank == 1 else str(list(each) if isinstance(each, tuple) else each)

        options = f"stride: {shown(module.stride)}, padding: {shown(module.padding)}"
        if kind == "Max" and rank == 2:
            options += f", dilation: {shown(module.dilation)}"
        if kind == "Avg":
            options += f", count_padding: {'true' if module.count_include_pad else 'false'}"
        return Ours(f"x -> {kind}Pool{rank}D({shown(module.kernel_size)}, {options})")

    return pool


def _embedding(module: Any, inputs: list[Any]) -> Ours:
    if module.max_norm is not None:
        raise Absent("an embedding that is clipped as it is read")
    text = f"x -> Embedding({module.num_embeddings}, {module.embedding_dim})"
    return Ours(text, lambda m: {"embedding.table": m.weight})


def _recurrent(module: Any, inputs: list[Any]) -> Ours:
    if module.bidirectional or not module.bias or getattr(module, "proj_size", 0):
        raise Absent("two directions in one, no bias, or a projection")
    if len(inputs) > 1:
        raise Absent("a first state from outside")
    cell = type(module).__name__.lower()
    kind, layer = ("SimpleRNN", "simple_rnn") if cell == "rnn" else (cell.upper(), cell)
    option = f", activation: {module.nonlinearity}" if cell == "rnn" else ""
    layers = range(module.num_layers)
    alone = inputs[0].ndim == 2
    x = "unsqueeze(x, 0)" if alone else "x" if module.batch_first else "transpose(x, [1, 0, 2])"
    text = x + "".join(f" -> {kind}({module.hidden_size}, sequences: true{option})" for _ in layers)
    if alone or not module.batch_first:
        text += " -> squeeze(0)" if alone else " -> transpose([1, 0, 2])"
    map_of = {"rnn": maps.rnn, "lstm": maps.lstm, "gru": maps.gru}[cell]

    def weights(m: Any) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for place in layers:
            path = layer if place == 0 else f"{layer}_{place}"
            found |= map_of(f"{path}.{cell}_cell", f"l{place}")(m)
        return found

    return Ours(text, weights)


ACTIVATIONS = {
    "ReLU": "relu(x)", "Sigmoid": "sigmoid(x)", "Tanh": "tanh(x)", "SiLU": "silu(x)", "Mish": "mish(x)",
    "SELU": "selu(x)", "Hardswish": "hard_swish(x)", "Softsign": "softsign(x)", "ELU": "elu(x, {m.alpha})",
    "LeakyReLU": "leaky_relu(x, {m.negative_slope})",
    "Hardtanh": "hard_tanh(x, {m.min_val}, {m.max_val})",
}  # fmt: skip
LOSSES = {
    "L1Loss": "mae(x0, x1)",
    "MSELoss": "mse(x0, x1)",
    "HuberLoss": "huber(x0, x1, {m.delta})",
    "BCEWithLogitsLoss": "binary_cross_entropy(x0, x1)",
}
TABLE: dict[str, Callable[[Any, list[Any]], Ours]] = {
    **{name: _function(text) for name, text in ACTIVATIONS.items()},
    **{name: _loss(text) for name, text in LOSSES.items()},
    "GELU": _gelu, "Softplus": _softplus, "GLU": _glu,
    "Softmax": _softmax("softmax"), "LogSoftmax": _softmax("log_softmax"),
    "CrossEntropyLoss": _cross_entropy, "Linear": _linear,
    "Conv1d": _convolution, "Conv2d": _convolution, "Conv3d": _convolution, "ConvTranspose2d": _convolution,
    "BatchNorm1d": _batch_norm, "BatchNorm2d": _batch_norm, "BatchNorm3d": _batch_norm,
    "LayerNorm": _layer_norm, "RMSNorm": _layer_norm, "GroupNorm": _group_norm,
    "InstanceNorm1d": _instance_norm, "InstanceNorm2d": _instance_norm, "InstanceNorm3d": _instance_norm,
    "MaxPool1d": _pool("Max", 1), "MaxPool2d": _pool("Max", 2), "AvgPool1d": _pool("Avg", 1),
    "AvgPool2d": _pool("Avg", 2), "Embedding": _embedding,
    "RNN": _recurrent, "LSTM": _recurrent, "GRU": _recurrent,
}  # fmt: skip
INFOS = {info.name.removeprefix("nn."): info for info in module_db if info.name.removeprefix("nn.") in TABLE}


@pytest.mark.parametrize("name", sorted(INFOS))
def test_a_layer_gives_what_the_module_gives(name: str, record_property: Callable[[str, object], None]) -> None:
    agree, absent = samples(name)
    record_property("agree", agree)
    record_property("absent", str(absent))
    assert agree, f"no sample of PyTorch's fits: {absent}"


def samples(name: str) -> tuple[int, dict[str, int]]:
    """How many samples agree, and how often the library has none, by the reason."""
    info, agree, absent = INFOS[name], 0, {}
    torch.manual_seed(0)
    for training in (True, False) if info.train_and_eval_differ else (False,):
        for sample in info.module_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
        ):
            made = sample.constructor_input
            try:
                module = info.module_cls(*made.args, **made.kwargs).double().train(training)
                inputs = list(sample.forward_input.args) + list(sample.forward_input.kwargs.values())
                if not all(isinstance(each, torch.Tensor) for each in inputs) or not inputs:
                    raise Absent("inputs that are no tensors")
                if any(not each.numel() or each.dtype.is_complex for each in inputs):
                    raise Absent("an input of no elements, or of complex numbers")
                compare(name, ours(module, inputs), module, inputs, training)
                agree += 1
            except Absent as reason:
                absent[str(reason)] = absent.get(str(reason), 0) + 1
    return agree, absent


def compare(name: str, found: Ours, module: Any, inputs: list[Any], training: bool) -> None:
    """Values, and the gradients of the inputs and the parameters."""
    names = ["x"] if len(inputs) == 1 else [f"x{place}" for place in range(len(inputs))]
    declared = ", ".join(
        f"{x}: {'' if each.is_floating_point() else 'i64'}{list(each.shape)}"
        for x, each in zip(names, inputs, strict=True)
    )
    text = f"model M {{\n    input {declared}\n    output y = {found.text}\n}}\n"
    whole = elaborate(text, dtype=DType.F64, training=training)
    stored = {path: each.detach().numpy().copy() for path, each in found.weights(module).items() if each is not None}
    paths = {node.op.path: node.result for node in whole if isinstance(node.op, (Parameter, Buffer))}
    for path, value in paths.items():  # a norm without a scale or a shift
        if path.endswith(("gamma", "beta")):
            stored.setdefault(path, np.full(value.shape, float(path.endswith("gamma"))))
    stored = {path: array for path, array in stored.items() if path in paths}  # in training no running ones are read
    assert stored.keys() == paths.keys()
    leaves = [each.detach().clone().requires_grad_(each.is_floating_point()) for each in inputs]
    result = module(*leaves)
    result = result[0] if isinstance(result, tuple) else result
    cotangent = np.random.default_rng(0).normal(size=tuple(result.shape))
    wanted = [leaf for leaf in leaves if leaf.is_floating_point()]
    loss = (result * torch.tensor(cotangent)).sum()
    theirs = torch.autograd.grad(loss, wanted, allow_unused=True) if wanted else ()

    y: Value = whole.outputs["y"]
    seed = Input("cotangent", y.type)()
    total: Value = Sum()(y * seed)
    ends = [whole.inputs[x] for x, leaf in zip(names, leaves, strict=True) if leaf.is_floating_point()]
    grads = gradients([total], [constant(1.0, DType.F64)], ends)
    kept = {f"d{place}": grad for place, grad in enumerate(grads) if grad is not None}
    graph = Graph({**whole.inputs, "cotangent": seed}, {"y": y, **kept})
    feeds = {x: each.detach().numpy() for x, each in zip(names, inputs, strict=True)}
    with np.errstate(all="ignore"):
        values = run(graph, {**feeds, "cotangent": cotangent}, stored)
    np.testing.assert_allclose(values["y"], result.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=text)
    for place, grad in enumerate(theirs):
        if f"d{place}" in values and grad is not None:
            np.testing.assert_allclose(values[f"d{place}"], grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=text)
