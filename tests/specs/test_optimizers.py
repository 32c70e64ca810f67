"""Optimizers against torch.optim over several steps, and schedules at steps whose rate is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from compiler.elaborate.frame import CallSite, Frame, State
from compiler.elaborate.program import program_of
from compiler.elaborate.session import Session
from compiler.elaborate.values import Scope
from compiler.elaborate.work import Work
from compiler.graph import Graph
from compiler.operators.leaves import Input
from compiler.types import DType, TensorType
from grammar.diagnostics import Diagnostics
from grammar.source import Source
from runtime.numpy_executor import run
from tests.models import elaborate
from tests.specs.parity import torch


def step_of(text: str) -> Graph:
    """One step of an optimizer: from `param`, `grad`, `step` and its states to the next of each."""
    program = program_of(
        Source("case.model", f"const chosen = {text}\nmodel M() {{\n    input x: [n]\n    output x\n}}\n")
    )
    diagnostics = Diagnostics()
    session = Session(training=True, float_type=DType.F64, diagnostics=diagnostics, work=Work())
    span = program.tree.declarations[0].span
    with session.inside(Frame("fn", "case", program.scope, "")):
        instance = session.evaluate(program.tree.declarations[0].value)  # type: ignore[union-attr]
    type = TensorType(DType.F64, (3, 4))
    inputs = {
        "param": Input("param", type)(),
        "grad": Input("grad", type)(),
        "step": Input("step", TensorType(DType.F64))(),
    }
    frame = Frame(
        "optimizer", text, Scope(instance.defined.scope, {**instance.hypers, **inputs}), "", instance=instance
    )
    frame.float_type = DType.F64
    state = state_of(frame, inputs["param"], span)
    frame.states["param"] = state
    with session.inside(frame, CallSite(span, text)):
        session.run(instance.defined.syntax.body)
    diagnostics.raise_if_any()
    inputs |= {name: each.current for name, each in frame.states.items()}
    return Graph(inputs, {name: each.next for name, each in frame.states.items() if each.next is not None})


def state_of(frame: Frame, value: Any, span: Any) -> Any:
    frame.declared["param"] = span
    return State("param", value, value, span)


class Lion(torch.optim.Optimizer):  # type: ignore[misc, name-defined]
    """Algorithm 2 of Chen et al. 2023."""

    def __init__(self, parameters: Any, lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.m: dict[Any, Any] = {}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                m = self.m.get(p, torch.zeros_like(p))
                update = (0.9 * m + 0.1 * p.grad).sign() + group["weight_decay"] * p
                self.m[p] = 0.99 * m + 0.01 * p.grad
                p -= group["lr"] * update


OPTIMIZERS = {
    "sgd(0.1)": lambda p: torch.optim.SGD(p, 0.1),
    "sgd(0.1, momentum: 0.9)": lambda p: torch.optim.SGD(p, 0.1, 0.9),
    "sgd(0.1, momentum: 0.9, nesterov: true)": lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
    "sgd(0.1, 0.5, weight_decay: 0.2)": lambda p: torch.optim.SGD(p, 0.1, 0.5, weight_decay=0.2),
    "adam()": lambda p: torch.optim.Adam(p),
    "adam(0.1, 0.8, 0.95, eps: 1e-4)": lambda p: torch.optim.Adam(p, 0.1, (0.8, 0.95), 1e-4),
    "adamw()": lambda p: torch.optim.AdamW(p),
    "adamw(0.1, weight_decay: 0.3)": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.3),
    "rmsprop()": lambda p: torch.optim.RMSprop(p),
    "rmsprop(0.1, decay: 0.9, momentum: 0.5)": lambda p: torch.optim.RMSprop(p, 0.1, 0.9, momentum=0.5),
    "adagrad()": lambda p: torch.optim.Adagrad(p),
    "lion(0.1, weight_decay: 0.2)": lambda p: Lion(p, 0.1, 0.2),
}


@pytest.mark.parametrize("text", OPTIMIZERS)
def test_ten_steps_are_torchs(text: str) -> None:
    random = np.random.default_rng(3)
    graph, start = step_of(text), random.standard_normal((3, 4))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = OPTIMIZERS[text]([parameter])
    values = {name: np.zeros((3, 4)) for name in graph.outputs} | {"param": start}
    for step in range(1, 11):
        grad = random.standard_normal((3, 4))
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        values = run(graph, {**values, "grad": grad, "step": np.asarray(float(step))})
        np.testing.assert_allclose(values["param"], parameter.detach().numpy(), rtol=1e-12, atol=1e-12)


SCHEDULES = {
    "step_decay(s, 0.8, every: 10)": {1: 0.8, 10: 0.8, 11: 0.4, 21: 0.2},
    "step_decay(s, 0.8, 5, factor: 0.1)": {5: 0.8, 6: 0.08},
    "exponential_decay(s, 0.8, steps: 100)": {50: 0.8 * math.sqrt(0.1), 100: 0.08, 200: 0.008},
    "cosine_decay(s, 0.8, steps: 100)": {25: 0.4 * (1 + math.sqrt(0.5)), 50: 0.4, 100: 0, 500: 0},
    "cosine_decay(s, 0.8, steps: 100, lowest: 0.2)": {50: 0.5, 100: 0.2, 101: 0.2},
    "linear_decay(s, 0.8, steps: 100)": {25: 0.6, 100: 0, 101: 0},
    "warmup(s, 0.8, steps: 100)": {1: 0.008, 50: 0.4, 100: 0.8, 1000: 0.8},
    "cosine_decay(s, 0.8, steps: 100) -> warmup(s, _, steps: 50)": {25: 0.2 * (1 + math.sqrt(0.5)), 50: 0.4, 100: 0},
    "one_cycle(s, 0.5, steps: 100)": {15: 0.26, 30: 0.5, 65: 0.250001, 100: 2e-6, 200: 2e-6},
    "noam(s, width: 64, steps: 100)": {1: 0.125 / 1000, 100: 0.0125, 400: 0.125 / 20},
}


@pytest.mark.parametrize("text", SCHEDULES)
def test_a_schedule_gives_the_rate_of_its_step(text: str) -> None:
    steps, rates = np.array([*SCHEDULES[text]], float), [*SCHEDULES[text].values()]
    graph = elaborate(f"model M() {{\n    input s: [n]\n    output {text}\n}}\n", dtype=DType.F64)
    (found,) = run(graph, {"s": steps}).values()
    np.testing.assert_allclose(found, rates, rtol=1e-12, atol=1e-12)
