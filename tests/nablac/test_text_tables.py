"""Tables with columns of texts and categories: training, evaluation and predictions of runs and of compiled models."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.data.fitted import fitted_from_json
from tests.command_line import Ended, invoke

KIND, UNKIND = ["good", "great", "lovely", "warm"], ["bad", "awful", "dull", "cold"]
OTHERS = ["the", "room", "was", "and", "food"]
CITIES = ["Rome"] * 5 + ["Paris"] * 4
MODEL = """
model Reviews(vocabulary = 40, width = 4, cities = 3) {
    input review: i64[batch, T], title: i64[batch, S], city: i64[batch], price: f32[batch, 1]
    embedding = Embedding(vocabulary, width)
    texts = concat([mean(embedding(review), axis: 1), mean(embedding(title), axis: 1)], axis: -1)
    output logits = concat([texts, city -> Embedding(cities, 2), price], axis: -1) -> Dense(2)
}
train Reviews {
    target mood: i64[batch]
    loss cross_entropy(logits, mood)
    metric accuracy(logits, mood)
    optimizer adam(lr: 3e-2)
    epochs 3
    batch 16
    validation 0.2
    data csv("reviews.csv") -> standardize() -> tokens(columns: ["review", "title"], length: 8, most: 40)
            -> categories("city") -> columns(inputs: ["review", "title", "city", "price"], targets: "mood")
}
"""
ROWS = 120
NEW = [
    {"id": "a", "review": "the room was good", "title": "great", "city": "Rome", "price": "3"},
    {"id": "b", "review": "cold", "title": "dull food and awful", "city": "Oslo", "price": "80"},
    {"id": "c", "review": "xyzzy " * 7 + "cold cold cold", "title": "bad", "city": "Paris", "price": "50"},
]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def reviews() -> list[dict[str, str]]:
    """Rows whose mood the words of the review tell; one city is there once."""
    chosen = random.Random(4)
    rows = []
    for number in range(ROWS):
        words = KIND if number % 2 else UNKIND
        review = [*chosen.choices(OTHERS, k=chosen.randint(0, 4)), *chosen.choices(words, k=2)]
        rows.append(
            {
                "id": str(number),
                "review": " ".join(review),
                "title": chosen.choice(words),
                "city": chosen.choice(CITIES),
                "price": str(chosen.randint(1, 99)),
                "mood": "kind" if number % 2 else "unkind",
            }
        )
    rows[7]["city"] = "Ufa"
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the table, a run of its model, and later rows; it is the current one."""
    folder = tmp_path_factory.mktemp("reviews")
    write(folder / "reviews.csv", reviews())
    write(folder / "new.csv", NEW)
    (folder / "reviews.model").write_text(MODEL)
    with chdir(folder):
        done = invoke("train", "reviews.model", "-o", "run", "-q")
        assert done.exit_code == 0, done.stderr
        yield folder


def rows_of(ended: Ended) -> list[dict[str, str]]:
    assert ended.exit_code == 0, ended.stderr
    return list(csv.DictReader(io.StringIO(ended.stdout)))


def numbered(folder: Path) -> tuple[list[str], list[str]]:
    """The words by their numbers from 5, and the cities from 1, counted here in the rows that the run trained on."""
    held = round(ROWS * 0.2)
    order = np.random.default_rng([0, 0x5EED]).permutation(ROWS)[: ROWS - held]
    rows = [reviews()[row] for row in order]
    words = Counter(word for row in rows for name in ("review", "title") for word in row[name].split())
    cities = Counter(row["city"] for row in rows)
    return sorted(words, key=lambda word: (-words[word], word)), sorted(city for city in cities if cities[city] > 1)


def test_predictions_are_those_of_the_tokens_of_each_row(trained: Path) -> None:
    """The model itself, fed with the tokens and numbers of one row at a time, which are counted here."""
    words, cities = numbered(trained)
    model: Any = nablac.load("run")
    predicted = rows_of(invoke("predict", "run", "new.csv"))
    assert [list(row) for row in predicted] == [["id", "predicted_mood", "probability_kind", "probability_unkind"]] * 3
    for row, shown in zip(NEW, predicted, strict=True):
        tokens = {
            name: np.array([[5 + words.index(word) if word in words else 1 for word in row[name].split()][:8]])
            for name in ("review", "title")
        }
        city = np.array([cities.index(row["city"]) + 1 if row["city"] in cities else 0])
        logits = model(**tokens, city=city, price=np.array([[float(row["price"])]], np.float32))["logits"][0]
        odds = np.exp(logits - logits.max())
        np.testing.assert_allclose(float(shown["probability_kind"]), (odds / odds.sum())[0], rtol=1e-5)
        assert shown["predicted_mood"] == ("kind" if logits[0] > logits[1] else "unkind")


