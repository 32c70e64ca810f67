"""What is declared in a loop is another one in each round; of a next value there is one equation."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.operators.leaves import Parameter
from runtime.initialization import initialize, stored_operators
from runtime.numpy_executor import run
from tests.compiler.texts import graph, mistakes


def cell(body: str) -> str:
    return f"cell C() {{\n input x: [b, f]\n state s: [b, f] = 0\n {body}\n output s'\n}}\n" + (
        "model M {\n input xs: [b, t, 3]\n output scan(C())(xs, axis: 1)\n}\n"
    )


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ("for i in 0..3 {\n param W: [4, 4] = 1\n x = x @ W\n }", ["W.0", "W.1", "W.2"]),
        (
            "for i in 0..2 {\n for j in 5..7 {\n param W: [4, 4] = 1\n x = x @ W\n }\n }",
            ["W.0.0", "W.0.1", "W.1.0", "W.1.1"],
        ),
        ("for i in 0..2 {\n buffer n: [4] = 0\n n' = n + 1\n x = x + n\n }", ["n.0", "n.1"]),
        ("for i in 0..1 {\n param W: [4, 4] = 1\n x = x @ W\n }", ["W.0"]),
    ],
)
def test_a_parameter_of_a_loop_has_a_number(body: str, paths: list[str]) -> None:
    made = graph(f"input x: [b, 4]\n{body}\noutput y = x")
    assert [op.path for op in stored_operators(made)] == paths
    layer = graph(
        f"layer L() {{\ninput x: [b, 4]\n{body}\noutput x\n}}\nmodel M {{\ninput x: [b, 4]\noutput y = L()(x)\n}}"
    )
    assert [op.path for op in stored_operators(layer)] == [f"l.{path}" for path in paths]


def test_the_parameters_of_a_loop_are_drawn_each_by_itself() -> None:
    made = graph("input x: [b, 4]\nfor i in 0..2 {\n param W: [4, 4] ~ glorot_uniform()\n x = x @ W\n}\noutput y = x")
    weights = initialize(made)
    x = np.eye(4, dtype=np.float32)
    assert not np.array_equal(weights["W.0"], weights["W.1"])
    assert np.allclose(run(made, {"x": x}, weights)["y"], weights["W.0"] @ weights["W.1"], atol=1e-6)


def test_a_buffer_of_a_loop_keeps_its_own_value() -> None:
    made = graph("input x: [b, 4]\nfor i in 0..2 {\n buffer n: [4] = 0\n n' = n + i + 1\n x = x + n\n}\noutput y = x")
    results = run(made, {"x": np.zeros((1, 4), np.float32)}, initialize(made))
    assert results["n.0"].tolist() == [1] * 4 and results["n.1"].tolist() == [2] * 4


def test_a_parameter_may_stand_in_either_branch() -> None:
    made = graph("input x: [b, 4]\nif 1 > 0 { param W: [4] = 1 } else { param W: [4] = 2 }\noutput x * W")
    assert [node.op.path for node in made if isinstance(node.op, Parameter)] == ["W"]


TWICE = {
    "two equations": (cell("s' = s + x\n s' = s + 2 * x"), "E202 `s'` has two equations"),
    "an equation in a loop": (cell("for i in 0..2 { s' = s + x }"), "E202 `s'` has two equations"),
    "one after a branch": (cell("if 1 > 0 { s' = s + x }\n s' = s"), "E202 `s'` has two equations"),
    "a buffer": (
        "input x: [b, 4]\nbuffer n: [4] = 0\nn' = n + 1\nn' = n + 2\noutput x + n",
        "E202 `n'` has two equations",
    ),
    "an optimizer": (
        "optimizer o(lr) {\n param' = param - lr * grad\n param' = param\n}",
        "E202 `param'` has two equations",
    ),
    "two parameters in a round": (
        "input x: [b, 4]\nfor i in 0..2 {\n param W: [4] = 1\n param W: [4] = 1\n x = x * W\n}\noutput y = x",
        "E202 `W` is declared twice in model M",
    ),
    "two loops": (
        "input x: [b, 4]\nfor i in 0..2 { param W: [4] = 1 }\nfor i in 0..2 { param W: [4] = 1 }\noutput y = x * W",
        "E202 `W` is declared twice in model M",
    ),
    "an input in a loop": (
        "for i in 0..2 { input x: [b, 4] }\noutput y = x",
        "E202 `x` is declared twice in model M",
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_what_would_be_the_last_of_two_is_refused(name: str) -> None:
    text, message = TWICE[name]
    assert mistakes(text) == [message]


def test_each_branch_may_state_the_next_value() -> None:
    graph(cell("if 1 > 0 { s' = s + x } else { s' = s }"))
