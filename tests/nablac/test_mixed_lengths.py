"""Predictions for tables with columns of texts: those of any length share a batch where no padding is read."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nablac
from nablac.predicting import predictor_of
from runtime.data.fitted import Fitted
from runtime.onnx_session import OnnxRunner
from runtime.padding_effects import unread_padding
from runtime.prediction.findings import Findings
from runtime.prediction.prediction import Request, predict
from runtime.prediction.predictor import Predictor
from runtime.text_inputs import InputBatches
from tests.command_line import invoke
from tests.models import spec_of

MODEL = """
model M {
    input title: i64[batch, S], review: i64[batch, T], price: f32[batch, 1]
    e = Embedding(40, 6)
    a = cast(title != 0, f32)
    b = cast(review != 0, f32)
    masked_title = sum(e(title) * unsqueeze(a, -1), axis: 1) / sum(a, axis: 1, keep: true)
    attended = MultiHeadAttention(2)(e(review), mask: review != 0)
    masked_review = sum(attended * unsqueeze(b, -1), axis: 1) / sum(b, axis: 1, keep: true)
    output y = concat([TITLE, REVIEW, price], axis: -1) -> Dense(1)
}
"""
TRAIN = """
train M {
    target t: f32[batch, 1]
    loss mse(y, t)
    epochs 1
    data csv("t.csv") -> standardize() -> tokens(columns: ["title", "review"], length: 9, most: 40)
        -> columns(inputs: ["title", "review", "price"], targets: "score")
}
"""
MASKED = {"TITLE": "masked_title", "REVIEW": "masked_review"}
TITLE, REVIEW = ("title",), ("review",)
CASES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "both are masked": (MASKED, TITLE + REVIEW),
    "the mean of one": ({**MASKED, "TITLE": "mean(e(title), axis: 1)"}, REVIEW),
    "the sum of one": ({**MASKED, "REVIEW": "sum(e(review), axis: 1)"}, TITLE),
    "the largest of one": ({**MASKED, "TITLE": "max(e(title), axis: 1)"}, REVIEW),
    "attention without a mask": ({**MASKED, "(e(review), mask: review != 0)": "(e(review))"}, TITLE),
    "another mask than the padding": ({**MASKED, "review != 0": "review != 1"}, TITLE),
    "a mask that is nearly one": ({**MASKED, "cast(title != 0, f32)": "cast(title != 0, f32) + 1e-4"}, REVIEW),
    "the last states": ({"TITLE": "e(title) -> LSTM(6)", "REVIEW": "e(review) -> GRU(6)"}, ()),
    "the first token": ({**MASKED, "TITLE": "e(title)[:, 0]"}, TITLE + REVIEW),
    "one dim of both": ({**MASKED, "batch, S": "batch, T"}, TITLE + REVIEW),
    "one dim, and one is not masked": ({**MASKED, "batch, S": "batch, T", "TITLE": "mean(e(title), axis: 1)"}, ()),
    "a result for each token": ({**MASKED, "output y": "output tagged = e(title) -> Dense(2)\n    output y"}, REVIEW),
    "few positions": ({**MASKED, "e(review), mask": "e(review) + Embedding(5, 6)(iota(T)), mask"}, TITLE + REVIEW),
}  # fmt: skip


def changed(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("case", CASES)
def test_padding_is_read_where_nothing_masks_it(case: str) -> None:
    changes, unread = CASES[case]
    graph = spec_of(changed(MODEL, changes)).graph
    tokenizer: Any = SimpleNamespace(padding=0)
    columns = {name: (name,) for name in ("title", "review", "price")}
    fitted = Fitted(columns=columns, tokenizers={"title": tokenizer, "review": tokenizer})
    assert unread_padding(graph, fitted) == unread
    assert unread_padding(graph, replace(fitted, tokenizers={})) == ()


ROWS = 300


@pytest.fixture(params=["both are masked", "the mean of one", "one dim of both", "the last states"])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A folder with a table of texts and a run on it; it is the current one."""
    changes, unread = CASES[request.param]
    draw = random.Random(2)
    words = [f"w{number}" for number in range(30)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "review", "price", "score"])
        for _ in range(ROWS):
            title, review = (draw.choices(words, k=draw.randint(1, most)) for most in (4, 9))
            writer.writerow([" ".join(title), " ".join(review), draw.randint(1, 9), len(review)])
    (tmp_path / "m.model").write_text(changed(MODEL, changes) + TRAIN)
    with chdir(tmp_path):
        assert invoke("train", "m.model", "-o", "run", "-q").exit_code == 0
        yield tmp_path, unread


