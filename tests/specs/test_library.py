"""What holds of every text in specs/."""

from __future__ import annotations

import csv
import re
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import load
from grammar.parser import parse
from grammar.source import Source
from grammar.syntax import Const, Definition, ListOf, Name
from tests.paths import SPECS

STD = sorted((SPECS / "std").glob("*.model"))
MODELS = sorted(SPECS.glob("*.model"))
LAYERS_OF_OTHERS = {  # what others of the library are made of
    *(
        "fan_in",
        "fan_out",
        "per_axis",
        "per_channel",
        "window_pads",
        "lowest",
        "attendable",
        "across_heads",
        "alike",
        "error_of",
        "classes_of",
        "logits_of",
        "above_zero",
        "not_negative",
        "proper_fraction",
        "share_done",
        "bias_correction",
        "unit_vectors",
        "safe_sqrt",
        "binary_labels",
        "binary_score",
        "count_positives",
        "count_by_score",
        "repeat_heads",
        "sinusoids",
        "rotate",
        "rotary_frequencies",
    ),
    *("RNNCell", "LSTMCell", "GRUCell", "EncoderLayer", "DecoderLayer", "recurrent_keep"),
}
DECLARED = [each for path in STD for each in parse(Source(path.name, path.read_text())).declarations]


def test_no_two_declarations_of_the_library_share_a_name() -> None:
    names = Counter(each.name.text for each in DECLARED if isinstance(each, Definition))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_layer_cell_and_optimizer_says_what_it_is() -> None:
    mute = [each.name.text for each in DECLARED if isinstance(each, Definition) and each.kind != "fn" and not each.doc]
    assert mute == []


def test_no_definition_of_the_library_lacks_a_case() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    names = [each.name.text for each in DECLARED if isinstance(each, Definition)]
    used = {*re.findall(r"\w+", tests), *LAYERS_OF_OTHERS}
    assert [name for name in names if name not in used] == []


def test_the_library_says_of_each_loss_and_metric_which_is_best() -> None:
    figures = [
        each.name.text
        for path in STD
        if path.stem in ("losses", "metrics")
        for each in parse(Source(path.name, path.read_text())).declarations
        if isinstance(each, Definition) and each.name.text not in LAYERS_OF_OTHERS
    ]
    lists = {each.name.text: each.value for each in DECLARED if isinstance(each, Const)}
    listed = [
        item.text
        for name in ("larger_is_better", "smaller_is_better")
        if isinstance(values := lists[name], ListOf)
        for item in values.items
        if isinstance(item, Name)
    ]
    assert sorted(listed) == sorted(figures)


@pytest.mark.parametrize("path", [*STD, *MODELS], ids=lambda path: path.stem)
def test_a_file_checks_without_a_diagnostic(path: object) -> None:
    check(load(str(path)))


@pytest.mark.parametrize("path", [*STD, *MODELS], ids=lambda path: path.stem)
def test_lines_fit_the_page(path: object) -> None:
    lines = open(str(path), encoding="utf-8").read().splitlines()  # noqa: SIM115
    assert [line for line in lines if len(line) > 120 or line != line.rstrip()] == []


def test_every_file_stands_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"`(\w+)(?:\.model)?`", (SPECS / "README.md").read_text()))
    assert [path.stem for path in (*STD, *MODELS) if path.stem not in listed] == []


def test_the_passengers_are_144_months() -> None:
    with open(SPECS / "data" / "airline-passengers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 144
    assert rows[0] == {"month": "1949-01", "passengers": "112"}
    assert rows[-1] == {"month": "1960-12", "passengers": "432"}


def test_the_digits_are_fifteen_of_each_from_0_to_1() -> None:
    with np.load(SPECS / "data" / "digits.npz") as digits:
        image, label = digits["image"], digits["label"]
    assert (image.shape, image.dtype, label.dtype) == ((150, 1, 28, 28), np.float32, np.int64)
    assert (image.min(), image.max()) == (0, 1)
    assert Counter(label.tolist()) == dict.fromkeys(range(10), 15)


def test_every_data_file_has_its_licence_beside_it() -> None:
    folder = SPECS / "data"
    listed = (folder / "README.md").read_text()
    assert [
        path.name
        for path in chain(folder.glob("*.*"), folder.glob("LICENSE*"))
        if path.name != "README.md" and path.name not in listed
    ] == []
