"""What statements bind, and what the application of a definition hands on to its body."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import program_of
from compiler.graph import Graph
from compiler.operators.random import FoldKey
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.numpy_executor import run
from tests.compiler.texts import graph, mistakes

X = np.arange(6, dtype=np.float32).reshape(3, 2)


def outputs(text: str) -> dict[str, np.ndarray]:
    return run(graph(f"input x: [3, 2]\n{text}"), {"x": X})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("output y = x * 2\noutput z = y + 1", {"y": X * 2, "z": X * 2 + 1}),
        ("a, b = [x, x + 1]\noutput a, b", {"a": X, "b": X + 1}),
        ("h = x\nfor i in 0..3 { h = h * 2 + i }\noutput h", {"h": X * 8 + 4}),
        ("for pair in [[1, 2], [3, 4]] { h = x * pair[0] + pair[1] }\noutput h", {"h": X * 3 + 4}),
        ("if rank(x) == 3 { y = x } else { y = -x }\noutput y", {"y": -X}),
        ("a, _ = [x, 1]\noutput x -> reshape([-1])", {"output": X.reshape(-1)}),
        ("x = x + 1\noutput x", {"output": X + 1}),
        ('output y = einsum("i j, k j -> i k", x, x)', {"y": X @ X.T}),
        ('output y = einsum("i j, i j -> i j", x, x)', {"y": X * X}),
        ('output y = einsum("i j, k l -> i j k l", x, x)', {"y": np.multiply.outer(X, X)}),
        ('output y = rearrange(x, "(a 1) (b c) -> b (a c)", c: 1)', {"y": X.T}),
    ],
)
def test_names_stand_for_what_they_are_bound_to(text: str, expected: dict[str, np.ndarray]) -> None:
    found = outputs(text)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a, b = [x]", "E409 2 names on the left, but 1 values on the right"),
        ("a, b = x", "E409 2 names on the left, but a tensor f32[3, 2] on the right"),
        ("y = zeros([-1])", "E307 an axis cannot have size -1"),
        ("y = reshape(x, [-2, 3])", "E307 an axis cannot have size -2"),
        ("for i in x { y = i }", "E508 a loop runs over `a..b` or a list, got a tensor f32[3, 2]"),
        (
            "for i in 0..2.5 { y = i }",
            "E508 the bounds of a loop must be whole numbers known at compile time, got the number 2.5",
        ),
        ("if 1 { y = x }", "E507 a condition must be true or false, got the number 1"),
        ("if x > 0 { y = x }", "E315 a condition must be known when the model is compiled"),
        ('assert rank(x) == 3, "it is {rank(x)}, {nothing}"', "E501 it is 2, {nothing}"),
        ("y = x[3, 0]", "E314 index 3 is out of range: axis 0 of f32[3, 2] has 3 items"),
        ("y = x[..., ...]", "E314 an index has at most one `...`"),
        ("y = x[0, 0, 0]", "E314 f32[3, 2] has 2 axes, but 3 are indexed"),
        ("y = x(1)", "E407 a tensor f32[3, 2] cannot be called"),
        ("y = x -> 1", "E407 the number 1 cannot be called"),
        ("y = _", "E210 `_` stands for the piped value, but nothing is piped here"),
    ],
)
def test_what_a_statement_is_refused_for(text: str, message: str) -> None:
    assert mistakes(f"input x: [3, 2]\n{text}\noutput x") == [message]


def tags(whole: Graph) -> list[int]:
    return [node.op.tag for node in whole if isinstance(node.op, FoldKey)]


def test_a_function_draws_with_the_numbers_of_its_caller() -> None:
    function = "fn noisy(x) { output x + random.normal(like: x) }\n"
    through = graph(function + "model M() {\n    input x: [3, 2]\n    output (x -> noisy) + noisy(x) }\n")
    direct = graph("input x: [3, 2]\na = x + random.normal(like: x)\noutput y = a + x + random.normal(like: x)")
    assert len(set(tags(through))) == 2
    assert sorted(tags(through)) == sorted(tags(direct))


def test_a_draw_inside_of_a_scan_has_the_number_of_its_step() -> None:
    cell = """cell Noisy() {
    input x: [batch, 2]
    state h: [batch, 2] = 0
    h' = h + x + random.normal(like: x)
    output h'
}
model M() {
    input xs: [batch, 4, 2]
    output y = scan(Noisy())(xs, axis: 1)
}
"""
    (y,) = run(graph(cell), {"xs": np.zeros((1, 4, 2), np.float32), "seed": np.array(3)}).values()
    steps = np.diff(y, axis=1, prepend=0)
    assert len(np.unique(steps.round(5))) == 8


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("q -> Dense(2)", "unknown name `q`"),
        ("Dense", "expected a tensor, got the layer Dense"),
        ('"a"', 'expected a tensor, got the text "a"'),
        ("q, x", "unknown name `q`"),
    ],
)
def test_the_name_of_a_wrong_output_is_not_unknown(value: str, message: str) -> None:
    text = f"""model M {{
        input x: [batch, 2]
        output y = {value}
        output z = y + 1
    }}
    train M {{
        target t: [batch, 2]
        loss mse(y, t)
        optimizer adam(lr: 1e-3)
        epochs 1
    }}
    """
    with pytest.raises(NablacError) as caught:
        check(program_of(Source("m.model", text)))
    assert [diagnostic.message for diagnostic in caught.value.diagnostics] == [message]
