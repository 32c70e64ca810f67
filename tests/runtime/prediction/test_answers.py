"""Outputs as columns: values by their columns' names, classes by name with probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.output_meanings import Meaning
from grammar.diagnostics import NablacError
from runtime.data.fitted import Fitted
from runtime.data.recipe import Recipe
from runtime.prediction.answers import Answers, probabilities_of

Array = Any


def recipe(classes: tuple[str, ...] = (), columns: tuple[str, ...] = ("kind",), **outputs: Any) -> Recipe:
    """A recipe of one target `t`, of which outputs say something."""
    fitted = Fitted(classes={columns[0]: classes} if classes else {}, targets={"t": columns})
    return Recipe(fitted, {name: Meaning(kind, "t") for name, kind in outputs.items()})


# exp(1) / (exp(1) + exp(2) + exp(3)) and so on, by hand
SOFTMAX = [0.09003057317038046, 0.24472847105479764, 0.6652409557748218]
SCORES: dict[str, tuple[list[float], list[float]]] = {
    "logits": ([1.0, 2.0, 3.0], SOFTMAX),
    "probabilities": (SOFTMAX, SOFTMAX),
    "log_probabilities": (list(np.log(SOFTMAX)), SOFTMAX),
    "binary_logits": ([0.0, -1.0, 800.0], [0.5, 0.2689414213699951, 1.0]),
    "binary_probabilities": ([0.5, 0.25, 0.0], [0.5, 0.25, 0.0]),
}


@pytest.mark.parametrize("kind", SCORES)
def test_scores_become_probabilities(kind: Any) -> None:
    scores, expected = SCORES[kind]
    np.testing.assert_allclose(probabilities_of(kind, np.array([scores])), [expected], rtol=1e-14)
    assert probabilities_of(kind, np.array([scores], np.float32)).dtype == np.float32


def test_large_logits_do_not_overflow() -> None:
    probabilities = probabilities_of("logits", np.array([[1e4, 0.0], [-1e4, -1e4]], np.float32))
    np.testing.assert_array_equal(probabilities, [[1, 0], [0.5, 0.5]])


@pytest.mark.parametrize("kind", ["logits", "log_probabilities", "probabilities"])
def test_a_class_has_its_name_and_every_class_its_probability(kind: str) -> None:
    scores = np.array([SCORES[kind][0], SCORES[kind][0][::-1]], np.float32)
    columns = Answers(recipe(("a", "b", "c"), y=kind)).columns({"y": scores}, 2)
    assert list(columns) == ["predicted_kind", "probability_a", "probability_b", "probability_c"]
    assert columns["predicted_kind"].tolist() == ["c", "a"]
    np.testing.assert_allclose(columns["probability_b"], [SOFTMAX[1]] * 2, rtol=1e-6)


def test_classes_without_names_are_numbers() -> None:
    columns = Answers(recipe(y="logits")).columns({"y": np.array([[0, 5], [5, 0]], np.float32)}, 2)
    assert columns["predicted_kind"].tolist() == [1, 0]
    assert list(columns) == ["predicted_kind", "probability_0", "probability_1"]


def test_of_several_outputs_the_one_that_says_the_most_counts() -> None:
    predictions = recipe(("a", "b"), best="class", y="logits", p="probabilities")
    outputs = {"best": np.array([1]), "y": np.zeros((1, 2), np.float32), "p": np.array([[0.75, 0.25]], np.float32)}
    columns = Answers(predictions).columns(outputs, 1)
    assert {name: column.tolist() for name, column in columns.items()} == {
        "predicted_kind": ["a"],
        "probability_a": [0.75],
        "probability_b": [0.25],
    }
    only = Answers(recipe(("a", "b"), best="class")).columns({"best": np.array([1, 0])}, 2)
    assert {name: column.tolist() for name, column in only.items()} == {"predicted_kind": ["b", "a"]}


def test_a_yes_has_its_probability() -> None:
    predictions = recipe((), ("rain", "wind"), y="binary_logits")
    columns = Answers(predictions).columns({"y": np.array([[2.0, -2.0]], np.float32)}, 1)
    assert columns["predicted_rain"].tolist() == [1] and columns["predicted_wind"].tolist() == [0]
    np.testing.assert_allclose(columns["probability_wind"], [0.11920292], rtol=1e-6)


# The shape of an output of two rows, the columns of its target, and what its columns are called
NAMES: dict[str, tuple[tuple[int, ...], tuple[str, ...], list[str]]] = {
    "a number": ((2,), ("price",), ["predicted_price"]),
    "a column": ((2, 1), ("price",), ["predicted_price"]),
    "columns": ((2, 2), ("low", "high"), ["predicted_low", "predicted_high"]),
    "a number of no column": ((2, 1), (), ["predicted_t"]),
    "more than the columns": ((2, 3), ("price",), ["predicted_price_0", "predicted_price_1", "predicted_price_2"]),
    "a number for each class": ((2, 2), ("kind",), ["predicted_kind_ash", "predicted_kind_elm"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_values_are_called_as_their_columns(case: str) -> None:
    shape, target, names = NAMES[case]
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    fitted = Fitted(targets={"t": target} if target else {}, classes={"kind": ("ash", "elm")})
    predictions = Recipe(fitted, {"y": Meaning("value", "t")})
    columns = Answers(predictions).columns({"y": array}, 2)
    assert list(columns) == names
    np.testing.assert_array_equal(np.stack(list(columns.values()), axis=1), array.reshape(2, -1))


def test_rows_of_a_horizon_follow_one_another() -> None:
    predictions = Recipe(Fitted(targets={"t": ("u", "v")}), {"y": Meaning("value", "t")})
    output = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    for shape in ((2, 3, 2), (2, 6)):
        columns = Answers(predictions, horizon=3).columns({"y": output.reshape(shape)}, 2)
        assert columns["predicted_v"].tolist() == [1, 3, 5, 7, 9, 11]


def test_what_says_nothing_of_a_target_is_left_out_unless_it_is_asked_for() -> None:
    outputs = {"y": np.zeros((2, 1), np.float32), "hidden": np.ones((2, 2), np.float32), "one": np.float32(3)}
    predictions = recipe((), ("price",), y="value")
    assert list(Answers(predictions).columns(outputs, 2)) == ["predicted_price"]
    assert list(Answers(predictions, ["hidden"]).columns(outputs, 2)) == ["predicted_price", "hidden_0", "hidden_1"]
    assert list(Answers(Recipe()).columns(outputs, 2)) == ["y", "hidden_0", "hidden_1"]
    with pytest.raises(NablacError) as caught:
        Answers(predictions, ["hiden"]).columns(outputs, 2)
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].hint) == ("E802", "did you mean `hidden`?")


def test_an_output_without_rows_is_refused_where_it_is_asked_for_or_alone() -> None:
    for answers, outputs in (
        (Answers(Recipe(), ["one"]), {"y": np.zeros((2, 1)), "one": np.zeros(3)}),
        (Answers(Recipe()), {"one": np.zeros(3), "two": np.array(1.0)}),
        (Answers(Recipe(), horizon=3), {"y": np.zeros((2, 4))}),
    ):
        with pytest.raises(NablacError) as caught:
            answers.columns(outputs, 2)
        assert caught.value.diagnostics[0].code == "E881"


def test_two_targets_of_classes_tell_their_probabilities_apart() -> None:
    fitted = Fitted(classes={"a": ("x", "y")}, targets={"s": ("a",), "t": ("b",)})
    predictions = Recipe(fitted, {"u": Meaning("logits", "s"), "v": Meaning("logits", "t")})
    columns = Answers(predictions).columns({"u": np.eye(2, dtype=np.float32), "v": np.eye(2, dtype=np.float32)}, 2)
    assert list(columns) == [
        "predicted_a",
        "probability_a_x",
        "probability_a_y",
        "predicted_b",
        "probability_b_0",
        "probability_b_1",
    ]
