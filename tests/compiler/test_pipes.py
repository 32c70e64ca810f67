"""Where the value of a pipe goes: first among the arguments, or wherever `_` stands."""

from __future__ import annotations

import pytest

from compiler.dump import dump
from compiler.operators.leaves import Parameter
from tests.compiler.texts import graph, mistakes

INPUTS = "input x: [b, 4]\ninput y: [b, 4]\noutput z = "


@pytest.mark.parametrize(
    ("piped", "plain"),
    [
        ("x -> maximum(_ * 2, _)", "maximum(x * 2, x)"),
        ("x -> where(x > 0, _ * 2, 0.0)", "where(x > 0, x * 2, 0.0)"),
        ("x -> concat([_, y], axis: -1)", "concat([x, y], axis: -1)"),
        ("x -> mul(y -> maximum(_, 0))", "x * maximum(y, 0)"),
        ("x -> where(x > 0, _ -> mul(2), 0.0)", "where(x > 0, x * 2, 0.0)"),
        ("x -> Dense(size(_, -1))", "Dense(4)(x)"),
    ],
)
def test_an_underscore_anywhere_among_the_arguments_is_the_piped_value(piped: str, plain: str) -> None:
    assert dump(graph(INPUTS + piped)) == dump(graph(INPUTS + plain))


@pytest.mark.parametrize("piped", ["x -> maximum(_ * 2)", "x -> concat([y -> mul(_, 2), y], axis: -1)"])
def test_what_an_underscore_places_is_not_first_as_well(piped: str) -> None:
    assert mistakes(INPUTS + piped)


@pytest.mark.parametrize("piped", ["x -> Dense(2) if true else x -> Dense(3)", "x if true else y -> Dense(3)"])
def test_a_conditional_before_an_arrow_needs_parentheses(piped: str) -> None:
    said = "E424 ambiguous `->`: it may continue the whole conditional or only its last branch"
    assert mistakes(INPUTS + piped) == [said]


@pytest.mark.parametrize(("condition", "units"), [("true", 2), ("false", 3)])
def test_only_the_chosen_pipe_of_a_conditional_is_built(condition: str, units: int) -> None:
    chosen = graph(f"{INPUTS}(x -> Dense(2)) if {condition} else (x -> Dense(3))")
    shapes = [node.op.type.shape for node in chosen if isinstance(node.op, Parameter)]
    assert sorted(shapes) == [(units,), (4, units)]