def test_the_run_its_onnx_and_python_predict_the_same(trained: Path) -> None:
    by_ort = rows_of(invoke("predict", "run", "new.csv", "--backend", "ort"))
    assert rows_of(invoke("predict", "run/model.onnx", "new.csv")) == by_ort
    assert invoke("compile", "run", "-o", "again.onnx", "-q").exit_code == 0
    assert rows_of(invoke("predict", "again.onnx", "new.csv")) == by_ort
    columns: dict[str, Any] = {name: [row[name] for row in NEW] for name in NEW[0]}
    columns["price"] = [float(price) for price in columns["price"]]
    by_numpy = rows_of(invoke("predict", "run", "new.csv"))
    predictions = nablac.load("run").predict(columns)
    np.testing.assert_allclose(
        predictions["probability_kind"], [float(row["probability_kind"]) for row in by_numpy], rtol=1e-6
    )
    (trained / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in NEW))
    assert [row["predicted_mood"] for row in rows_of(invoke("predict", "run", "new.jsonl"))] == [
        row["predicted_mood"] for row in by_numpy
    ]


def test_a_cut_text_is_told(trained: Path) -> None:
    done = invoke("predict", "run", "new.csv")
    assert "note: `review` is cut after 8 tokens: new.csv:4\n" in done.stderr


