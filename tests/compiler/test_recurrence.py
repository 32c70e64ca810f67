"""A step of a recurrence is closed over what it takes from outside, and over nothing more."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph import Value
from compiler.operators.leaves import Input, constant
from compiler.recurrence import RecurrentState, Step
from compiler.types import DType, TensorType
from runtime.numpy_executor import run

VECTOR = TensorType(DType.F64, (3,))


def vector(name: str) -> Value:
    return Input(name, VECTOR)()


NUMBER = Input("step", TensorType(DType.I64))()
S, X, W = vector("s"), vector("x"), vector("w")
ZERO = constant(0.0, DType.F64)


def step(following: Value, *outputs: Value, current: Value = S, initial: Value = ZERO) -> Step:
    return Step((RecurrentState("s", current, initial, following),), (X,), NUMBER, outputs)


DOUBLE = W * 2.0
SAME = vector("x")


@pytest.mark.parametrize(
    ("closed", "captured", "inputs", "outputs"),
    [
        (step(S + X, X), (), ["s", "x"], ["next_s", "output_0"]),
        (step(S * W, X - W), (W,), ["s", "x", "captured_0"], ["next_s", "output_0"]),
        (step(S + DOUBLE, DOUBLE), (DOUBLE,), ["s", "x", "captured_0"], ["next_s", "output_0"]),
        (step(S + W * 2.0 * X), None, ["s", "x", "captured_0"], ["next_s"]),
        (step(S + 1.0, X * 3.0, X), (), ["s", "x"], ["next_s", "output_0", "output_1"]),
        (step(SAME + X, X, current=SAME), (), ["x", "x_1"], ["next_s", "output_0"]),
        (step(W, W), (W,), ["s", "x", "captured_0"], ["next_s", "output_0"]),
    ],
    ids=[
        "nothing",
        "a value",
        "what is computed outside",
        "a part",
        "no constant",
        "one name twice",
        "ends themselves",
    ],
)
def test_a_body_takes_what_its_equations_name(
    closed: Step, captured: tuple[Value, ...] | None, inputs: list[str], outputs: list[str]
) -> None:
    body = closed.body()
    assert captured is None or closed.captured == captured
    assert list(body.inputs) == inputs
    assert list(body.outputs) == outputs
    assert {node.result for node in body if isinstance(node.op, Input)} <= set(body.inputs.values())


def test_a_body_computes_its_equations() -> None:
    feeds = {"s": np.array([1.0, 2, 3]), "x": np.array([0.5, 0.25, 4]), "captured_0": np.array([2.0, -2, 5])}
    results = run(step(S * X + DOUBLE, X / DOUBLE).body(), feeds)
    np.testing.assert_array_equal(results["next_s"], [2.5, -1.5, 17])
    np.testing.assert_array_equal(results["output_0"], [0.25, -0.125, 0.8])


@pytest.mark.parametrize(
    ("initial", "begun"),
    [(ZERO, False), (W, False), (X, True), (S + 1.0, True), (NUMBER, True)],
    ids=["a constant", "from outside", "a slice", "a state", "the step's number"],
)
def test_a_first_value_is_there_before_the_first_step(initial: Value, begun: bool) -> None:
    closed = step(S + X, initial=initial)
    assert closed.begun_inside() == (closed.states[0] if begun else None)


def test_the_number_of_a_step_is_an_input_where_it_is_used() -> None:
    assert not step(S + X).is_numbered
    counted = step(S + X, NUMBER)
    assert counted.is_numbered
    assert list(counted.body().inputs) == ["s", "x", "step"]
