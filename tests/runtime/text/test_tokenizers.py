"""Tokenizers: texts come back, special tokens keep their places, stored ones are the same, broken ones are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.text.tokenizers import END, KINDS, LEARNT, SPECIAL, Listed, from_json, learn, read_tokenizer

TEXTS = ["The cat sat on the mat.", "A dog, a cat and a bird.", "l'\u00e9t\u00e9 est l\u00e0", "cats and dogs"] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_learnt_comes_back(kind: str) -> None:
    tokenizer = learn(TEXTS, kind, 200)
    assert tokenizer.size <= 200 and tokenizer.kind == kind
    for text in TEXTS[:4]:
        coded = tokenizer.encode(text)
        assert all(len(SPECIAL) <= number < tokenizer.size for number in coded)
        decoded = tokenizer.decode([*coded, END])
        assert decoded == text if kind != "wordpiece" else decoded.replace(" ", "") == text.replace(" ", "")
    again = from_json(tokenizer.to_json())
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert (again.size, again.begin, again.end, again.unknown) == (tokenizer.size, 2, 3, 1)


@given(st.text(max_size=40))
def test_characters_of_any_text_come_back(text: str) -> None:
    tokenizer = learn([text], "characters", 1000)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_most_frequent_words_are_kept_and_others_are_unknown() -> None:
    tokenizer = learn(["b a a c b a"], "words", len(SPECIAL) + 2)
    assert isinstance(tokenizer, Listed) and tokenizer.known == ("a", "b")
    assert tokenizer.encode("a c b") == [5, 1, 6]
    assert tokenizer.decode([5, 1, 6]) == "a b"


def test_the_same_texts_give_the_same_tokenizer() -> None:
    for kind in KINDS:
        if kind == "unigram":
            continue  # the library sums in the order of a hash table: a run keeps the tokenizer that it began with
        assert learn(TEXTS, kind, 60).to_json() == learn(TEXTS, kind, 60).to_json()


BROKEN = {"no JSON": "{", "no tokenizer": "{}", "a list": "[]", "half": '{"kind": "words"}'}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_tokenizer_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(NablacError) as caught:
        read_tokenizer(path)
    assert caught.value.diagnostics[0].code == "E850"


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    for name, code in (("none.json", "E903"), ("bytes.json", "E821"), ("vocab.txt", "E850")):
        with pytest.raises(NablacError) as caught:
            read_tokenizer(tmp_path / name)
        assert caught.value.diagnostics[0].code == code


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
