"""A study's page shows its trials as they are, whatever state the study is in."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from runtime.search.study_page import study_page
from runtime.search.trial_rows import StudyFacts, TrialRow, best_row, best_so_far
from tests.runtime.charts.test_page import Reader

FACTS = StudyFacts("Forecaster", "tpe", "val_loss", trials=6, logarithmic=frozenset({"lr"}), baseline=0.5, seed=3)
ROWS = [
    TrialRow(0, "done", {"cell": "LSTM", "units": 16, "lr": 1e-3, "bias": True}, 0.6, 10, 1.5),
    TrialRow(1, "pruned", {"cell": "GRU", "units": 32, "lr": 1e-1, "dropout": 0.1, "bias": False}, 0.9, 2, 0.5),
    TrialRow(2, "done", {"cell": "GRU", "units": 64, "lr": 1e-2, "dropout": 0.2, "bias": True}, 0.25, 10, 2.5),
    TrialRow(3, "failed", {"cell": "LSTM", "units": 128, "lr": 1.0, "bias": True}, None, 1, 0.1, "the loss is NaN"),
    TrialRow(4, "done", {"cell": "LSTM", "units": 8, "lr": 1e-2, "bias": False}, 0.4, 10, 1.0),
    TrialRow(5, "running", {"cell": "LSTM", "units": 9, "lr": 1e-2, "bias": True}),
]
SECTIONS = ["Result", "Best so far", "What mattered", "All trials at once", "Trials"]
IMPORTANCES = {"lr": 0.6, "units": 0.3, "cell": 0.1}


def shown(facts: StudyFacts, rows: list[TrialRow], importances: dict[str, float]) -> Reader:
    reader = Reader(study_page(facts, rows, importances))
    assert reader.unclosed == []
    return reader


def table(reader: Reader, number: int) -> list[list[str]]:
    """The cells of the page's table of this number."""
    rows: list[list[str]] = []
    tables = -1
    for tag, _, texts in reader.elements:
        tables += tag == "table"
        if tables == number and tag == "tr":
            rows.append([])
        if tables == number and tag in ("th", "td"):
            rows[-1].append("".join(texts))
    return rows


def test_the_best_trial_stands_first_with_its_values() -> None:
    reader = shown(FACTS, ROWS, IMPORTANCES)
    facts = [text for _, text in reader.of("dd")]
    assert facts == [
        "0.25", "trial 2", "0.5", "the best is 50.0% lower", "3", "1 pruned, 1 failed, 1 running", "5.6 s", "33 epochs",
    ]  # fmt: skip
    best = [["cell", "GRU"], ["units", "64"], ["lr", "0.01"], ["dropout", "0.2"], ["bias", "true"]]
    assert table(reader, 0) == [["variable", "best value"], *best]


def test_every_trial_has_a_row_with_what_it_reached() -> None:
    head, *rows = table(shown(FACTS, ROWS, IMPORTANCES), 1)
    assert head == ["trial", "state", "cell", "units", "lr", "bias", "dropout", "val_loss", "epochs", "time", "note"]
    assert rows[0] == ["0", "done", "LSTM", "16", "0.001", "true", "", "0.6", "10", "1.5 s", ""]
    assert rows[3] == ["3", "failed", "LSTM", "128", "1", "true", "", "", "1", "0.1 s", "the loss is NaN"]
    assert rows[5][1:3] == ["running", "LSTM"] and len(rows) == 6


def test_charts_are_of_the_progress_the_importances_and_all_trials() -> None:
    reader = shown(FACTS, ROWS, IMPORTANCES)
    titles = [text for _, text in reader.of("title")]
    charts = ["val_loss by trial", "Importance of variables", "val_loss by lr", "val_loss by units"]
    assert [title for title in titles if title in (*charts, "Trials by their values")] == [
        *charts, "Trials by their values",
    ]  # fmt: skip
    assert titles.count("trial 2: 0.25; cell GRU, units 64, lr 0.01, dropout 0.2, bias true") == 4
    assert {"lr: 60%", "units: 30%", "cell: 10%"} <= set(titles)


def test_whole_numbers_have_a_tick_each_if_they_are_few() -> None:
    rows = [replace(row, values={"batch": row.values["units"], "rate": 0.03 * row.number}) for row in ROWS]
    text = study_page(FACTS, rows, {"batch": 0.5, "rate": 0.5})
    batch, rate = (text.split(f">val_loss by {name}<")[-1].split("</svg>")[0] for name in ("batch", "rate"))
    assert all(f">{size}<" in batch for size in (8, 16, 64))
    assert ">0.02<" in rate


@pytest.mark.parametrize(
    ("rows", "sections"),
    [
        ([], ["Result", "Trials"]),
        ([ROWS[5]], ["Result", "Trials"]),
        ([ROWS[3]], ["Result", "Trials"]),
        ([ROWS[1]], SECTIONS),
        ([ROWS[0]], SECTIONS),
        ([replace(ROWS[0], objective=math.nan)], SECTIONS),
    ],
    ids=["none", "running", "failed", "pruned", "one", "not finite"],
)  # fmt: skip
def test_a_study_has_a_page_from_its_first_moment(rows: list[TrialRow], sections: list[str]) -> None:
    reader = shown(FACTS, rows, {})
    assert [text for _, text in reader.of("h2")] == sections
    assert ("No trial is done yet." in [text for _, text in reader.of("p")]) is (rows != [ROWS[0]])


def test_many_variables_leave_the_least_important_out_of_the_picture_of_all_trials() -> None:
    names = [f"v{number}" for number in range(15)]
    rows = [TrialRow(number, "done", dict.fromkeys(names, number), number / 7) for number in range(5)]
    text = study_page(FACTS, rows, {name: number / 105 for number, name in enumerate(names)})
    assert "the 9 most important of 15 variables" in text


def test_texts_of_trials_are_texts() -> None:
    row = TrialRow(0, "failed", {"<b>": "<script>"}, None, None, None, "</td><script>alert(1)</script>")
    reader = shown(replace(FACTS, model="<i>"), [row, replace(row, number=1, state="done", objective=1.0)], {})
    assert reader.of("script") == [] and reader.of("b") == [] and reader.of("i") == []


@pytest.mark.parametrize(("higher", "best", "pairs"), [
    (False, 2, [(0, 0.6), (2, 0.25), (4, 0.25)]),
    (True, 0, [(0, 0.6), (2, 0.6), (4, 0.6)]),
])  # fmt: skip
def test_the_best_is_of_trials_that_are_done(higher: bool, best: int, pairs: list[tuple[int, float]]) -> None:
    row = best_row(reversed(ROWS), higher)
    assert row is not None and row.number == best
    assert best_so_far(reversed(ROWS), higher) == pairs


def test_of_equal_trials_the_earlier_is_the_best() -> None:
    rows = [TrialRow(number, "done", {}, 0.5) for number in (4, 2, 3)]
    row = best_row([TrialRow(1, "done", {}, math.nan), *rows], False)
    assert row is not None and row.number == 2
    assert best_row([], False) is None
