"""Tokenizers: texts come back, special tokens keep their places, stored ones are the same, broken ones are told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.text.learning import learn
from runtime.text.tokenizers import END, KINDS, LEARNT, SPECIAL, ListTokenizer, from_json, read_tokenizer
from runtime.text.unigram import learn_pieces
from runtime.text.words import pieces

ROOT = Path(__file__).parents[3]
TEXTS = ["The cat sat on the mat.", "A dog, a cat and a bird.", "l'\u00e9t\u00e9 est l\u00e0", "cats and dogs"] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learnt_comes_back(kind: str) -> None:
    tokenizer = learn(TEXTS, kind, 200)
    assert tokenizer.size <= 200 and tokenizer.kind == kind
    for text in TEXTS[:4]:
        coded = tokenizer.encode(text)
        assert all(len(SPECIAL) <= number < tokenizer.size for number in coded)
        assert tokenizer.decode([*coded, END]) == text
    again = from_json(tokenizer.to_json())
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert (again.size, again.begin, again.end, again.unknown) == (tokenizer.size, 2, 3, 1)


@given(st.text(max_size=40))
def test_characters_of_any_text_come_back(text: str) -> None:
    tokenizer = learn([text], "characters", 1000)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_most_frequent_words_are_kept_and_others_are_unknown() -> None:
    tokenizer = learn(["b a a c b a"], "words", len(SPECIAL) + 2)
    assert isinstance(tokenizer, ListTokenizer) and tokenizer.known == ("a", "b")
    assert tokenizer.encode("a c b") == [5, 1, 6]
    assert tokenizer.decode([5, 1, 6]) == "a b"


def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    """Each process has hash tables of its own order."""
    text = "from runtime.text.learning import learn; import sys"
    text += f"; [print(learn({TEXTS!r}, kind, 60).to_json()) for kind in {KINDS!r}]"
    made = {
        subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, cwd=ROOT, text=True).stdout
        for _ in range(3)
    }
    assert len(made) == 1


SPACED = (
    "3.14 and 1,000",
    "100 % of 20%",
    'It\'s (not) "so" - is it?',
    "l'\u00e9t\u00e9, \u00ab ici \u00bb",
    "a/b %(name)s e.g. x_1",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", SPACED)
def test_ordinary_spacing_comes_back(kind: str, text: str) -> None:
    tokenizer = learn([*SPACED, *SPACED], kind, 400)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_usual_spacing_costs_no_tokens() -> None:
    assert pieces("l'\u00e9t\u00e9, the (cat) sat.", "words") == [
        "l",
        "'",
        "\u00e9t\u00e9",
        ",",
        "the",
        "(",
        "cat",
        ")",
        "sat",
        ".",
    ]
    assert pieces("3.14 %", "words") == ["3", ".", "", "14", " ", "%"]


def test_likely_pieces_are_learnt() -> None:
    words = {"low": 5, "lowest": 2, "newest": 6, "widest": 3}
    found = dict(learn_pieces(words, 13))
    assert {"low", *"lowestnid"} <= found.keys() and len(found) == 13
    assert sum(math.exp(each) for each in found.values()) == pytest.approx(1, abs=1e-4)


BROKEN = {
    "no JSON": "{",
    "no tokenizer": "{}",
    "a list": "[1, 2]",
    "half": '{"kind": "words"}',
    "a vocabulary alone": '{"a": 0, "b": 1}',
    "another kind": '{"kind": "zzz", "known": [], "special": []}',
    "numbers": '{"kind": "words", "known": [1], "special": []}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_tokenizer_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(NablacError) as caught:
        read_tokenizer(path)
    assert caught.value.diagnostics[0].code == "E850"
    assert caught.value.diagnostics[0].place == str(path)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    (tmp_path / "twice.txt").write_text("[UNK]\na\na\n")
    for name, code in (("none.json", "E903"), ("bytes.json", "E821"), ("vocab.txt", "E850"), ("twice.txt", "E850")):
        with pytest.raises(NablacError) as caught:
            read_tokenizer(tmp_path / name)
        assert caught.value.diagnostics[0].code == code


OF_THE_LIBRARY = {
    '{"version": "1.0", "model": {"type": "Foo"}}': (
        "its model is of the type `Foo`; expected one of BPE, Unigram, WordLevel, WordPiece"
    ),
    '{"version": "1.0", "model": {"type": "BPE"}}': "its parts are not what the tokenizers library writes",
    '{"kind": "bpe", "library": "[]"}': "its parts are not what the tokenizers library writes",
}


@pytest.mark.parametrize("text", OF_THE_LIBRARY)
def test_what_the_library_does_not_read_is_told_in_our_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(NablacError) as caught:
        read_tokenizer(tmp_path / "tokenizer.json")
    (diagnostic,) = caught.value.diagnostics
    assert (
        diagnostic.code == "E850"
        and diagnostic.message == f"this cannot be read as a tokenizer: {OF_THE_LIBRARY[text]}"
    )


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(NablacError) as caught:
        learn(TEXTS, "bep", 100)
    assert str(caught.value).splitlines()[0] == "error[E850]: there is no tokenizer `bep`"


@pytest.mark.parametrize("kind", LEARNT)
def test_a_tokenizer_json_of_the_library_is_read(kind: str, tmp_path: Path) -> None:
    tokenizer = learn(TEXTS, kind, 80)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.loads(tokenizer.to_json())["library"])
    assert read_tokenizer(path).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])