# The columns to predict for, and the diagnostic
REFUSED: dict[str, tuple[dict[str, list[Any]], str]] = {
    "no column of texts": (
        {"review": ["good"], "city": ["Rome"], "price": [1]},
        "E822 the table: the table has no column `title`",
    ),
    "a missing text": (
        {"review": ["good", None], "title": ["good", "bad"], "city": ["Rome", "Rome"], "price": [1, 2]},
        "E821 the table:2: column `review`: the text is missing",
    ),
    "NaN among texts": (
        {"review": ["good", float("nan")], "title": ["good", "bad"], "city": ["Rome", "Rome"], "price": [1, 2]},
        "E821 the table:2: column `review`: the text is missing",
    ),
    "no class": (
        {"review": ["good"], "title": ["good"], "city": [""], "price": [1]},
        "E821 the table:1: column `city`: the cell is empty",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_do_not_fit_are_refused(trained: Path, case: str) -> None:
    columns, expected = REFUSED[case]
    with pytest.raises(NablacError) as caught:
        nablac.load("run").predict({name: np.array(cells, object) for name, cells in columns.items()})
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code} {diagnostic.place}: {diagnostic.message}" == expected


def test_run_reads_texts_and_classes_of_the_same_columns(trained: Path) -> None:
    """`run` returns the logits of which `predict` tells the probabilities."""
    predicted = rows_of(invoke("predict", "run", "new.csv"))
    for model in ("run", "run/model.onnx"):
        done = invoke("run", model, "new.csv", "--json")
        assert done.exit_code == 0, done.stderr
        assert "note: new.csv: `review` of 1 row is cut after 8 tokens" in done.stderr
        logits = np.array(json.loads(done.stdout)["logits"])
        odds = np.exp(logits)
        shown = [float(row["probability_kind"]) for row in predicted]
        np.testing.assert_allclose((odds / odds.sum(axis=1, keepdims=True))[:, 0], shown, rtol=1e-4)


def test_other_files_of_validation_are_read_by_the_same_vocabulary(trained: Path) -> None:
    """A longer text, words and a city that training has not seen, in a file of their own."""
    row = {"id": "x", "review": "good xyzzy food was good and", "title": "bad awful", "city": "Ufa", "price": "5"}
    write(trained / "held.csv", [{**row, "mood": "kind"}, {**row, "review": "bad", "title": "bad", "mood": "unkind"}])
    learnt = (("good", "kind"), ("food", "unkind"))
    short = [{**row, "review": word, "title": word, "mood": mood} for word, mood in learnt]
    write(trained / "short.csv", [{**each, "city": "Rome", "id": "y"} for each in short])
    text = MODEL.replace("validation 0.2", 'validation "held.csv"').replace("reviews.csv", "short.csv")
    (trained / "held.model").write_text(text)
    done = invoke("train", "held.model", "-o", "held", "-q", "--epochs", "1")
    assert done.exit_code == 0, done.stderr
    facts = json.loads((trained / "held" / "data.json").read_text())
    assert facts["tokenizers"][0]["tokenizer"]["known"] == ["food", "good"]
    assert facts["classes"]["city"] == ["", "Rome"]
    done = invoke("eval", "held", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["examples"] == 2


def test_a_report_shows_the_texts_and_classes_of_examples(trained: Path) -> None:
    write(
        trained / "few.csv", [{**row, "mood": mood} for row, mood in zip(NEW, ("kind", "kind", "unkind"), strict=True)]
    )
    done = invoke("eval", "run", "--data", "few.csv", "--report", "report", "-q")
    assert done.exit_code == 0, done.stderr
    page = (trained / "report" / "report.html").read_text()
    for cell in ("the room was good", "dull food and awful", "(unseen)", "Paris"):
        assert f"<td>{cell}</td>" in page


def test_a_single_text_is_run_with_the_tokenizer_of_its_column(trained: Path) -> None:
    text = """
model Short { input words: i64[batch, T]; output logits = mean(Embedding(40, 4)(words), axis: 1) -> Dense(2) }
train Short {
    target mood: i64[batch]; loss cross_entropy(logits, mood); epochs 1
    data csv("reviews.csv") -> tokens(columns: "title") -> columns(inputs: "title", targets: "mood")
}
"""
    (trained / "short.model").write_text(text)
    assert invoke("train", "short.model", "-o", "of_titles", "-q").exit_code == 0
    write(trained / "titles.csv", [{"title": "good cold"}, {"title": "warm"}])
    for model in ("of_titles", "of_titles/model.onnx"):
        texts = json.loads(invoke("run", model, "good cold", "warm", "--json").stdout)["logits"]
        table = json.loads(invoke("run", model, "titles.csv", "--json").stdout)["logits"]
        assert texts == table and len(table) == 2


def test_inputs_of_a_fixed_width_are_filled_up_everywhere(trained: Path) -> None:
    text = """
model Wide {
    input review: i64[batch, 8]
    e = Embedding(40, 4)(review)
    output logits = rearrange(e, "b t w -> b (t w)") -> Dense(2)
}
train Wide {
    target mood: i64[batch]; loss cross_entropy(logits, mood); epochs 1; batch 8
    data csv("reviews.csv") -> tokens(columns: "review", length: 8) -> columns(inputs: "review", targets: "mood")
}
"""
    (trained / "wide.model").write_text(text)
    assert invoke("train", "wide.model", "-o", "wide", "-q").exit_code == 0
    predicted = rows_of(invoke("predict", "wide", "reviews.csv"))
    right = np.mean([row["predicted_mood"] == row["mood"] for row in predicted])
    for model in ("wide", "wide/model.onnx"):
        done = invoke("eval", model, "--data", "reviews.csv", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["figures"]["mood"]["accuracy"] == pytest.approx(right)
    done = invoke("run", "wide/model.onnx", "new.csv", "--json")
    odds = np.exp(np.array(json.loads(done.stdout)["logits"]))
    shown = [float(row["probability_kind"]) for row in rows_of(invoke("predict", "wide", "new.csv"))]
    np.testing.assert_allclose(odds[:, 0] / odds.sum(axis=1), shown, rtol=1e-4)
    by_title = json.loads(invoke("run", "wide", "review=new.csv:title", "--json").stdout)["logits"]
    write(trained / "renamed.csv", [{"review": row["title"]} for row in NEW])
    assert json.loads(invoke("run", "wide", "renamed.csv", "--json").stdout)["logits"] == by_title


def test_another_tokenizer_stands_for_that_of_the_columns(trained: Path) -> None:
    words, _ = numbered(trained)
    special = ["[PAD]", "[UNK]", "[unused1]", "[unused2]", "[unused3]"]
    (trained / "vocab.txt").write_text("\n".join([*special, *words]) + "\n")
    same = rows_of(invoke("predict", "run", "new.csv", "--tokenizer", "vocab.txt"))
    assert same == rows_of(invoke("predict", "run", "new.csv"))
    (trained / "vocab.txt").write_text("\n".join([*special, *words[::-1]]) + "\n")
    assert rows_of(invoke("predict", "run", "new.csv", "--tokenizer", "vocab.txt")) != same
    done = invoke("compile", "run", "-o", "other.onnx", "--tokenizer", "vocab.txt")
    message = "the columns of a table have the tokenizers of the training: --tokenizer does not apply"
    assert done.exit_code == 2 and message in done.stderr


def test_eval_reads_other_tables(trained: Path) -> None:
    done = invoke("eval", "run", "--data", "reviews.csv", "--json")
    assert done.exit_code == 0, done.stderr
    by_run = json.loads(done.stdout)
    compiled = json.loads(invoke("eval", "run/model.onnx", "--data", "reviews.csv", "--json").stdout)
    assert by_run["examples"] == compiled["examples"] == ROWS
    predicted = rows_of(invoke("predict", "run", "reviews.csv"))
    right = np.mean([row["predicted_mood"] == row["mood"] for row in predicted])
    for facts in (by_run, compiled):
        figures = facts["figures"]["mood"]
        assert figures["accuracy"] == pytest.approx(right)


def test_a_resumed_run_has_the_same_vocabulary(trained: Path) -> None:
    done = invoke("train", "reviews.model", "-o", "resumed", "-q", "--epochs", "1")
    assert done.exit_code == 0, done.stderr
    before = json.loads((trained / "resumed" / "data.json").read_text())
    done = invoke("train", "--resume", "resumed", "--epochs", "3", "-q")
    assert done.exit_code == 0, done.stderr
    assert json.loads((trained / "resumed" / "data.json").read_text()) == before
    assert rows_of(invoke("predict", "resumed", "new.csv")) == rows_of(invoke("predict", "run", "new.csv"))


def test_what_a_run_knows_of_texts_is_checked(trained: Path) -> None:
    stored = json.loads((trained / "run" / "data.json").read_text())
    assert [entry["columns"] for entry in stored["tokenizers"]] == [["review", "title"]]
    words, cities = numbered(trained)
    assert stored["tokenizers"][0]["tokenizer"]["known"] == words
    assert stored["classes"]["city"] == ["", *cities]
    (known,) = stored["tokenizers"]
    for broken, reason in (
        ({**known, "columns": ["title"]}, "the tokenizer of `review` is not there"),
        ({**known, "tokenizer": {"kind": "words", "known": 3, "special": []}}, "the tokenizer of `review`, `title`"),
        ({**known, "tokenizer": []}, "the tokenizer of `review`, `title`: this JSON is not a tokenizer"),
        ({**known, "columns": [3]}, "3 is not a text"),
    ):
        with pytest.raises(NablacError) as caught:
            fitted_from_json({**stored, "tokenizers": [broken]}, "data.json")
        (diagnostic,) = caught.value.diagnostics
        assert diagnostic.message == "data.json is not a run's record of its data"
        assert diagnostic.note is not None and diagnostic.note.startswith(reason)


def test_trials_of_a_search_read_texts(trained: Path) -> None:
    (trained / "searched.model").write_text(MODEL.replace("width = 4", "width = 2..4"))
    done = invoke("tune", "searched.model", "--trials", "2", "--epochs", "1", "--search", "random", "-o", "study")
    assert done.exit_code == 0, done.stderr
    assert "study/study.html" in done.stdout or (trained / "study" / "study.html").is_file()


def test_a_vocabulary_that_is_too_large_for_the_model(trained: Path) -> None:
    (trained / "small.model").write_text(MODEL.replace("vocabulary = 40", "vocabulary = 6"))
    done = invoke("train", "small.model", "-o", "small", "-q")
    assert done.exit_code == 2
    words, _ = numbered(trained)
    assert "in a table of 6 rows" in done.stderr
    assert f"the vocabulary needs {len(words) + 5} rows, or the data fewer tokens: `tokens(most: 6)`" in done.stderr
    assert not (trained / "small").exists()


def test_a_table_of_cities_without_a_row_for_unseen_ones(trained: Path) -> None:
    (trained / "cities.model").write_text(MODEL.replace("cities = 3", "cities = 2"))
    done = invoke("train", "cities.model", "-o", "cities", "-q")
    assert done.exit_code == 2
    assert "`city` holds 3 classes, `(unseen)`, `Paris`, `Rome`, and the model looks them up in a table of 2 rows" in (
        done.stderr
    )
