"""Arguments of `run` as texts, or as files; what cannot be fed is told with what to do instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from runtime.text.learning import learn
from runtime.text_inputs import read_texts_or_inputs

ROWS = TensorType(DType.I64, (Dim.named("batch"), Dim.named("T")))
WORDS = learn(["a man see data csv . = tokens x"], "words", 50)

FED = {
    "one": (["a man"], ["a man"]),
    "several": (["a man", "a"], ["a man", "a"]),
    "by its name": (["tokens=a man"], ["a man"]),
    "with an equals sign": (["x = a"], ["x = a"]),
    "like a file": (["See data.csv"], ["See data.csv"]),
    "a colon": (["see: a man"], ["see: a man"]),
}


@pytest.mark.parametrize("label", FED)
def test_texts_are_fed(label: str) -> None:
    arguments, texts = FED[label]
    rows = [WORDS.encode(text) for text in texts]
    fed = read_texts_or_inputs(arguments, {"tokens": ROWS}, WORDS)
    found = {number: row for numbers, feeds in fed.batches for number, row in zip(numbers, feeds["tokens"].tolist())}
    assert found == dict(enumerate(rows))


def test_texts_of_one_length_share_a_batch() -> None:
    fed = read_texts_or_inputs(["a man", "a", "see data", "x"], {"tokens": ROWS}, WORDS, least={"tokens": 1})
    assert [numbers for numbers, _ in fed.batches] == [[0, 2], [1, 3]]
    short = read_texts_or_inputs(["a man", "a", "a man a"], {"tokens": ROWS}, WORDS, least={"tokens": 2})
    assert [feeds["tokens"].shape for _, feeds in short.batches] == [(2, 2), (1, 3)]


def test_outputs_of_several_batches_are_in_the_order_of_the_texts() -> None:
    fed = read_texts_or_inputs(["a man", "a", "see data"], {"tokens": ROWS}, WORDS)
    found = fed.run(lambda feeds: {"each": feeds["tokens"], "sum": feeds["tokens"].sum(axis=1)})
    coded = [WORDS.encode(text) for text in ("a man", "a", "see data")]
    assert found["each"].tolist() == [coded[0], [*coded[1], 0], coded[2]]
    assert found["sum"].tolist() == [sum(each) for each in coded]
    with pytest.raises(NablacError) as caught:
        fed.run(lambda feeds: {"all": feeds["tokens"].sum()})
    assert caught.value.diagnostics[0].code == "E848"


def test_a_file_stays_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "my rows.npy", np.array([[5, 6]]))
    for argument in (f"{tmp_path}/my rows.npy", f"tokens={tmp_path}/my rows.npy"):
        assert read_texts_or_inputs([argument], {"tokens": ROWS}, WORDS).batches[0][1]["tokens"].tolist() == [[5, 6]]


BOTH = {"source": ROWS, "target_in": ROWS}
REFUSED = {
    "no file": (["data.csv"], {"tokens": ROWS}, WORDS, "E901: there is no file data.csv"),
    "no file of texts": (["data.txt"], {"tokens": ROWS}, WORDS, "E901: there is no file data.txt"),
    "a file among texts": (["a man", "b.txt"], {"tokens": ROWS}, WORDS, "E807: this names a file, and `a man` beside"),
    "an encoder-decoder": (["a man"], BOTH, WORDS, "E807: text alone does not provide `source`, `target_in`"),
    "an encoder-decoder without": (["a man"], BOTH, None, "E807: text alone does not provide `source`, `target_in`"),
    "no tokenizer": (["a man"], {"tokens": ROWS}, None, "E853: there is no tokenizer for this text"),
    "no file of another kind": (["rows.txt"], {"tokens": ROWS}, None, "E901: there is no file rows.txt"),
    "empty": (["a", " "], {"tokens": ROWS}, WORDS, "E852: this text is empty"),
    "no text": (["a \udcff"], {"tokens": ROWS}, WORDS, "E821: this is not UTF-8 text"),
    "too long": (["a", "a man a man"], {"tokens": ROWS}, WORDS, "E855: a text of 4 tokens is too long: `tokens` has 3"),
    "far too long": (["a " * 5000], {"tokens": ROWS}, WORDS, "E855: a text of 5,000 tokens is too long"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_cannot_be_fed_is_told(label: str) -> None:
    arguments, types, tokenizer, message = REFUSED[label]
    with pytest.raises(NablacError) as caught:
        read_texts_or_inputs(arguments, types, tokenizer, {"tokens": 3} if label == "too long" else None)
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code}: {diagnostic.message}".startswith(message)
    if label == "too long":
        assert diagnostic.place == "text 2"
