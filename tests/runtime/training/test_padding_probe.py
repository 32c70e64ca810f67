"""A text's answer is its own: padding behind it, and the texts beside it, change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.data.padding import Padding
from runtime.numpy_executor import NumpyRunner
from runtime.training.folder import RunFolder
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.command_line import invoke
from tests.models import text_source

MODEL = """
model M {
    input tokens: i64[batch, T]
    e = tokens -> Embedding(60, 8)
    MASK
    y = EQUATION
    score = y -> Dense(1)
    output score
}
train M {
    target label: f32[batch, 1]
    loss mse(score, label)
    epochs 1
    batch 4
    validation 0.25
    data pairs("pairs.tsv") -> tokens(length: 20, kind: "words", target: "number")
}
"""
MASK = "mask = tokens != 0"

# The equations, and whether they read padding
CASES = {
    "the mean": ("mean(e, axis: 1)", True),
    "the masked mean": (
        "sum(e * unsqueeze(cast(mask, f32), -1), axis: 1) / unsqueeze(sum(cast(mask, f32), axis: 1), -1)",
        False,
    ),
    "the last state": ("e -> LSTM(8)", True),
    "a window": ("max(conv(transpose(e, [0, 2, 1]), ones([8, 8, 3])), axis: -1)", True),
    "attention": ("mean(e -> MultiHeadAttention(2), axis: 1)", True),
    "masked attention": ("MultiHeadAttention(2)(e, mask: mask)[:, 0]", False),
    "the first token": ("e[:, 0]", False),
}


def training(folder: Path, equation: str, **options: object) -> Training:
    generator = np.random.default_rng(0)
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(generator.choice(words, 1 + number % 7)) for number in range(40)]
    (folder / "pairs.tsv").write_text("".join(f"{text}\t{len(text) / 10}\n" for text in texts))
    text = MODEL.replace("EQUATION", equation).replace("MASK", MASK if "mask" in equation else "")
    return Training(text_source(text, folder), options=Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CASES)
def test_texts_of_other_lengths_share_a_batch_where_padding_is_not_read(tmp_path: Path, name: str) -> None:
    equation, read = CASES[name]
    run = training(tmp_path, equation)
    assert run.padding is not None
    assert run.padding.apart == ({"T"} if read else frozenset())
    least = 3 if name == "a window" else 1
    assert run.padding.least == ({"T": 3} if least > 1 else {})
    for part in ("training", "validation"):
        batches = run.batches(part)
        found = list(batches.epoch(0))
        assert len(found) == len(batches)
        assert sum(len(batch["label"]) for batch in found) == len(run.data.parts[part])
        for batch in found:
            lengths = np.maximum((batch["tokens"] != 0).sum(axis=1), least)
            assert batch["tokens"].shape[1] == lengths.max()
            assert len(batch["label"]) <= 4 and (not read or len(set(lengths)) == 1)


@pytest.mark.parametrize("name", CASES)
def test_what_is_evaluated_does_not_depend_on_the_batch(tmp_path: Path, name: str) -> None:
    equation, _ = CASES[name]
    whole, single = training(tmp_path, equation, batch=40), training(tmp_path, equation, batch=1)
    state = whole.first_state()
    losses = [made.loop().evaluate(made.batches("validation"))["loss"] for made in (whole, single)]
    assert state and losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_short_texts_train_beside_a_window_that_they_do_not_fill(tmp_path: Path, backend: str) -> None:
    run = training(tmp_path, CASES["a window"][0], backend=backend)
    loop = run.loop()
    loop.run()
    assert np.isfinite(loop.position.history["val_loss"]).all()


def test_the_tokens_around_a_text_may_be_its_padding() -> None:
    """As of tokenizers that end a text with the token that fills it up."""
    arrays = {"target_in": np.array([[1, 5, 6]]), "target_out": np.array([[5, 6, 0]])}
    made = Padding({"target_in": "T", "target_out": "T"}).trim(arrays)
    assert {name: array.shape for name, array in made.items()} == {"target_in": (1, 3), "target_out": (1, 3)}


def test_masks_of_a_translator_let_sentences_share_batches(tmp_path: Path) -> None:
    lines = [f"{'a ' * (1 + n % 5)}\t{'b ' * (1 + n % 3)}\n" for n in range(12)]
    (tmp_path / "pairs.tsv").write_text("".join(line.replace(" \t", "\t").replace(" \n", "\n") for line in lines))
    text = """
model M {
    input source: i64[batch, S]
    input target_in: i64[batch, T]
    table = Embedding(20, 8)
    memory = TransformerEncoder(1, 2, 8)(table(source), mask: source != 0)
    h = TransformerDecoder(1, 2, 8)(table(target_in), memory, memory_mask: source != 0)
    logits = h -> Dense(20)
    output logits
}
train M {
    target target_out: i64[batch, T]
    loss cross_entropy(logits, target_out, ignore: IGNORE)
    data pairs("pairs.tsv") -> tokens(length: 20, kind: "words")
}
"""
    for ignore, mask, apart in (("0", "source != 0", set()), ("9", "source != 0", {"T"}), ("0", "source != 9", {"S"})):
        changed = text.replace("IGNORE", ignore).replace("source != 0", mask)
        run = Training(text_source(changed, tmp_path))
        assert run.padding is not None and run.padding.apart == apart
    weights = run.model_weights(run.first_state())
    NumpyRunner(run.inference.graph, weights).run({"source": np.array([[2]]), "target_in": np.array([[2]])})


@pytest.mark.parametrize("name", ["the mean", "the last state", "a window", "attention"])
def test_a_text_has_the_answer_that_it_has_alone(tmp_path: Path, name: str) -> None:
    run = training(tmp_path, CASES[name][0])
    loop = run.loop()
    folder = RunFolder.begin(tmp_path / "run", run, loop)
    loop.run()
    model = folder.finish(run, run.trained(loop))
    assert model is not None
    texts = ["w1 w2", "w3 w4 w5 w6 w7 w8", "w9", "w5 w1"]
    for file in (model, tmp_path / "run"):
        found = [
            json.loads(invoke("run", file, *given, "--json").stdout) for given in (texts, *([each] for each in texts))
        ]
        beside, *alone = (np.array(each["score"]) for each in found)
        np.testing.assert_allclose(beside, np.concatenate(alone), rtol=1e-5, atol=1e-6)
