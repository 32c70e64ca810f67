"""Values and gradients on the sample inputs of PyTorch's own operator tests, where an operator corresponds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph, Value
from compiler.operators import OPERATORS
from compiler.operators.leaves import Input, constant
from compiler.operators.reductions import Sum
from compiler.types import DType, TensorType, TypeMismatch
from runtime.numpy_executor import run

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
ml_dtypes = pytest.importorskip("ml_dtypes", reason="bf16 on NumPy needs it")
pytest.importorskip("expecttest", reason="PyTorch's operator samples need it: pip install 'nablac[oracle]'")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

# Ours by PyTorch's name; where attributes differ, a function of the sample's other arguments gives ours.
SAME = {
    "abs": "abs", "acos": "acos", "acosh": "acosh", "add": "add", "asin": "asin", "asinh": "asinh", "atan": "atan",
    "atanh": "atanh", "ceil": "ceil", "cos": "cos", "cosh": "cosh", "div": "div", "erf": "erf", "exp": "exp",
    "expm1": "expm1", "floor": "floor", "log": "log", "log1p": "log1p", "matmul": "matmul", "maximum": "maximum",
    "minimum": "minimum", "mul": "mul", "neg": "neg", "pow": "pow", "reciprocal": "reciprocal",
    "nn.functional.relu": "relu", "round": "round", "sigmoid": "sigmoid", "sign": "sign", "sin": "sin", "sinh": "sinh",
    "sqrt": "sqrt", "sub": "sub", "tan": "tan", "tanh": "tanh", "where": "where",
    "amax": "max", "amin": "min", "sum": "sum", "mean": "mean", "prod": "prod", "logsumexp": "logsumexp",
    "softmax": "softmax", "log_softmax": "log_softmax", "cumsum": "cumsum", "transpose": "transpose", "flip": "flip",
    "permute": "transpose", "tile": "tile", "squeeze": "squeeze", "unsqueeze": "unsqueeze", "reshape": "reshape",
    "expand": "expand", "cat": "concat", "argmax": "argmax", "argmin": "argmin",
    "floor_divide": "floor_div", "remainder": "mod", "isnan": "isnan", "isinf": "isinf", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    **{f"nn.functional.conv{rank}d": "conv" for rank in (1, 2, 3)},
    **{f"nn.functional.conv_transpose{rank}d": "conv_transpose" for rank in (1, 2, 3)},
    **{f"nn.functional.max_pool{rank}d": "max_pool" for rank in (1, 2, 3)},
    **{f"nn.functional.avg_pool{rank}d": "average_pool" for rank in (1, 2, 3)},
}  # fmt: skip
WINDOWS = {"conv", "conv_transpose", "max_pool", "average_pool"}
FOLDS = {"sum", "mean", "prod", "max", "min", "logsumexp"}


def attributes(name: str, sample: Any) -> dict[str, Any] | None:
    """Our attributes for a sample's other arguments; None where ours has no such thing."""
    others = [each for each in sample.args if not isinstance(each, torch.Tensor)]
    keywords = dict(sample.kwargs)
    rank = sample.input.ndim if isinstance(sample.input, torch.Tensor) else 0
    if name in WINDOWS:
        return window_attributes(name, sample)
    if name in ("argmax", "argmin"):
        axis, keep = others[0] if others else keywords.pop("dim", None), keywords.pop("keepdim", False)
        return {"axis": axis, "keep": keep} if rank and axis is not None and not keywords else None
    if name in FOLDS:
        return fold_attributes(others, keywords) if rank else None
    if name in ("softmax", "log_softmax", "cumsum"):
        axis = others[0] if others else keywords.pop("dim", None)
        return {"axis": axis} if axis is not None and rank and not keywords else None
    if name == "flip":
        others = [*others, keywords.pop("dims")] if "dims" in keywords else others
    if keywords:
        return None
    if name == "transpose":
        if len(others) == 2:
            order = list(range(rank))
            first, second = others[0] % max(rank, 1), others[1] % max(rank, 1)
            if not rank:
                return None
            order[first], order[second] = order[second], order[first]
            return {"permutation": tuple(order)}
        return {"permutation": tuple(each % rank for each in others[0])} if rank else None
    if name in ("flip", "squeeze", "unsqueeze"):
        return {"axes": axes_of(name, sample.input, others[0])} if others else None
    if name in ("reshape", "expand"):
        shape = tuple(others[0]) if others and not isinstance(others[0], int) else tuple(others)
        if name == "expand":
            missing = len(shape) - rank
            shape = tuple(sample.input.shape[axis - missing] if size == -1 else size for axis, size in enumerate(shape))
        return {"shape": shape}
    if name == "tile":
        times = tuple(others[0])
        return {"repeats": times} if len(times) == rank else None
    return None if others else {}


