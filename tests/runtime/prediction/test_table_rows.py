"""Predictions for the rows of tables: columns by their names, and what stands beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.prediction import predictor as predictor_module
from runtime.prediction.findings import Findings
from runtime.prediction.prediction import Request, predict
from runtime.prediction.predictor import Predictor
from tests.runtime.prediction.predictors import floats, of_rows

Array = Any


def weighed(feeds: dict[str, Array]) -> dict[str, Array]:
    """100 a + b: of columns in another order it would be another number."""
    x = feeds["x"]
    return {"y": x[:, :1] * np.float32(100) + x[:, 1:2]}


def results(
    predictor: Predictor, inputs: Any, findings: Findings | None = None, **request: Any
) -> dict[str, list[Any]]:
    """All columns of the results."""
    parts = list(predict(predictor, inputs, Request(**request), findings or Findings()))
    return {name: [value for part in parts for value in list(part[name])] for name in parts[0]}


@given(st.permutations(["a", "b", "id", "t"]))
def test_the_order_of_columns_changes_nothing(names: list[str]) -> None:
    table = {"a": [1.5, 2.0], "b": [0.25, -1.0], "id": ["x", "y"], "t": [7.0, 8.0]}
    predictions = results(of_rows(weighed), {name: table[name] for name in names})
    assert predictions["predicted_t"] == [150.25, 199.0]
    assert list(predictions) == [*(name for name in names if name in ("id", "t")), "predicted_t"]


# What is kept, and the columns of the results
KEPT: dict[Any, list[str]] = {
    "other": ["id", "t", "predicted_t"],
    "all": ["id", "b", "a", "t", "predicted_t"],
    "none": ["predicted_t"],
}


@pytest.mark.parametrize("keep", KEPT)
def test_what_stands_beside_the_predictions(keep: Any) -> None:
    table = {"id": ["x"], "b": [0.25], "a": [1.5], "t": [7.0]}
    predictions = results(of_rows(weighed), table, keep=keep)
    assert list(predictions) == KEPT[keep] and predictions["predicted_t"] == [150.25]


def test_targets_need_not_be_there() -> None:
    assert results(of_rows(weighed), {"b": [0.25], "a": [1.5]}) == {"predicted_t": [150.25]}


def test_a_column_called_as_a_prediction_makes_way() -> None:
    findings = Findings()
    predictions = results(of_rows(weighed), {"a": [1.0], "b": [2.0], "predicted_t": ["old"]}, findings)
    assert predictions == {"predicted_t": [102.0]}
    assert findings.lines() == [
        "note: column `predicted_t` of the table is replaced by the prediction of this name: the table"
    ]


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_rows_are_fed_some_at_a_time(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(feeds: dict[str, Array]) -> dict[str, Array]:
        sizes.append(len(feeds["x"]))
        return weighed(feeds)

    monkeypatch.setattr(predictor_module, "_MOST_AT_ONCE", most)
    table = {"a": list(range(7)), "b": [0.0] * 7, "n": list(range(7))}
    predictions = results(of_rows(counted), table)
    assert predictions["predicted_t"] == [100.0 * row for row in range(7)] and predictions["n"] == list(range(7))
    assert max(sizes) <= most and sum(sizes) == 7


def test_results_come_before_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "_MOST_AT_ONCE", 2)
    (tmp_path / "t.csv").write_text("a,b\n1,0\n2,0\n3,0\nbroken,0\n")
    parts = predict(of_rows(weighed), [str(tmp_path / "t.csv")], Request(), Findings())
    assert next(parts)["predicted_t"].tolist() == [100.0, 200.0]
    with pytest.raises(NablacError, match="`broken` is not a number"):
        next(parts)


COLOURS = {"colour": ("blue", "green", "red"), "t": ("no", "yes")}


def by_colour(feeds: dict[str, Array]) -> dict[str, Array]:
    """Yes for what is red."""
    red = feeds["colour"] == 2
    return {"y": np.stack([~red, red], axis=1).astype(np.float32)}


def of_colours() -> Predictor:
    types = {"x": floats(1), "colour": TensorType(DType.I64, floats().shape)}
    columns = {"x": ("a",), "colour": ("colour",)}
    return of_rows(by_colour, kind="probabilities", classes=COLOURS, types=types, columns=columns)


def test_classes_are_those_of_the_training_and_have_their_names() -> None:
    predictions = results(of_colours(), {"colour": [" red", "blue"], "a": [1, 2]})
    assert predictions == {"predicted_t": ["yes", "no"], "probability_no": [0, 1], "probability_yes": [1, 0]}


# A table, and what is said of it
REFUSED: dict[str, tuple[dict[str, list[Any]], str]] = {
    "a missing column": (
        {"colour": ["red"], "b": [1]},
        "E822 the table: the table has no column `a`",
    ),
    "a text for a number": (
        {"colour": ["red", "red"], "a": [1, "tall"]},
        "E821 the table:2: column `a`: `tall` is not a number",
    ),
    "texts alone for numbers": (
        {"colour": ["red"], "a": ["tall"]},
        "E821 the table:1: column `a`: `tall` is not a number",
    ),
    "an unknown class": (
        {"colour": ["pink"], "a": [1]},
        "E821 the table:1: column `colour`: `pink` is none of the classes blue, green, red",
    ),
    "an empty cell": ({"colour": ["red"], "a": [None]}, "E821 the table:1: column `a`: the cell is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_does_not_fit_is_refused_by_name_and_row(case: str) -> None:
    table, expected = REFUSED[case]
    with pytest.raises(NablacError) as caught:
        results(of_colours(), table)
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code} {diagnostic.place}: {diagnostic.message}" == expected


def test_a_misnamed_column_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("heigth,width\n1,2\n")
    with pytest.raises(NablacError) as caught:
        results(of_rows(weighed, inputs=("height", "width")), [str(tmp_path / "t.csv")])
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message.endswith("t.csv has no column `height`") and diagnostic.hint == "did you mean `heigth`?"


def test_a_column_that_the_model_reads_is_not_the_misnamed_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("petal_length,length\n1,2\n")
    with pytest.raises(NablacError) as caught:
        results(of_rows(weighed, inputs=("petal_length", "petal_width")), [str(tmp_path / "t.csv")])
    assert caught.value.diagnostics[0].hint == "the columns are petal_length, length"


def test_broken_rows_are_skipped_where_that_is_asked() -> None:
    findings = Findings(skip_broken=True)
    table = {"colour": ["red", "pink", "red"], "a": [1, 2, "x"], "id": [7, 8, 9]}
    assert results(of_colours(), table, findings)["id"] == [7]
    assert findings.skipped == 2
    with pytest.raises(NablacError) as caught:
        results(of_colours(), {"colour": ["pink"], "a": [1]}, Findings(skip_broken=True))
    assert caught.value.diagnostics[0].message == "no row is left to predict for: every one is broken"


def test_a_csv_is_read_as_the_training_read_its_own(tmp_path: Path) -> None:
    predictor = of_rows(weighed)
    stages = predictor.recipe.fitted.stages
    stages[0].arguments.update(separator=";", decimal=",")
    (tmp_path / "german.csv").write_text("a;b\n1,5;0,25\n")
    (tmp_path / "plain.csv").write_text("a,b\n1.5,0.25\n")
    try:
        assert results(predictor, [str(tmp_path / "german.csv")])["predicted_t"] == [150.25]
        predictions = results(predictor, [str(tmp_path / "plain.csv")], separator=",", decimal=".")
        assert predictions["predicted_t"] == [150.25]
    finally:
        stages[0].arguments.update(separator=",", decimal=".")


def test_several_tables_follow_one_another(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b,id\n1,0,x\n")
    (tmp_path / "2.csv").write_text("id,b,a\ny,0,2\n")
    predictions = results(
        of_rows(weighed),
        [str(tmp_path / "1.csv"), str(tmp_path / "2.csv")],
    )
    assert predictions["predicted_t"] == [100, 200] and predictions["id"] == ["x", "y"]
    assert predictions["file"] == [str(tmp_path / "1.csv"), str(tmp_path / "2.csv")]


def test_arrays_are_taken_by_the_names_of_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([[1, 2], [3, 4]]), id=np.array([7, 8]), other=np.zeros((2, 9)))
    np.save(tmp_path / "x.npy", np.array([[1, 2], [3, 4]], np.float64))
    assert results(of_rows(weighed), [str(tmp_path / "x.npz")]) == {"id": [7, 8], "predicted_t": [102, 304]}
    assert results(of_rows(weighed), [str(tmp_path / "x.npy")]) == {"row": [1, 2], "predicted_t": [102, 304]}
    np.savez(tmp_path / "z.npz", a=np.zeros((2, 3)), b=np.zeros((2, 5)))
    with pytest.raises(NablacError) as caught:
        results(of_rows(weighed), [str(tmp_path / "z.npz")])
    assert caught.value.diagnostics[0].code == "E801"


def test_there_has_to_be_an_input() -> None:
    with pytest.raises(NablacError) as caught:
        results(of_rows(weighed), [])
    assert caught.value.diagnostics[0].message == "there is no input"
