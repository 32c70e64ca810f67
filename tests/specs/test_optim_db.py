"""The library's optimizers on the configurations of PyTorch's own optimizer tests, and far into a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.passes.pipeline import optimize
from compiler.training.step import training_step
from compiler.types import DType
from runtime.numpy_executor import NumpyRunner
from tests.models import spec_of
from tests.specs.parity import torch

pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
pytest.importorskip("expecttest", reason="PyTorch's optimizer tests need it: pip install 'nablac[oracle]'")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_optimizers import optim_db

STEPS = 20
OURS = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw", "RMSprop": "rmsprop", "Adagrad": "adagrad"}
ABSENT = {"amsgrad", "initial_accumulator_value", "centered", "dampening"}  # the library has no such options
OWN_DECAY = {"SGD", "AdamW"}  # for the others `weight_decay` is the train block's
DTYPES = {DType.F64: torch.float64, DType.F32: torch.float32}


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """The optimizers of PyTorch that are ours too, with the options that its own tests run."""
    for info in optim_db:
        name = info.optim_cls.__name__
        for options in info.optim_inputs_func(device="cpu") if name in OURS else ():
            if not ABSENT & set(options.kwargs):
                yield name, options.kwargs


def block(name: str, options: dict[str, Any]) -> str:
    """A model whose gradient is its input, trained by our words for PyTorch's options."""
    options = dict(options)
    sign = "-" if options.pop("maximize", False) else ""
    decay = "" if name in OWN_DECAY else f"weight_decay {options.pop('weight_decay', 0)}"
    rate = float(options.pop("lr", torch.optim.__dict__[name]([torch.zeros(1)]).defaults["lr"]))
    slowing = options.pop("lr_decay", None)
    given = {"lr": rate if slowing is None else f"{rate} / (1 + {slowing} * (step - 1))", **options}
    arguments = ", ".join(f"{key}: {str(value).lower()}" for key, value in given.items())
    return f"""
model M {{ input x: [3, 4]; param w: [3, 4] = 0; output y = {sign}sum(w * x) }}
train M {{ loss y; optimizer {OURS[name]}({arguments}); {decay} }}
"""


class Ours:
    """Our training step from some first weights on."""

    def __init__(self, text: str, dtype: DType, first: Any) -> None:
        step = training_step(spec_of(text, training=True, dtype=dtype))
        self.graph, self.dtype = optimize(step.graph), dtype.numpy
        states = {path: np.zeros((3, 4), self.dtype) for path in self.graph.updates}
        self.runner = NumpyRunner(self.graph, states | {"w": first.astype(self.dtype)})

    def step(self, number: int, gradient: Any) -> Any:
        fed = {"x": gradient.astype(self.dtype), "step": np.asarray(number, self.dtype)}
        results = self.runner.run({name: fed[name] for name in self.graph.inputs})
        self.runner.weights.update({path: results[path] for path in self.graph.updates})
        return self.runner.weights["w"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "options"), [*configurations()], ids=lambda each: str(each))
def test_steps_are_those_of_pytorchs_own_tests(name: str, options: dict[str, Any], dtype: DType) -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal((3, 4))
    parameter = torch.nn.Parameter(torch.tensor(first, dtype=DTYPES[dtype]))
    theirs = torch.optim.__dict__[name]([parameter], **options)
    ours = Ours(block(name, options), dtype, first)
    tolerance = 1e-12 if dtype is DType.F64 else 2e-7
    for number in range(1, STEPS + 1):
        gradient = random.standard_normal((3, 4))
        parameter.grad = torch.tensor(gradient, dtype=parameter.dtype)
        theirs.step()
        found = ours.step(number, gradient)
        np.testing.assert_allclose(found, parameter.detach(), rtol=tolerance, atol=tolerance)


ADAMS = {
    "adam(lr: 1)": {},
    "adam(lr: 1, beta1: 0.5, beta2: 0.9)": {"betas": (0.5, 0.9)},
    "adam(lr: 1, beta1: 0)": {"betas": (0.0, 0.999)},
}


@pytest.mark.parametrize("number", [1, 2, 3, 10, 100, 1000, 10_000, 1_000_000])
@pytest.mark.parametrize("text", ADAMS)
def test_adams_correction_is_exact_to_the_rounding_of_f32(text: str, number: int) -> None:
    """From states of 0 the n-th update of a gradient of 1 is written in closed form."""
    first, second = ADAMS[text].get("betas", (0.9, 0.999))
    model = "model M { input x: [3, 4]; param w: [3, 4] = 0; output y = sum(w * x) }\n"
    ours = Ours(f"{model} train M {{ loss y; optimizer {text} }}", DType.F32, np.zeros((3, 4)))
    found = ours.step(number, np.ones((3, 4)))
    expected = -(1 - first) / (1 - first**number) / (np.sqrt((1 - second) / (1 - second**number)) + 1e-8)
    np.testing.assert_allclose(found, np.full((3, 4), expected), rtol=2.5e-7)
