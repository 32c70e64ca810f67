"""The tokens of a text in its roles: what a tokenizer puts around a text is there in training and afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.text import roles
from runtime.text.learning import learn
from runtime.text.tokenizers import Tokenizer, from_json, read_tokenizer

tokenizers = pytest.importorskip("tokenizers", reason="the extra `text` is not installed")


def bert(folder: Path) -> Tokenizer:
    (folder / "vocab.txt").write_text("[PAD]\na\nb\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "utf-8")
    return read_tokenizer(folder / "vocab.txt")


def t5(folder: Path) -> Tokenizer:
    return _by_words(folder, "</s>", after="</s>")


def llama(folder: Path) -> Tokenizer:
    return _by_words(folder, "<s>", "</s>", before="<s>")


def _by_words(folder: Path, *special: str, before: str = "", after: str = "") -> Tokenizer:
    """`<pad>` 0, `<unk>` 1, the special tokens, then `a` and `b`."""
    names = ("<pad>", "<unk>", *special)
    numbers = {name: number for number, name in enumerate((*names, "a", "b"))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(list(names))
    around = [(each, numbers[each]) for each in (before, after) if each]
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{before} $A {after}".split(), special_tokens=around
    )
    made.save(str(folder / "tokenizer.json"))
    return read_tokenizer(folder / "tokenizer.json")


# the tokens of `a b` as a whole, as a prompt, and what a decoder is fed of it as an answer
ROLES: dict[str, tuple[Callable[[Path], Tokenizer], list[int], list[int], list[int]]] = {
    "bert": (bert, [4, 1, 2, 5], [4, 1, 2], [4, 1, 2]),
    "t5": (t5, [3, 4, 2], [3, 4], [0, 3, 4]),
    "llama": (llama, [2, 4, 5], [2, 4, 5], [2, 4, 5]),
    "ours": (lambda folder: learn(["a b a"], "words", 10), [5, 6], [5, 6], [2, 5, 6]),
}


@pytest.mark.parametrize("name", ROLES)
def test_a_text_has_its_tokens_in_each_role(name: str, tmp_path: Path) -> None:
    made, whole, prompt, answer = ROLES[name]
    tokenizer = made(tmp_path)
    assert roles.whole(tokenizer, "a b") == whole
    assert roles.prompt(tokenizer, "a b") == prompt
    assert roles.answer(tokenizer, tokenizer.encode("a b")) == answer
    again = from_json(tokenizer.to_json())
    assert (roles.whole(again, "a b"), roles.prompt(again, "a b"), roles.start(again)) == (whole, prompt, answer[0])


def test_numbers_with_gaps_are_counted_to_the_largest(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 3, "b": 90}, "unk_token": "<unk>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    tokenizer = read_tokenizer(tmp_path / "tokenizer.json")
    assert (tokenizer.size, list(tokenizer.ordinary)) == (91, [3, 90])