def test_rows_in_full_batches_have_the_predictions_that_they_have_alone(trained: tuple[Path, tuple[str, ...]]) -> None:
    folder, unread = trained
    with (folder / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    for predictor in (predictor_of(nablac.load("run")), Predictor.of_runner(OnnxRunner(Path("run/model.onnx")))):
        calls: list[dict[str, np.ndarray]] = []

        def run(feeds: dict[str, Any], of: Predictor = predictor) -> dict[str, Any]:
            calls.append(feeds)  # noqa: B023
            return of.run(feeds)

        counted = replace(predictor, run=run)
        assert counted.unread_padding == unread
        together = list(predict(counted, ["t.csv"], Request(keep="none"), Findings()))
        whole = np.concatenate([columns["predicted_score"] for columns in together])
        assert sum(len(feeds["title"]) for feeds in calls) == ROWS
        apart = {"title", "review"} - set(unread)
        keys = {tuple(min(len(row[name].split()), 9) for name in sorted(apart)) for row in rows}
        assert len(calls) == (3 if not apart else len(keys))
        alone = [
            next(predict(predictor, {name: [cell] for name, cell in row.items()}, Request(keep="none"), Findings()))
            for row in rows[::7]
        ]
        expected = [columns["predicted_score"][0] for columns in alone]
        np.testing.assert_allclose(whole[::7], expected, rtol=1e-6, atol=1e-6)


def calls_of_run(argument: str, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The rows of tokens of each call of a model by `nablac run`."""
    calls: list[np.ndarray] = []

    def counting(fed: InputBatches, model: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        calls.extend(next(iter(feeds.values())) for _, feeds in fed.batches)
        return model(fed.batches[0][1])

    with monkeypatch.context() as patched:
        patched.setattr(InputBatches, "run", counting)
        done = invoke("run", argument, *texts)
    assert done.exit_code == 0, done.output
    return calls


def test_run_feeds_the_batches_of_predict(
    trained: tuple[Path, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, unread = trained
    with (folder / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    apart = {"title", "review"} - set(unread)
    lengths = {tuple(min(len(row[name].split()), 9) for name in sorted(apart)) for row in rows}
    for model in ("run", "run/model.onnx"):
        assert len(calls_of_run(model, ["t.csv"], monkeypatch)) == (3 if not apart else len(lengths))
        assert invoke("run", model, "t.csv", "-o", "all.npy").exit_code == 0
        (folder / "one.csv").write_text(",".join(rows[4]) + "\n" + ",".join(rows[4].values()) + "\n")
        assert invoke("run", model, "one.csv", "-o", "one.npy").exit_code == 0
        np.testing.assert_allclose(np.load("all.npy")[4], np.load("one.npy")[0], rtol=1e-6, atol=1e-6)


PAIRS = """
model P {
    input tokens: i64[batch, T]
    e = Embedding(40, 6)
    seen = cast(tokens != 0, f32)
    masked = sum(e(tokens) * unsqueeze(seen, -1), axis: 1) / sum(seen, axis: 1, keep: true)
    output y = MASKED -> Dense(1)
}
train P {
    target t: f32[batch, 1]
    loss mse(y, t)
    epochs 1
    data pairs("t.tsv") -> tokens(length: 9, kind: "words", most: 40, target: "number")
}
"""


@pytest.mark.parametrize("summary", ["masked", "e(tokens) -> LSTM(6)"])
def test_texts_of_pairs_share_batches_where_padding_is_masked(
    summary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(3)
    texts = [" ".join(draw.choices([f"w{number}" for number in range(30)], k=draw.randint(1, 9))) for _ in range(ROWS)]
    (tmp_path / "t.tsv").write_text("".join(f"{text}\t{len(text.split())}\n" for text in texts))
    (tmp_path / "m.model").write_text(changed(PAIRS, {"MASKED": summary}))
    with chdir(tmp_path):
        assert invoke("train", "m.model", "-o", "run", "-q").exit_code == 0
        predictors = predictor_of(nablac.load("run")), Predictor.of_runner(OnnxRunner(Path("run/model.onnx")))
        for predictor in predictors:
            calls: list[dict[str, np.ndarray]] = []

            def run(feeds: dict[str, Any], of: Predictor = predictor) -> dict[str, Any]:
                calls.append(feeds)  # noqa: B023
                return of.run(feeds)

            counted = replace(predictor, run=run)
            assert counted.unread_padding == (("tokens",) if summary == "masked" else ())
            parts = list(predict(counted, ["t.tsv"], Request(keep="none"), Findings()))
            whole = np.concatenate([columns["predicted_label"] for columns in parts])
            sizes = [len({len(text.split()) for text in part}) for part in (texts[:256], texts[256:])]
            assert len(calls) == (3 if summary == "masked" else sum(sizes))
            rows = [predictor.recipe.fitted.tokenizer.encode(text) for text in texts]  # type: ignore[union-attr]
            alone = [predictor.run({"tokens": np.array([row])})["y"].item() for row in rows]
            np.testing.assert_allclose(whole, alone, rtol=1e-6, atol=1e-6)
        for model in ("run", "run/model.onnx"):
            tokens = calls_of_run(model, ["w1 w2 w3", "w4", "w5 w6 w7"], monkeypatch)
            assert [part.shape for part in tokens] == ([(3, 3)] if summary == "masked" else [(2, 3), (1, 1)])