def axes_of(name: str, x: Any, written: int | Sequence[int]) -> tuple[int, ...]:
    """The axes of a flip, squeeze or unsqueeze, counted from the front."""
    axes = (written,) if isinstance(written, int) else tuple(written)
    count = x.ndim + (name == "unsqueeze")
    axes = tuple(axis % count for axis in axes) if count else axes
    return tuple(axis for axis in axes if x.ndim and x.shape[axis] == 1) if name == "squeeze" else axes


def fold_attributes(others: list[Any], keywords: dict[str, Any]) -> dict[str, Any] | None:
    """Our attributes of a reduction; None where ours has no such thing."""
    dims = others[0] if others else keywords.pop("dim", None)
    keep = bool(others[1]) if len(others) > 1 else keywords.pop("keepdim", False)
    if keywords or len(others) > 2:
        return None
    axes = None if dims is None or dims == () else (dims,) if isinstance(dims, int) else tuple(dims)
    return {"axes": axes, "keep": keep}


def window_attributes(name: str, sample: Any) -> dict[str, Any] | None:
    """Our attributes of a convolution or a pooling; None where ours has no such thing."""
    keywords, rank = dict(sample.kwargs), sample.input.ndim - 2
    others = [each for each in sample.args if each is not None and not isinstance(each, torch.Tensor)]
    if name in ("max_pool", "average_pool"):
        keywords |= dict(zip(("kernel_size", "stride", "padding"), others, strict=False))
        if len(others) > 3 or keywords.pop("ceil_mode", False) or keywords.pop("return_indices", False):
            return None
        if keywords.pop("divisor_override", None) is not None:
            return None
    elif others or rank < 1 or (name == "conv_transpose" and len(sample.args) > 1 and sample.args[1] is not None):
        return None

    def several(value: Any) -> tuple[int, ...]:
        return (value,) * rank if isinstance(value, int) else tuple(value)

    if isinstance(keywords.get("padding"), str) or rank < 1:
        return None
    pads = several(keywords.pop("padding", 0))
    pads = pads * rank if len(pads) == 1 else pads
    found: dict[str, Any] = {"pads": (*pads, *pads)}
    names = {"kernel_size": "kernel", "stride": "strides", "dilation": "dilations", "output_padding": "output_padding"}
    for theirs, ours in names.items():
        value = keywords.pop(theirs, None)
        if value is not None and value != ():
            sizes = several(value)
            found[ours] = sizes * rank if len(sizes) == 1 else sizes
    if name in ("max_pool", "average_pool"):
        found.setdefault("strides", found["kernel"])
    if name == "average_pool":
        found["count_include_pad"] = keywords.pop("count_include_pad", True)
    if "groups" in keywords:
        found["groups"] = keywords.pop("groups")
    return found if not keywords else None


def cases() -> list[Any]:
    found = []
    for info in op_db:
        if info.name in SAME and not info.variant_test_name:
            found.append(pytest.param(info, SAME[info.name], id=f"{info.name}-{SAME[info.name]}"))
    return found


@pytest.mark.parametrize(("info", "name"), cases())
def test_samples_of_pytorch_have_its_values_and_gradients(info: Any, name: str) -> None:
    assert agreeing(info, name, info.sample_inputs("cpu", torch.float64)), "no sample of PyTorch's fits"


