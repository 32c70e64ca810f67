"""Values and gradients on the sample inputs of PyTorch's own operator tests, where an operator corresponds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph, Value
from compiler.operators import OPERATORS
from compiler.operators.reductions import Sum
from compiler.operators.source import Input, constant
from compiler.types import DType, TensorType, TypeMismatch
from runtime.numpy_executor import run

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
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
    "expand": "expand", "cat": "concat",
}  # fmt: skip
FOLDS = {"sum", "mean", "prod", "max", "min", "logsumexp"}


def attributes(name: str, sample: Any) -> dict[str, Any] | None:
    """Our attributes for a sample's other arguments; None where ours has no such thing."""
    others = [each for each in sample.args if not isinstance(each, torch.Tensor)]
    given = dict(sample.kwargs)
    rank = sample.input.ndim if isinstance(sample.input, torch.Tensor) else 0
    if name in FOLDS:
        dims = others[0] if others else given.pop("dim", None)
        keep = bool(others[1]) if len(others) > 1 else given.pop("keepdim", False)
        if given or len(others) > 2:
            return None
        axes = None if dims is None or dims == () else (dims,) if isinstance(dims, int) else tuple(dims)
        return {"axes": axes, "keep": keep} if rank else None
    if name in ("softmax", "log_softmax", "cumsum"):
        axis = others[0] if others else given.pop("dim", None)
        return {"axis": axis} if axis is not None and rank and not given else None
    if name == "flip":
        others = [*others, given.pop("dims")] if "dims" in given else others
    if given:
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
        if not others:
            return None
        axes = (others[0],) if isinstance(others[0], int) else tuple(others[0])
        count = rank + (name == "unsqueeze")
        axes = tuple(axis % count for axis in axes) if count else axes
        if name == "squeeze":
            axes = tuple(axis for axis in axes if rank and sample.input.shape[axis] == 1)
        return {"axes": axes}
    if name in ("reshape", "expand"):
        shape = tuple(others[0]) if others and not isinstance(others[0], int) else tuple(others)
        if name == "expand":
            missing = len(shape) - rank
            shape = tuple(
                sample.input.shape[place - missing] if size == -1 else size for place, size in enumerate(shape)
            )
        return {"shape": shape}
    if name == "tile":
        times = tuple(others[0])
        return {"repeats": times} if len(times) == rank else None
    return None if others else {}


def cases() -> list[Any]:
    found = []
    for info in op_db:
        if info.name in SAME and not info.variant_test_name:
            found.append(pytest.param(info, SAME[info.name], id=f"{info.name}-{SAME[info.name]}"))
    return found


@pytest.mark.parametrize(("info", "name"), cases())
def test_samples_of_pytorch_have_its_values_and_gradients(info: Any, name: str) -> None:
    tried = 0
    for sample in info.sample_inputs("cpu", torch.float64, requires_grad=True):
        given = attributes(name, sample) if name != "concat" else {"axis": sample.kwargs.get("dim", 0)}
        if given is None:
            continue
        operands = list(sample.input) if name == "concat" else [sample.input, *sample.args]
        operands = [each for each in operands if isinstance(each, torch.Tensor)]
        if name == "where":
            operands = [operands[1], operands[0], *operands[2:]]
        if any(each.dtype not in (torch.float64, torch.bool) for each in operands):
            continue
        tried += compared(name, given, operands, info.op(sample.input, *sample.args, **sample.kwargs))
    assert tried, "no sample of PyTorch's fits"


def compared(name: str, given: dict[str, Any], tensors: list[Any], result: Any) -> bool:
    """Compare one sample; whether our operator takes it."""
    inputs = {
        f"x{place}": Input(
            f"x{place}", TensorType(DType.BOOL if each.dtype is torch.bool else DType.F64, tuple(each.shape))
        )()
        for place, each in enumerate(tensors)
    }
    try:
        made: Value = OPERATORS[name](**given)(*inputs.values())
    except TypeMismatch:
        return False
    weights = np.random.default_rng(0).normal(size=tuple(result.shape))
    cotangent = Input("cotangent", made.type)()
    outputs = {"value": made}
    differentiable = [key for key, each in inputs.items() if each.type.dtype.is_float]
    if result.requires_grad:
        total: Value = Sum(None)(made * cotangent)
        grads = gradients([total], [constant(1.0, DType.F64)], [inputs[key] for key in differentiable])
        outputs |= {key: grad for key, grad in zip(differentiable, grads, strict=True) if grad is not None}
    graph = Graph({**inputs, "cotangent": cotangent}, outputs)
    feeds = {key: each.detach().numpy() for key, each in zip(inputs, tensors, strict=True)}
    found = run(graph, {**feeds, "cotangent": weights})
    np.testing.assert_allclose(found["value"], result.detach().numpy(), rtol=1e-12, atol=1e-14)
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
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10, atol=1e-12, err_msg=f"{name} {given} {key}")
    return True
