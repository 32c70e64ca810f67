"""Texts and pairs of texts as tokens: special tokens are the tokenizer's own, and what is left out is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.batches import Batches
from runtime.data.examples import Examples
from tests.runtime.data.test_loading import load, refused
from tests.runtime.text.test_roles import bert, llama, t5

PAIRS: dict[str, Any] = {
    "inputs": "source: i64[batch, S]; input target_in: i64[batch, T]",
    "target": "target_out: i64[batch, T]",
}
WINDOWS: dict[str, Any] = {"inputs": "x: i64[batch, T]", "target": "t: i64[batch, T]"}


def rows(found: Examples) -> dict[str, list[list[int]]]:
    return {name: array.tolist() for name, array in found.arrays.items()}


def test_pairs_have_the_special_tokens_of_their_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb b\na a\tb\n")
    t5(tmp_path)
    examples = load(tmp_path, 'pairs("pairs.tsv") -> tokens(kind: "tokenizer.json")', **PAIRS)
    assert rows(examples) == {
        "source": [[3, 2, 0], [3, 3, 2]],
        "target_in": [[0, 4, 4], [0, 4, 0]],
        "target_out": [[4, 4, 2], [4, 2, 0]],
    }
    assert examples.texts == [("a", "b b"), ("a a", "b")]
    bert(tmp_path)
    examples = load(tmp_path, 'pairs("pairs.tsv") -> tokens(kind: "vocab.txt")', **PAIRS)
    assert rows(examples)["source"] == [[4, 1, 5, 0], [4, 1, 1, 5]]
    assert rows(examples)["target_in"][0] == [4, 2, 2] and rows(examples)["target_out"][0] == [2, 2, 5]


def test_classes_are_read_as_run_reads_texts(tmp_path: Path) -> None:
    (tmp_path / "classes.tsv").write_text("a\tyes\nb a\tno\n")
    bert(tmp_path)
    arguments: dict[str, Any] = {"inputs": "x: i64[batch, T]", "target": "t: i64[batch]"}
    examples = load(tmp_path, 'pairs("classes.tsv") -> tokens(kind: "vocab.txt", target: "class")', **arguments)
    assert rows(examples)["x"] == [[4, 1, 5, 0], [4, 2, 1, 5]]


def test_rows_are_filled_up_with_the_tokenizers_padding(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n[UNK]\n[CLS]\n[SEP]\n[PAD]\n")
    (tmp_path / "pairs.tsv").write_text("a\tb\na a a\tb b b\n")
    examples = load(tmp_path, 'pairs("pairs.tsv") -> tokens(kind: "vocab.txt")', **PAIRS)
    assert rows(examples)["source"] == [[3, 0, 4, 5, 5], [3, 0, 0, 0, 4]]
    first, _ = Batches(examples, "training", 1).epoch(0)
    assert {name: array.shape[1] for name, array in first.items()} == {"source": 3, "target_in": 2, "target_out": 2}


def test_windows_begin_as_a_prompt_does(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b a b a b a")
    llama(tmp_path)
    examples = load(tmp_path, 'text("text.txt") -> tokens(length: 4, kind: "tokenizer.json")', **WINDOWS)
    assert rows(examples) == {"x": [[2, 4, 5, 4], [2, 5, 4, 5]], "t": [[4, 5, 4, 5], [5, 4, 5, 4]]}


def test_windows_need_no_padding_token(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n[UNK]\n")
    (tmp_path / "text.txt").write_text("a b a b a")
    (tmp_path / "pairs.tsv").write_text("a\tb\n")
    examples = load(tmp_path, 'text("text.txt") -> tokens(length: 4, kind: "vocab.txt")', **WINDOWS)
    assert rows(examples)["x"] == [[0, 1, 0, 1]]
    message = "E850 : this tokenizer has no padding token, which fills up the shorter of two texts"
    assert refused(tmp_path, 'pairs("pairs.tsv") -> tokens(kind: "vocab.txt")', **PAIRS) == message


def test_hidden_tokens_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b " * 300)
    bert(tmp_path)
    examples = load(tmp_path, 'text("text.txt") -> tokens(length: 12, kind: "vocab.txt", hide: 0.5)', **WINDOWS)
    seen, hidden = examples.arrays["x"], examples.arrays["t"]
    assert (seen[:, 0] == 4).all() and (seen[:, -1] == 5).all() and (hidden[:, [0, -1]] == -100).all()
    inner = seen[:, 1:-1]
    assert set(inner.reshape(-1).tolist()) == {1, 2, 6}
    chosen = hidden[:, 1:-1] >= 0
    assert (inner[chosen] == 6).mean() == pytest.approx(0.8, abs=0.1) and (inner[~chosen] != 6).all()
    assert np.isin(hidden[hidden >= 0], [1, 2]).all()


def test_a_tokenizer_that_hides_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b " * 30)
    llama(tmp_path)
    data = 'text("text.txt") -> tokens(length: 4, kind: "tokenizer.json", hide: 0.5)'
    assert refused(tmp_path, data, **WINDOWS) == "E850 : this tokenizer has no mask token"


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    lines = ("\ufeffone\u2028two\tun\x85deux", "three\x0bfour\ttrois", "five\tcinq")
    (tmp_path / "pairs.tsv").write_bytes("\r\n".join(lines).encode())
    examples = load(tmp_path, 'pairs("pairs.tsv") -> tokens()', **PAIRS)
    assert examples.texts == [("one\u2028two", "un\x85deux"), ("three\x0bfour", "trois"), ("five", "cinq")]


def test_what_is_left_out_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\n\nb\ta a a\na a a a\tb\n")
    skipped: list[str] = []
    load(tmp_path, 'pairs("pairs.tsv") -> tokens(length: 3)', **PAIRS, skipped=skipped)  # type: ignore[arg-type]
    at = f"{tmp_path / 'pairs.tsv'}"
    assert skipped == [f"{at}:{line}: 4 tokens, and `length` is 3" for line in (3, 4)]
    (tmp_path / "gap.tsv").write_text("a\tb\n\t\n")
    assert refused(tmp_path, 'pairs("gap.tsv") -> tokens()', **PAIRS) == "E821 HERE/gap.tsv:2: expected 2 texts, got 0"


def test_a_message_of_a_catalogue_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.po").write_text('#: x\nmsgid "a"\nmsgstr "b"\n\n#: y\nmsgid "a a a"\nmsgstr "b"\n')
    skipped: list[str] = []
    load(tmp_path, 'pairs("a.po") -> tokens(length: 2)', **PAIRS, skipped=skipped)  # type: ignore[arg-type]
    assert skipped == [f"{tmp_path / 'a.po'}:5: 3 tokens, and `length` is 2"]


def test_a_pair_without_a_token_is_left_out(tmp_path: Path) -> None:
    """BERT's tokenizer takes control characters for nothing."""
    bert(tmp_path)
    (tmp_path / "pairs.tsv").write_text("a\tb\n\x01\tb\na\t\x02\n")
    skipped: list[str] = []
    load(tmp_path, 'pairs("pairs.tsv") -> tokens(kind: "vocab.txt")', **PAIRS, skipped=skipped)
    assert skipped == [f"{tmp_path / 'pairs.tsv'}:{line}: a side without a token" for line in (2, 3)]
