"""Reverse mode over whole graphs; the rules of single operators are tested beside the operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import compiler.operators  # noqa: F401 - defining the operators is knowing them
from compiler.gradient import gradients
from compiler.graph import Graph, NotDifferentiable, Operator, Value
from compiler.operators.activations import Tanh
from compiler.operators.casting import Cast, StopGradient
from compiler.operators.control import Scan
from compiler.operators.leaves import Input, constant
from compiler.operators.linear import MatMul
from compiler.operators.ordering import TopK
from compiler.operators.reductions import Sum
from compiler.types import DType, TensorType
from tests.compiler.operators.harness import run_numpy, tensor_type

if TYPE_CHECKING:
    from compiler.types import Array


def tensor(name: str, type: str) -> Value:
    value: Value = Input(name, tensor_type(type))()
    return value


def value_of(wanted: Value, **feeds: tuple[Value, Array]) -> Array:
    inputs = {name: value for name, (value, _) in feeds.items()}
    return run_numpy(Graph(inputs, {"it": wanted}), {name: array for name, (_, array) in feeds.items()})["it"]


one = constant(1.0, DType.F64)


def test_a_value_used_twice_gets_both_gradients() -> None:
    x = tensor("x", "f64[]")
    (grad,) = gradients([x * x + x], [one], [x])
    assert grad is not None
    assert value_of(grad, x=(x, np.array(3.0))) == 7


def test_several_outputs_add_up() -> None:
    x = tensor("x", "f64[]")
    (grad,) = gradients([x * 2, x * 5, x], [one, one, one], [x])
    assert grad is not None
    assert value_of(grad, x=(x, np.array(3.0))) == 8


def test_an_output_that_is_asked_for_is_its_own_gradient() -> None:
    x = tensor("x", "f64[]")
    assert gradients([x], [one], [x]) == [one]


def test_a_gradient_can_be_asked_for_between() -> None:
    x, w = tensor("x", "f64[3]"), tensor("w", "f64[3]")
    hidden: Value = Tanh()(x * w)
    loss: Value = Sum()(hidden * hidden)
    of_hidden, of_x = gradients([loss], [one], [hidden, x])
    assert of_hidden is not None and of_x is not None
    x0, w0 = np.array([1.0, 2.0, 3.0]), np.array([0.5, -0.5, 0.1])
    h0 = np.tanh(x0 * w0)
    np.testing.assert_allclose(value_of(of_hidden, x=(x, x0), w=(w, w0)), 2 * h0, rtol=1e-15)
    np.testing.assert_allclose(value_of(of_x, x=(x, x0), w=(w, w0)), 2 * h0 * (1 - h0**2) * w0, rtol=1e-14)


def test_nothing_flows_to_what_is_not_used_or_is_stopped() -> None:
    x, y = tensor("x", "f64[]"), tensor("y", "f64[]")
    assert gradients([StopGradient()(x) * 2], [one], [x, y]) == [None, None]


def test_nothing_flows_through_integers() -> None:
    x = tensor("x", "f64[]")
    assert gradients([Cast(DType.F64)(Cast(DType.I64)(x))], [one], [x]) == [None]


def test_only_what_lies_between_is_differentiated() -> None:
    x, w = tensor("x", "f64[n, 3]"), tensor("w", "f64[3]")
    seed = tensor("seed", "f64[n]")
    (grad,) = gradients([MatMul()(Tanh()(x), w)], [seed], [w])
    assert grad is not None
    names = [node.op.name for node in Graph({}, {"grad": grad})]
    assert names.count("tanh") == 1
    assert "mul" not in names, "the derivative of tanh is not needed"


def test_one_result_of_several_is_enough() -> None:
    x = tensor("x", "f64[4]")
    values, places = TopK(2).apply(x).results
    (grad,) = gradients([values], [tensor("seed", "f64[2]")], [x])
    assert grad is not None and grad.type == x.type
    assert gradients([places], [tensor("seed", "i64[2]")], [x]) == [None]


class Opaque(Operator):
    """An operator without a gradient; named too late for the registry to know it."""

    def infer(self, x: TensorType) -> TensorType:
        return x

    def compute(self, x: Array) -> Array:
        return x

    def lower(self, emit: object, x: str) -> str:
        raise AssertionError


Opaque.name = "opaque"


def test_an_operator_without_gradient_is_refused_only_where_a_gradient_passes() -> None:
    x, y = tensor("x", "f64[]"), tensor("y", "f64[]")
    opaque = Opaque()(x)
    with pytest.raises(NotDifferentiable) as raised:
        gradients([opaque * y], [one], [x])
    assert raised.value.node is opaque.node
    assert gradients([Opaque()(x) * y], [one], [y])[0] is not None


def test_the_operator_without_gradient_is_named_where_it_is_a_step_of_a_recurrence() -> None:
    state, item = tensor("state", "f64[]"), tensor("item", "f64[]")
    opaque = Opaque()(state) * item
    body = Graph({"state": state, "item": item}, {"next": opaque})
    last = Scan(body, 1, 1).apply(tensor("first", "f64[]"), tensor("items", "f64[3]")).results[0]
    with pytest.raises(NotDifferentiable) as raised:
        gradients([last], [one], [last.node.operands[1]])
    assert raised.value.node is not None and raised.value.node.op.name == "opaque"


def test_a_long_chain_does_not_recurse() -> None:
    x = tensor("x", "f64[]")
    value = x
    for _ in range(5000):
        value = value + x
    (grad,) = gradients([value], [one], [x])
    assert grad is not None
    assert value_of(grad, x=(x, np.array(1.0))) == 5001
