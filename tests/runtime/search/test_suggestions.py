"""From the variables of a text to parameters: labels of options, the values of a grid."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna")

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from compiler.search import Options
from grammar.source import Source
from runtime.search.suggestions import all_variables, combinations, default_values, labels_of


def source(hypers: str, body: str = "x -> Dense(4)") -> TextSource:
    text = f"model M({hypers}) {{\n    input x: [batch, 3]\n    output {body}\n}}\n"
    return TextSource(program_of(Source("m.model", text)))


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (("relu", "tanh"), ["relu", "tanh"]),
        (("1", "1", "1"), ["1", "1 (2)", "1 (3)"]),
        (("1 (2)", "1", "1"), ["1 (2)", "1", "1 (3)"]),
    ],
)
def test_labels_tell_options_apart(texts: tuple[str, ...], labels: list[str]) -> None:
    assert labels_of(Options(texts)) == labels


@pytest.mark.parametrize(
    ("written", "points", "values"),
    [
        ("1..3", 5, [1, 2, 3]),
        ("1..3", 3, [1, 2, 3]),
        ("1..3", 2, [1, 3]),
        ("16..128", 3, [16, 72, 128]),
        ("16..128", 1, [72]),
        ("0.0..0.5", 3, [0.0, 0.25, 0.5]),
        ("0.0..0.5", 5, [0.0, 0.125, 0.25, 0.375, 0.5]),
        ("log(1e-4..1e-2)", 3, [1e-4, 1e-3, 1e-2]),
        ("log(1..16)", 5, [1, 2, 4, 8, 16]),
        ("log(1..3)", 2, [1, 3]),
        ("choice(3, 1, 2)", 2, ["3", "1", "2"]),
    ],
)
def test_the_values_of_a_variable_in_a_grid(written: str, points: int, values: list[object]) -> None:
    sizes = [combination["size"] for combination in combinations(source(f"size = {written}", "x * size"), points)]
    assert sizes == pytest.approx(values)


def test_a_grid_is_nested_and_conditional() -> None:
    text = (
        "model M(width = 2..3, deep = choice(false, true)) {\n    input x: [batch, 3]\n    x = x -> Dense(width)\n"
        "    if deep { x = x -> Dense(choice(8, 9)) }\n    output x\n}\n"
    )
    grid = list(combinations(TextSource(program_of(Source("m.model", text))), 3))
    (units,) = grid[1].keys() - {"width", "deep"}
    assert grid == [
        values
        for width in (2, 3)
        for values in (
            {"width": width, "deep": "false"},
            {"width": width, "deep": "true", units: "8"},
            {"width": width, "deep": "true", units: "9"},
        )
    ]


def test_what_fails_is_a_combination_too_as_far_as_it_was_met() -> None:
    text = (
        "model M(a = choice(1, 2), b = choice(3, 4)) {\n    input x: [batch, 3]\n"
        '    assert a < 2, "too many"\n    output x * b\n}\n'
    )
    of = TextSource(program_of(Source("m.model", text)))
    grid = list(combinations(of, 3))
    assert [values["a"] for values in grid].count("1") == 2
    assert any(values["a"] == "2" for values in grid)


def test_defaults_are_the_first_options_and_the_middles() -> None:
    of = source("size = 2..8, rate = log(1e-4..1e-2), act = choice(relu, tanh)", "act(x * size * rate)")
    assert default_values(of) == {"size": 5, "rate": (1e-4 * 1e-2) ** 0.5, "act": "relu"}


def test_an_argument_of_a_layer_is_searched() -> None:
    assert default_values(source("size = 4", "x -> Dense(size) -> Dropout(0.0..0.4)")).keys() == {"Dropout.rate"}


@pytest.mark.parametrize(
    ("hypers", "body", "names"),
    [
        (
            "layer = choice(Dense(4), Dense(2..8)), rate = 0.0..0.4",
            "x -> layer -> Dropout(rate)",
            "layer rate Dense.units",
        ),
        ("a = choice(1, choice(2, 3..5))", "x * a", "a a_2 a_3"),
        ("n = choice(1, 2), w = choice(1, 2)", "x -> Dense(n) -> Dense(w if n == 1 else 1..3)", "n w Dense.units"),
        ("n = choice(3, 0), w = 1..2", "x -> Dense(n) -> Dense(w)", "n w"),  # Dense(0) is an error
    ],
)
def test_all_variables_include_those_inside_other_options(hypers: str, body: str, names: str) -> None:
    assert [variable.name for variable in all_variables(source(hypers, body))] == names.split()
