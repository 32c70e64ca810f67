"""PyTorch's own operator samples written in the language: what takes attributes or a layer's equations to say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph, Value
from compiler.operators.leaves import Input, constant
from compiler.operators.reductions import Sum
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.numpy_executor import run
from tests.models import elaborate

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
pytest.importorskip("expecttest", reason="PyTorch's operator samples need it: pip install 'nablac[oracle]'")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

Given = dict[str, Any]  # a sample's arguments by PyTorch's names; a tensor is the name it has in the text
Say = Callable[[Given, Any], str | None]  # the text, or None where ours has no such thing


def several(value: Any, count: int) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * count


def window(given: Given, kernel: Sequence[int]) -> str | None:
    """Strides, pads and dilations of a window in our words."""
    rank = len(kernel)
    stride, dilation = several(given.get("stride") or 1, rank), several(given.get("dilation", 1), rank)
    padding = given.get("padding", 0)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [each // 2 for each in total] + [each - each // 2 for each in total]
    else:
        pads = several(0 if padding == "valid" else padding, rank) * 2
    return f"strides: {stride}, pads: {pads}, dilations: {dilation}"


def with_bias(text: str, given: Given, rank: int) -> str:
    if given.get("bias") is None:
        return text
    return f"{text} + reshape({given['bias']}, [-1{', 1' * rank}])"


def conv(rank: int) -> Say:
    def say(given: Given, sample: Any) -> str | None:
        kernel = tensors(sample)[1].shape[2:]
        if sample.input.ndim != rank + 2:
            return None
        text = f"conv({given['input']}, {given['weight']}, {window(given, kernel)}, groups: {given.get('groups', 1)})"
        return with_bias(text, given, rank)

    return say


def conv_transpose(rank: int) -> Say:
    def say(given: Given, sample: Any) -> str | None:
        kernel = tensors(sample)[1].shape[2:]
        if sample.input.ndim != rank + 2:
            return None
        extra = several(given.get("output_padding", 0), rank)
        options = f"{window(given, kernel)}, groups: {given.get('groups', 1)}, output_padding: {extra}"
        return with_bias(f"conv_transpose({given['input']}, {given['weight']}, {options})", given, rank)

    return say


def pool(name: str, rank: int) -> Say:
    def say(given: Given, sample: Any) -> str | None:
        kernel = several(given["kernel_size"], rank)
        given = {"stride": kernel, **{key: each for key, each in given.items() if each not in (None, ())}}
        if sample.input.ndim != rank + 2 or given.get("ceil_mode") or given.get("divisor_override"):
            return None
        if given.get("return_indices"):
            return None
        text = f"{name}({given['input']}, kernel: {kernel}, {window(given, kernel)}"
        if name == "average_pool":
            padded = str(given.get("count_include_pad", True)).lower()
            text = text.replace(f", dilations: {[1] * rank}", f", count_include_pad: {padded}")
        return f"{text})"

    return say


def pad(given: Given, sample: Any) -> str | None:
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}.get(given.get("mode", "constant"))
    rank, widths = sample.input.ndim, list(given["pad"])
    if mode is None or min(widths) < 0:
        return None
    before, after = [0] * rank, [0] * rank
    for place in range(len(widths) // 2):  # from the last axis on
        before[rank - 1 - place], after[rank - 1 - place] = widths[2 * place : 2 * place + 2]
    value = float(given.get("value") or 0)
    return f'pad({given["input"]}, before: {before}, after: {after}, value: {value}, mode: "{mode}")'


def einsum(given: Given, sample: Any) -> str | None:
    equation, operands = sample.args[0], list(sample.input)
    if "..." in equation or "->" not in equation or equation.strip().startswith("->"):
        return None
    ins, out = equation.replace(" ", "").split("->")
    spaced = ", ".join(" ".join(each) for each in ins.split(","))
    if any(len(set(each)) < len(each) for each in ins.split(",")):
        return None  # a diagonal
    return f'einsum("{spaced} -> {" ".join(out)}", {", ".join(f"x{place}" for place in range(len(operands)))})'


def clamp(given: Given, sample: Any) -> str | None:
    text = given["input"]
    if given.get("min") is not None:
        text = f"maximum({text}, {given['min']})"
    return f"minimum({text}, {given['max']})" if given.get("max") is not None else text


def layer_norm(given: Given, sample: Any) -> str | None:
    rank, dims = sample.input.ndim, len(given["normalized_shape"])
    axes = list(range(rank - dims, rank))
    centred = f"({given['input']} - mean({given['input']}, axis: {axes}, keep: true))"
    text = f"{centred} / sqrt(mean({centred} ** 2, axis: {axes}, keep: true) + {given.get('eps', 1e-5)})"
    text = f"{text} * {given['weight']}" if given.get("weight") else text
    return f"{text} + {given['bias']}" if given.get("bias") else text


def attention(given: Given, sample: Any) -> str | None:
    if given.get("dropout_p") or given.get("enable_gqa") or given.get("scale") is not None:
        return None
    mask = given.get("attn_mask")
    scores = f"{given['input']} @ {given['key']}^T / sqrt({sample.input.shape[-1]})"
    if mask is not None:
        kind = next(each for each in tensors(sample)[3:])
        scores = f"where({mask}, {scores}, -infinity)" if kind.dtype == torch.bool else f"{scores} + {mask}"
    causal = str(bool(given.get("is_causal"))).lower()
    return f"softmax(masked({scores}, causal: {causal}), axis: -1) @ {given['value']}"


def reduced(name: str) -> Say:
    """A loss that averages everything."""

    def say(given: Given, sample: Any) -> str | None:
        if given.get("reduction", "mean") != "mean" or given.get("weight") is not None:
            return None
        if "beta" in given or "pos_weight" in given or given.get("log_target"):
            return None
        extra = f", delta: {float(given['delta'])}" if "delta" in given else ""
        return f"{name}({given['input']}, {given['target']}{extra})"

    return say


def cross_entropy(given: Given, sample: Any) -> str | None:
    target = tensors(sample)[1]
    if given.get("reduction", "mean") != "mean" or given.get("weight") is not None or sample.input.ndim != 2:
        return None
    smoothing, ignore = given.get("label_smoothing", 0.0), given.get("ignore_index", -100)
    if target.dtype.is_floating_point:
        return f"categorical_cross_entropy({given['input']}, {given['target']})" if not smoothing else None
    return f"cross_entropy({given['input']}, {given['target']}, smoothing: {smoothing}, ignore: {ignore})"


def plain(name: str, **renamed: str) -> Say:
    """A function of tensors whose numbers have other names here, or must not be given."""

    def say(given: Given, sample: Any) -> str | None:
        numbers = {key: each for key, each in given.items() if not str(each).startswith("x") and key != "inplace"}
        if given.get("inplace") or set(numbers) - set(renamed):
            return None
        named = [each for each in given.values() if str(each).startswith("x")]
        return f"{name}({', '.join([*named, *(f'{renamed[key]}: {each}' for key, each in numbers.items())])})"

    return say


def whole(given: Given, sample: Any) -> bool:
    """Whether indices are as many as there are elements, but along the axis: torch takes fewer, too."""
    x, index, *updates = tensors(sample)
    same = [place for place in range(x.ndim) if place != given["dim"] % max(x.ndim, 1)]
    return all(x.shape[place] == index.shape[place] for place in same) and all(u.shape == index.shape for u in updates)


# PyTorch's name: the names of its arguments after the first, and ours.
TABLE: dict[str, tuple[tuple[str, ...], Say]] = {
    **{
        f"nn.functional.conv{rank}d": (("weight", "bias", "stride", "padding", "dilation", "groups"), conv(rank))
        for rank in (1, 2, 3)
    },
    **{
        f"nn.functional.conv_transpose{rank}d": (
            ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
            conv_transpose(rank),
        )
        for rank in (1, 2, 3)
    },
    **{
        f"nn.functional.max_pool{rank}d": (
            ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
            pool("max_pool", rank),
        )
        for rank in (1, 2, 3)
    },
    **{
        f"nn.functional.avg_pool{rank}d": (
            ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
            pool("average_pool", rank),
        )
        for rank in (1, 2, 3)
    },
    "nn.functional.pad": (("pad", "mode", "value"), pad),
    "einsum": (("equation",), einsum),
    "clamp": (("min", "max"), clamp),
    "gather": (
        ("dim", "index"),
        lambda g, s: f"gather_elements({g['input']}, {g['index']}, axis: {g['dim']})" if whole(g, s) else None,
    ),
    "scatter": (
        ("dim", "index", "src", "reduce"),
        lambda g, s: (
            f"scatter_elements({g['input']}, {g['index']}, {g['src']}, axis: {g['dim']})"
            if isinstance(g["src"], str) and "reduce" not in g and whole(g, s)
            else None
        ),
    ),
    "scatter_add": (
        ("dim", "index", "src"),
        lambda g, s: (
            f'scatter_elements({g["input"]}, {g["index"]}, {g["src"]}, axis: {g["dim"]}, reduction: "add")'
            if whole(g, s)
            else None
        ),
    ),
    "index_select": (("dim", "index"), lambda g, s: f"take({g['input']}, {g['index']}, axis: {g['dim']})"),
    "topk": (
        ("k", "dim", "largest", "sorted"),
        lambda g, s: (
            f"top_k({g['input']}, k: {g['k']}, axis: {g.get('dim', -1)})[0]" if g.get("largest", True) else None
        ),
    ),
    "stack": (("dim",), lambda g, s: f"stack([{', '.join(g['input'])}], axis: {g.get('dim', 0)})"),
    "narrow": (
        ("dim", "start", "length"),
        lambda g, s: (
            f"slice({g['input']}, axes: [{g['dim']}], starts: [{g['start']}], stops: [{g['start'] + g['length']}])"
            if not isinstance(g["start"], str) and g["start"] >= 0 and g["length"]
            else None
        ),
    ),
    "nn.functional.linear": (
        ("weight", "bias"),
        lambda g, s: (
            f"{g['input']} @ {g['weight']}^T{' + ' + g['bias'] if g.get('bias') else ''}"
            if tensors(s)[1].ndim == 2
            else None
        ),
    ),
    "bmm": (("mat2",), lambda g, s: f"{g['input']} @ {g['mat2']}"),
    "mm": (("mat2",), lambda g, s: f"{g['input']} @ {g['mat2']}"),
    "mv": (("vec",), lambda g, s: f"{g['input']} @ {g['vec']}"),
    "nn.functional.leaky_relu": (("negative_slope", "inplace"), plain("leaky_relu", negative_slope="slope")),
    "nn.functional.elu": (("alpha", "inplace"), plain("elu", alpha="alpha")),
    "nn.functional.selu": (("inplace",), plain("selu")),
    "nn.functional.gelu": (
        ("approximate",),
        lambda g, s: "gelu_tanh(x0)" if g.get("approximate") == "tanh" else "gelu(x0)",
    ),
    "nn.functional.silu": (("inplace",), plain("silu")),
    "nn.functional.mish": (("inplace",), plain("mish")),
    "nn.functional.hardsigmoid": (("inplace",), plain("hard_sigmoid")),
    "nn.functional.hardswish": (("inplace",), plain("hard_swish")),
    "nn.functional.hardtanh": (
        ("min_val", "max_val", "inplace"),
        plain("hard_tanh", min_val="low", max_val="high"),
    ),
    "nn.functional.softsign": ((), plain("softsign")),
    "nn.functional.glu": (("dim",), lambda g, s: "glu(x0)" if g.get("dim", -1) in (-1, s.input.ndim - 1) else None),
    "nn.functional.layer_norm": (("normalized_shape", "weight", "bias", "eps"), layer_norm),
    "nn.functional.mse_loss": (("target", "size_average", "reduce", "reduction"), reduced("mse")),
    "nn.functional.l1_loss": (("target", "size_average", "reduce", "reduction"), reduced("mae")),
    "nn.functional.huber_loss": (("target", "reduction", "delta"), reduced("huber")),
    "nn.functional.binary_cross_entropy_with_logits": (
        ("target", "weight", "size_average", "reduce", "reduction", "pos_weight"),
        reduced("binary_cross_entropy"),
    ),
    "nn.functional.cross_entropy": (
        ("target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"),
        cross_entropy,
    ),
    "nn.functional.embedding": (
        ("index", "padding_idx", "max_norm"),  # the table is the sample's input
        lambda g, s: (
            f"{g['input']}[{g['index']}]" if g.get("padding_idx") is None and g.get("max_norm") is None else None
        ),
    ),
    "nn.functional.scaled_dot_product_attention": (
        ("key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"),
        attention,
    ),
}


def tensors(sample: Any) -> list[Any]:
    """The tensors of a sample, in the order of its arguments."""
    first = list(sample.input) if isinstance(sample.input, (tuple, list)) else [sample.input]
    return [each for each in (*first, *sample.args, *sample.kwargs.values()) if isinstance(each, torch.Tensor)]


def given_of(sample: Any, names: Sequence[str]) -> Given:
    count = 0

    def named(value: Any) -> Any:
        nonlocal count
        if isinstance(value, torch.Tensor):
            count += 1
            return f"x{count - 1}"
        if isinstance(value, (tuple, list)) and value and all(isinstance(each, torch.Tensor) for each in value):
            return [named(each) for each in value]
        return value

    given = {"input": named(sample.input), **dict(zip(names, map(named, sample.args), strict=False))}
    return given | {name: named(each) for name, each in sample.kwargs.items()}


SAMPLES = [
    pytest.param(info, id=f"{info.name} {info.variant_test_name}".strip())
    for info in op_db
    if info.name in TABLE and info.variant_test_name in ("", "constant", "reflect", "replicate")
]
# torch's own gradient multiplies by 1 / 6 as a float of 32 bits.
ROUGH = {"nn.functional.hardsigmoid": 1e-7}
ALONG = ("top_k", "gather_elements", "scatter_elements", "take", "slice")


def test_every_entry_of_the_table_has_samples() -> None:
    assert {case.values[0].name for case in SAMPLES} == set(TABLE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", SAMPLES)
def test_samples_of_pytorch_have_its_values_and_gradients(info: Any) -> None:
    names, say = TABLE[info.name]
    tried = 0
    for sample in info.sample_inputs("cpu", torch.float64, requires_grad=True):
        text = say(given_of(sample, names), sample)
        if text is not None:
            theirs = info.op(sample.input, *sample.args, **sample.kwargs)
            tried += compared(text, tensors(sample), theirs, ROUGH.get(info.name, 1e-10))
    assert tried, "no sample of PyTorch's fits"


def compared(text: str, given: list[Any], result: Any, rtol: float) -> bool:
    """Compare one sample; whether the language takes it."""
    result = result[0] if isinstance(result, (tuple, list)) else result
    dtypes = {torch.float64: "f64", torch.int64: "i64", torch.bool: "bool"}
    if any(each.dtype not in dtypes or 0 in each.shape for each in given) or 0 in result.shape:
        return False
    if text.startswith(ALONG) and not given[0].ndim:
        return False  # a number has no axis here
    inputs = "\n".join(f"    input x{n}: {dtypes[each.dtype]}{list(each.shape)}" for n, each in enumerate(given))
    try:
        graph = elaborate(f"model M {{\n{inputs}\n    output y = {text}\n}}\n")
    except NablacError as error:
        raise AssertionError(text) from error
    made = graph.outputs["y"]
    assert tuple(made.shape) == tuple(result.shape), text
    weights = np.random.default_rng(0).normal(size=tuple(result.shape))
    cotangent = Input("cotangent", made.type)()
    floats = [name for name, value in graph.inputs.items() if value.type.dtype is DType.F64]
    folded: Value = Sum(None)(made * cotangent)
    grads = gradients([folded], [constant(1.0, DType.F64)], [graph.inputs[name] for name in floats])
    outputs = {"y": made, **{f"of {name}": grad for name, grad in zip(floats, grads, strict=True) if grad is not None}}
    feeds = {f"x{place}": each.detach().numpy() for place, each in enumerate(given)}
    found = run(Graph({**graph.inputs, "cotangent": cotangent}, outputs), {**feeds, "cotangent": weights})
    np.testing.assert_allclose(found["y"], result.detach().numpy(), rtol=1e-11, atol=1e-12, err_msg=text)
    moving = [each for each in given if each.requires_grad]
    total = (result * torch.tensor(weights)).sum()
    theirs = torch.autograd.grad(total, moving, materialize_grads=True, allow_unused=True)
    by_name = {f"x{place}": each for place, each in enumerate(given) if each.requires_grad}
    for name, wanted in zip(by_name, theirs, strict=True):
        ours = found.get(f"of {name}", np.zeros(wanted.shape))
        np.testing.assert_allclose(ours, wanted.numpy(force=True), rtol=rtol, atol=1e-11, err_msg=f"{text}: {name}")
    return True
