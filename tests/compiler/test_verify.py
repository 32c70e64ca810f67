"""`verify` reports every kind of malformed graph, and where it is."""

from __future__ import annotations

import pytest

from compiler.graph import Graph, Node, Operator, Value
from compiler.graph_checks import VerifyError, verify
from compiler.operators.control import Scan
from compiler.operators.leaves import Parameter, constant
from compiler.operators.powers import Exp
from compiler.types import DType, TensorType
from tests.models import elaborate
from tests.runtime.graphs import buffer, fed, graph, parameter, tensor

X = fed("x", "f32", "n", 2)


def forged(op: Operator, operands: tuple[Value, ...], *types: TensorType) -> Value:
    """A node made past its operator's type rule."""
    return Node(op, operands, types).results[0]


def foreign() -> Value:
    """A value that claims to be a node's result and is none."""
    return Value(X.node, 0, X.type)


def closed_over(value: Value) -> Graph:
    """A scan whose step reaches `value` of the outer graph."""
    h, x = fed("h", "f32", 2), fed("item", "f32", 2)
    body = graph([h, x], h=h + x + value)
    xs, first = fed("xs", "f32", "time", 2), fed("first", "f32", 2)
    last = Scan(body, 1, 1).apply(first, xs).results[0]
    return graph([first, xs, *([value] if value.node.op.name == "input" else [])], last=last)


BROKEN = {
    "a wrong type": (
        graph([X], y=forged(Exp(), (X,), tensor("f32", 3))),
        "test: exp is f32[3], but its operator infers f32[n, 2]",
    ),
    "operands that the operator refuses": (
        graph([X], y=forged(Exp(), (constant(1, DType.I64),), tensor("i64"))),
        "test: exp refuses its operands: expected float tensors, got i64[]",
    ),
    "an operand that is not a result": (
        graph([X], y=forged(Exp(), (foreign(),), X.type)),
        "test: exp has an operand that is not a result of its node",
    ),
    "an input that is not declared": (
        graph([], y=Exp()(X)),
        "test: input: `x` is reached, but is not an input of the graph",
    ),
    "an input that is computed": (
        Graph({"x": Exp()(X)}, {"y": X}, {}, "test"),
        "test: the input `x` is made by Exp()",
    ),
    "an input of another label": (
        Graph({"z": X}, {"y": X}, {}, "test"),
        "test: the input `z` is labelled `x`",
    ),
    "two nodes of one path": (
        graph([X], y=X + parameter("w", 2) + parameter("w", 2)),
        "two nodes are `w`",
    ),
    "a path that is also an input": (
        graph([X], y=X + parameter("x", 2)),
        "`x` is also an input",
    ),
    "an update of another type": (
        graph([X], {"mean": X}, y=X + buffer("mean", 2)),
        "test: `mean` is f32[2], but its next value is f32[n, 2]",
    ),
    "a step that reaches a weight": (closed_over(parameter("w", 2)), "its step is not closed"),
    "a step that reaches an input": (closed_over(fed("v", "f32", 2)), "`v` is reached, but is not an input"),
    "an initializer of another shape": (
        graph([X], y=X + parameter("w", 2, initial=graph([], value=constant(0, DType.F32)))),
        "the initializer of `w` gives f32[], not f32[2]",
    ),
    "an initializer that needs more than a seed": (
        graph([X], y=X + parameter("w", 2, initial=graph([z := fed("z", "f32", 2)], value=z))),
        "takes ['z'] and gives ['value']",
    ),
}


@pytest.mark.parametrize("label", BROKEN)
def test_a_broken_graph_is_refused(label: str) -> None:
    broken, message = BROKEN[label]
    with pytest.raises(VerifyError) as caught:
        verify(broken)
    assert message in str(caught.value)


def test_a_model_with_recurrence_and_buffers_passes() -> None:
    verify(
        elaborate(
            "model M() {\n    input x: [batch, time, 3]\n    output x -> LSTM(4) -> BatchNorm() -> Dropout(0.1)\n}\n",
            training=True,
        )
    )


def test_a_parameter_may_be_used_as_often_as_one_likes() -> None:
    w = Parameter("w", tensor("f32", 2))()
    verify(graph([X], y=(X + w) * w, z=w))