@pytest.mark.campaign
@pytest.mark.parametrize(("info", "name"), cases())
def test_reference_inputs_of_pytorch_have_its_values_and_gradients(
    info: Any, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Its many samples, of every layout, with infinities, NaN and large numbers among them."""
    count = agreeing(info, name, info.reference_inputs("cpu", torch.float64))
    record_property("agree", count)
    assert count, "no sample of PyTorch's fits"


@pytest.mark.campaign
@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16], ids=str)
@pytest.mark.parametrize(("info", "name"), cases())
def test_samples_in_16_bits_are_those_of_float32_rounded(info: Any, name: str, dtype: DType) -> None:
    assert agreeing(info, name, info.sample_inputs("cpu", torch.float64), dtype), "no sample of PyTorch's fits"


def agreeing(info: Any, name: str, samples: Iterable[Any], dtype: DType = DType.F64) -> int:
    """How many samples agree; those that our operator has no form for do not count."""
    tried = 0
    for sample in samples:
        if name in WINDOWS and sample.input.ndim != int(info.name[-2]) + 2:
            continue  # without a batch axis
        fields = attributes(name, sample) if name != "concat" else {"axis": sample.kwargs.get("dim", 0)}
        if fields is None:
            continue
        written = list(sample.input) if name == "concat" else [sample.input, *sample.args]
        leaves = [_leaf(each, dtype, name != "floor_div") for each in written]
        operands = [each for each in leaves if isinstance(each, torch.Tensor)]
        if any(each.dtype not in (torch.float64, torch.bool) for each in operands):
            continue
        if (
            not operands
            or isinstance(written[0], (int, float, bool))
            or (len(operands) != {"where": 3}.get(name, len(operands)))
        ):
            continue  # numbers, which become tensors before an operator sees them
        result = info.op(leaves, **sample.kwargs) if name == "concat" else info.op(*leaves, **sample.kwargs)
        if name == "where":
            operands = [operands[1], operands[0], *operands[2:]]
        tried += compared(name, fields, operands, result, dtype)
    return tried


def _leaf(value: Any, dtype: DType, smooth: bool) -> Any:
    """A tensor to differentiate by, of numbers that the dtype holds; anything else as it is."""
    if not isinstance(value, torch.Tensor) or value.dtype is not torch.float64:
        return value
    held = value.detach().numpy().astype(dtype.numpy).astype(np.float64)
    return torch.tensor(held).requires_grad_(smooth and dtype is DType.F64)


# A number is rounded by half of its last bit at most, and f32 loses a little where terms cancel.
ROUNDED = {DType.F16: (2.0**-11 * 1.01, 2.0**-22), DType.BF16: (2.0**-8 * 1.01, 2.0**-20)}


def compared(name: str, fields: dict[str, Any], tensors: list[Any], result: Any, dtype: DType = DType.F64) -> bool:
    """Compare one sample; whether our operator takes it."""
    inputs = {
        f"x{place}": Input(
            f"x{place}", TensorType(DType.BOOL if each.dtype is torch.bool else dtype, tuple(each.shape))
        )()
        for place, each in enumerate(tensors)
    }
    try:
        made: Value = OPERATORS[name](**fields)(*inputs.values())
    except TypeMismatch:
        return False
    weights = np.random.default_rng(0).normal(size=tuple(result.shape))
    cotangent = Input("cotangent", TensorType(dtype, made.shape))()
    outputs = {"value": made}
    differentiable = [key for key, each in inputs.items() if each.type.dtype.is_float]
    if result.requires_grad:
        total: Value = Sum(None)(made * cotangent)
        grads = gradients([total], [constant(1.0, DType.F64)], [inputs[key] for key in differentiable])
        outputs |= {key: grad for key, grad in zip(differentiable, grads, strict=True) if grad is not None}
    graph = Graph({**inputs, "cotangent": cotangent}, outputs)
    feeds = {
        key: each.detach().numpy().astype(inputs[key].type.dtype.numpy)
        for key, each in zip(inputs, tensors, strict=True)
    }
    with np.errstate(all="ignore"):
        found = run(graph, {**feeds, "cotangent": weights.astype(dtype.numpy)})
    expected = result.detach().numpy()
    if not result.is_floating_point():
        np.testing.assert_array_equal(found["value"], expected)
        return True
    if dtype in ROUNDED:
        rounding, cancelled = ROUNDED[dtype]
        with np.errstate(over="ignore"):
            expected = expected.astype(dtype.numpy).astype(np.float64)
        finite = np.abs(expected[np.isfinite(expected)]).max(initial=0)
        tiny = float(ml_dtypes.finfo(dtype.numpy).smallest_subnormal)
        ours = found["value"].astype(np.float64)
        np.testing.assert_allclose(
            ours, expected, 2 * rounding, finite * cancelled * 16 + tiny, err_msg=f"{name} {fields}"
        )
        return True
    keep = np.ones(expected.shape, bool)
    if name == "mod":  # PyTorch subtracts a quotient that may overflow
        keep = np.isfinite(expected)
    if name in ("sign", "abs"):  # the sign of NaN is NaN here, as in NumPy and ONNX, and 0 in PyTorch
        keep = ~np.isnan(feeds["x0"])
    np.testing.assert_allclose(found["value"][keep], expected[keep], rtol=1e-12, atol=1e-14)
    if not result.requires_grad:
        return True
    wanted = torch.autograd.grad(
        (result * torch.tensor(weights)).sum(),
        [each for each in tensors if each.dtype is not torch.bool],
        allow_unused=True,
    )
    for key, theirs in zip(differentiable, wanted, strict=True):
        ours = found.get(key)
        if theirs is None:
            theirs = torch.zeros(inputs[key].shape, dtype=torch.float64)
        ours = np.zeros(theirs.shape) if ours is None else ours
        keep = keep if keep.shape == ours.shape else np.ones(ours.shape, bool)
        label = f"{name} {fields} {key}"
        np.testing.assert_allclose(ours[keep], theirs.numpy()[keep], rtol=1e-10, atol=1e-12, err_msg=label)
    return True
