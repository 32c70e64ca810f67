"""Categories with an entry for unseen ones: which classes share it, and what later data has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.data.categories import UNSEEN
from runtime.data.examples import fitted_to
from tests.runtime.data.descriptions import load, refused

INPUTS, TARGET = "city: i64[batch], x: f64[batch, 1]", "t: f64[batch, 1]"
COLUMNS = 'columns(inputs: ["city", "x"], targets: "t")'


def write(folder: Path, cities: list[str], name: str = "c.csv") -> None:
    (folder / name).write_text("city,x,t\n" + "".join(f"{city},{row},{row}\n" for row, city in enumerate(cities)))


# How many examples a class needs, and the classes and numbers of: Rome twice, Paris three times, Oslo once
RARE = {
    "": (["", "Paris", "Rome"], [2, 1, 0, 1, 2, 1]),
    ", rare: 1": (["", "Oslo", "Paris", "Rome"], [3, 2, 1, 2, 3, 2]),
    ", rare: 3": (["", "Paris"], [0, 1, 0, 1, 0, 1]),
    ", rare: 4": ([""], [0, 0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("rare", RARE)
def test_rare_classes_share_the_first_entry(tmp_path: Path, rare: str) -> None:
    classes, numbers = RARE[rare]
    write(tmp_path, ["Rome", "Paris", "Oslo", "Paris", " Rome ", "Paris"])
    notes: dict[str, list[str]] = {}
    data = f'csv("c.csv") -> categories("city"{rare}) -> {COLUMNS}'
    examples = load(tmp_path, data, INPUTS, TARGET, notes=notes)
    assert list(examples.classes["city"]) == classes
    assert examples.arrays["city"].tolist() == numbers
    untrained = (
        "every class of `city` in the training rows has at least 1 example, so nothing is learnt about new classes, and"
        " what is predicted for one is by chance (a larger `rare` than 1 learns it from rare classes)"
    )
    constant = "1 column has one value in all examples for training, so nothing is learnt: `city`"
    note = {", rare: 1": untrained, ", rare: 4": constant}.get(rare)
    assert notes == ({note: [f"{tmp_path}/c.csv"]} if note else {})


def test_columns_without_rare_classes_have_one_note(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("city,shop,t\n" + "Rome,1,1\nOslo,2,2\n" * 3)
    notes: dict[str, list[str]] = {}
    data = 'csv("c.csv") -> categories(["city", "shop"]) -> columns(inputs: ["city", "shop"], targets: "t")'
    load(tmp_path, data, "city: i64[batch]; input shop: i64[batch]", TARGET, notes=notes)
    ((note, places),) = notes.items()
    assert note.startswith("every class of `city`, `shop` in the training rows has at least 2 examples, so")
    assert places == [f"{tmp_path}/c.csv"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=8, max_size=30), st.integers(1, 4), st.integers(0, 3))
def test_classes_are_counted_in_the_training_part(tmp_path: Path, cities: list[str], rare: int, seed: int) -> None:
    write(tmp_path, cities)
    data = f'csv("c.csv") -> categories("city", rare: {rare}) -> {COLUMNS}'
    examples = load(tmp_path, data, INPUTS, TARGET, validation=0.3, seed=seed)
    counted = Counter(cities[row] for row in examples.parts["training"])
    kept = sorted(city for city in counted if counted[city] >= rare)
    assert examples.classes["city"] == (UNSEEN, *kept)
    expected = [kept.index(city) + 1 if city in kept else 0 for city in cities]
    assert examples.arrays["city"].tolist() == expected
    assert examples.arrays["x"].ravel().tolist() == list(range(len(cities)))


def test_numbers_may_be_categories(tmp_path: Path) -> None:
    write(tmp_path, ["101", "205", "101", "205", "7"])
    examples = load(tmp_path, f'csv("c.csv") -> categories("city") -> {COLUMNS}', INPUTS, TARGET)
    assert examples.classes["city"] == ("", "101", "205")
    assert examples.arrays["city"].tolist() == [1, 2, 1, 2, 0]


def test_numbers_of_parquet_may_be_categories(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"city": [3, 3, 9, 12], "x": [0.0, 1, 2, 3], "t": [0.0, 1, 2, 3]})
    parquet.write_table(table, tmp_path / "c.parquet")
    data = f'parquet("c.parquet") -> categories("city") -> {COLUMNS}'
    assert load(tmp_path, data, INPUTS, TARGET).arrays["city"].tolist() == [1, 1, 0, 0]


def test_later_data_has_the_entry_for_what_training_has_not_seen(tmp_path: Path) -> None:
    write(tmp_path, ["Rome", "Rome", "Oslo", "Oslo"])
    data = f'csv("c.csv") -> categories("city", rare: 1) -> {COLUMNS}'
    fitted = fitted_to(load(tmp_path, data, INPUTS, TARGET))
    write(tmp_path, ["Ufa", "Oslo", "Rome", "Bern"])
    later = load(tmp_path, data, INPUTS, TARGET, fitted=fitted)
    assert later.arrays["city"].tolist() == [0, 1, 2, 0]
    assert later.classes == {"city": ("", "Oslo", "Rome")}


def test_empty_cells_may_share_the_entry(tmp_path: Path) -> None:
    write(tmp_path, ["Rome", "", "Oslo", " ", "Rome", "Oslo"])
    data = f'csv("c.csv") -> categories("city", rare: 1, empty: true) -> {COLUMNS}'
    notes: dict[str, list[str]] = {}
    first = load(tmp_path, data, INPUTS, TARGET, notes=notes)
    assert first.arrays["city"].tolist() == [2, 0, 1, 0, 2, 1]
    assert first.classes["city"] == ("", "Oslo", "Rome")
    assert notes == {}  # the entry is trained
    write(tmp_path, ["", "Ufa", "Rome"])
    later = load(tmp_path, data, INPUTS, TARGET, fitted=fitted_to(first))
    assert later.arrays["city"].tolist() == [0, 0, 2]


def test_the_error_for_an_empty_cell_names_what_keeps_it(tmp_path: Path) -> None:
    write(tmp_path, ["Rome", "Rome", ""])
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("c.csv") -> categories("city") -> {COLUMNS}', INPUTS, TARGET)
    assert caught.value.diagnostics[0].hint == (
        'train with `categories(columns: "city", empty: true)`, which has an entry for empty ones; `--skip-broken`'
        " skips such rows"
    )


def test_filled_rows_keep_their_classes(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("city,x,t\na,1,1\nb,,2\na,3,\nb,5,4\n")
    data = f'csv("c.csv") -> fill("mean") -> categories("city") -> {COLUMNS}'
    examples = load(tmp_path, data, INPUTS, TARGET)
    assert examples.arrays["x"].ravel().tolist() == [1, 3, 5]
    assert examples.arrays["city"].tolist() == [0, 1, 1]  # `a` is there once beside its row without a target
    assert examples.classes["city"] == ("", "b")


def test_the_numbers_of_the_other_columns_stay(tmp_path: Path) -> None:
    write(tmp_path, ["Rome", "Rome", "Oslo"])
    data = f'csv("c.csv") -> categories("city") -> {COLUMNS} -> standardize(columns: "x")'
    examples = load(tmp_path, data, INPUTS, TARGET)
    np.testing.assert_allclose(examples.arrays["x"].ravel(), np.array([-1, 0, 1]) / np.std([0, 1, 2]))
    assert examples.arrays["t"].ravel().tolist() == [0, 1, 2]


# The stages after the source, and the diagnostic
REFUSED: dict[str, tuple[str, str]] = {
    "a column that is not there": (
        f'categories("town") -> {COLUMNS}',
        "E822 : HERE/c.csv has no column `town`",
    ),
    "a target": (
        'categories("city") -> columns(inputs: "x", targets: "city")',
        "E823 : column `city` is a target, and `categories` is for inputs: rare classes share an entry",
    ),
    "windows": (
        'categories("x") -> window("x", length: 1)',
        "E823 : a window holds numbers, and `categories` of `x` is for `columns(...)`",
    ),
    "a missing class": (f'categories("city") -> {COLUMNS}', "E821 HERE/c.csv:4: column `city`: the cell is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_categories_that_cannot_be_are_refused(tmp_path: Path, case: str) -> None:
    stages, expected = REFUSED[case]
    write(tmp_path, ["a", "b", ""] if "missing" in case else ["a", "b", "a"])
    assert refused(tmp_path, f'csv("c.csv") -> {stages}', inputs=INPUTS, target=TARGET) == expected


def test_without_the_stage_the_error_names_it(tmp_path: Path) -> None:
    write(tmp_path, ["Rome", "Oslo"])
    fitted = fitted_to(load(tmp_path, f'csv("c.csv") -> {COLUMNS}', INPUTS, TARGET))
    write(tmp_path, ["Oslo", "Ufa"])
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f'csv("c.csv") -> {COLUMNS}', INPUTS, TARGET, fitted=fitted)
    (diagnostic,) = caught.value.diagnostics
    assert (str(diagnostic.code), diagnostic.place, diagnostic.message, diagnostic.hint) == (
        "E821",
        f"{tmp_path}/c.csv:3",
        "column `city`: `Ufa` is none of the classes Oslo, Rome",
        'train with `categories(columns: "city")`, which has an entry for unseen ones; `--skip-broken` skips such rows',
    )


def test_a_model_without_a_place_for_the_entry_is_told(tmp_path: Path) -> None:
    write(tmp_path, ["Rome", "Rome", "Oslo", "Oslo"])
    data = f'csv("c.csv") -> categories("city") -> {COLUMNS}'
    with pytest.raises(NablacError) as caught:
        load(tmp_path, data, "city: f32[batch, 1], x: f64[batch, 1]", TARGET)
    message = "column `city` holds texts, 3 classes, as `Rome`, and the model's `city` is f32[batch, 1]"
    assert caught.value.diagnostics[0].message == message
