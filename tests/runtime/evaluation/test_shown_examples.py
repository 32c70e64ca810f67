"""Examples as a person looks at them."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.charts.page import Pictures, Table
from runtime.data.examples import Examples
from runtime.data.fitted import Stage
from runtime.evaluation.shown_examples import picture_of, shown_examples

_PIXELS = np.random.default_rng(0).random((3, 16)).astype(np.float32)
PICTURES = {
    "grey": (_PIXELS.reshape(3, 1, 4, 4), "images", (1, 4, 4)),
    "colour": (np.zeros((3, 3, 5, 4), np.float32), "images", (3, 5, 4)),
    "rows of digits": (_PIXELS, "digits", (1, 4, 4)),
    "bytes": ((_PIXELS * 255).reshape(3, 1, 4, 4), "npz", (1, 4, 4)),
    "rows of a table": (_PIXELS, "csv", None),
    "two channels": (np.zeros((3, 2, 4, 4), np.float32), "npz", None),
    "digits that are no square": (np.zeros((3, 15), np.float32), "digits", None),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures(case: str) -> None:
    array, source, shape = PICTURES[case]
    data = Examples({"x": array}, ("x",), stages=(Stage(source),))
    picture = picture_of(data, 1)
    if shape is None:
        assert picture is None
    else:
        assert picture is not None and picture.shape == shape
        assert picture.min() >= 0 and picture.max() <= 1
        (part,) = shown_examples(data, [0, 1], ["a", "b"], {})
        assert isinstance(part, Pictures) and [each.caption for each in part.pictures] == ["a", "b"]


def test_pictures_have_the_names_of_their_files() -> None:
    array = _PIXELS.reshape(3, 1, 4, 4)
    data = Examples({"x": array}, ("x",), stages=(Stage("images"),), files=("a/1.png", "a/2.png", "b/1.png"))
    (part,) = shown_examples(data, [2], ["b, taken for a"], {})
    assert isinstance(part, Pictures)
    assert (part.pictures[0].description, part.pictures[0].caption) == (
        "b/1.png: b, taken for a",
        "b, taken for a: 1.png",
    )
    (part,) = shown_examples(Examples({"x": array}, ("x",), stages=(Stage("images"),)), [2], ["b"], {})
    assert isinstance(part, Pictures) and part.pictures[0].description == "example 3: b"


def test_rows_have_their_columns_before_they_were_scaled_and_their_lines() -> None:
    data = Examples(
        {"x": np.zeros((2, 2), np.float32), "k": np.array([1, 0])},
        ("x", "k"),
        columns={"x": ("width", "height"), "k": ("town",)},
        classes={"town": ("Bonn", "Köln")},
        lines=np.array([7, 9]),
        raw={"x": np.array([[1500.0, 2.5], [3.0, 4.0]])},
    )
    (table,) = shown_examples(data, [0, 1], ["", ""], {"error": ["1", "2"]})
    assert isinstance(table, Table)
    assert table.header == ["example", "error", "width", "height", "town"]
    assert table.rows == [["line 7", "1", "1,500", "2.5", "Köln"], ["line 9", "2", "3", "4", "Bonn"]]


def test_texts_stand_as_they_are() -> None:
    data = Examples({"x": np.zeros((2, 2), np.int64)}, ("x",), texts=[("good",), ("a" * 400, "b")])
    (table,) = shown_examples(data, [0, 1], ["", ""], {})
    assert isinstance(table, Table) and table.header == ["example", "text"]
    assert table.rows[0] == ["1", "good"] and len(table.rows[1][1]) == 301
