"""Tokenizers: a text to the numbers of its tokens, and back. They are stored as JSON in a compiled model's metadata.

`characters` and `words` need nothing else; `bpe`, `wordpiece` and `unigram`, and a `tokenizer.json` of others, need the
extra `text` (the tokenizers library).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

KEY = "nablac.tokenizer"  # of the metadata
PADDING, UNKNOWN, BEGIN, END, MASK = 0, 1, 2, 3, 4
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
LEARNT = ("bpe", "wordpiece", "unigram")
KINDS = ("characters", "words", *LEARNT)
_WORD = re.compile(r"\w+|[^\w\s]")
_TIGHT = re.compile(r" (?=[.,;:!?%)\]}\u2026])|(?<=[(\[{\u00ab]) |(?<=\w) (?=['\u2019])|(?<=['\u2019]) (?=\w)")


class Tokenizer(Protocol):
    """What training and generation need of a tokenizer; the first numbers are those of SPECIAL."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def size(self) -> int:
        """How many tokens there are."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without begin and end."""

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""

    def to_json(self) -> str:
        """What `from_json` makes the tokenizer of again."""


@dataclass(frozen=True)
class Listed:
    """Characters or words by their place in a list."""

    kind: str
    tokens: tuple[str, ...]  # SPECIAL first
    numbers: dict[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {token: number for number, token in enumerate(self.tokens)})

    @property
    def size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        return [self.numbers.get(part, UNKNOWN) for part in split(text, self.kind)]

    def decode(self, numbers: Sequence[int]) -> str:
        parts = [self.tokens[number] for number in numbers if len(SPECIAL) <= number < len(self.tokens)]
        if self.kind == "characters":
            return "".join(parts)
        return _TIGHT.sub("", " ".join(parts))

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind, "tokens": self.tokens[len(SPECIAL) :]}, ensure_ascii=False)


class Learnt:
    """A tokenizer of the tokenizers library."""

    def __init__(self, kind: str, library: Any) -> None:
        self.kind, self.library = kind, library

    @property
    def size(self) -> int:
        return int(self.library.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        return list(self.library.encode(text, add_special_tokens=False).ids)

    def decode(self, numbers: Sequence[int]) -> str:
        return str(self.library.decode([int(number) for number in numbers], skip_special_tokens=True))

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind, "library": self.library.to_str()}, ensure_ascii=False)


def split(text: str, kind: str) -> list[str]:
    """A text in characters, or in words and signs."""
    return list(text) if kind == "characters" else _WORD.findall(text)


def learn(texts: Iterable[str], kind: str, most: int) -> Tokenizer:
    """A tokenizer of at most `most` tokens for texts; NablacError for a kind that there is not."""
    if kind in LEARNT:
        return _learn_by_library(list(texts), kind, most)
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"there are {', '.join(KINDS)}"
        raise NablacError(Diagnostic("E850", f"there is no tokenizer `{kind}`", hint=hint))
    counted: Counter[str] = Counter()
    for text in texts:
        counted.update(split(text, kind))
    ranked = sorted(counted, key=lambda token: (-counted[token], token))  # equal counts in one order everywhere
    return Listed(kind, (*SPECIAL, *ranked[: max(0, most - len(SPECIAL))]))


def from_json(text: str) -> Tokenizer:
    """What `to_json` wrote; NablacError for anything else."""
    try:
        stored = json.loads(text)
        if "library" in stored:
            return Learnt(stored["kind"], _library().Tokenizer.from_str(stored["library"]))
        return Listed(stored["kind"], (*SPECIAL, *stored["tokens"]))
    except (ValueError, KeyError, TypeError) as error:
        raise NablacError(Diagnostic("E850", f"this is no tokenizer: {error}", place=KEY)) from None


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        hint = "pip install 'nablac[text]'; `characters` and `words` do without"
        raise NablacError(Diagnostic("E809", "this tokenizer needs the extra `text`", hint=hint)) from None
    return tokenizers


def _learn_by_library(texts: list[str], kind: str, most: int) -> Learnt:
    library = _library()
    models, trainers = library.models, library.trainers
    if kind == "bpe":
        made = library.Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
        trainer = trainers.BpeTrainer(vocab_size=most, special_tokens=list(SPECIAL), show_progress=False)
    elif kind == "wordpiece":
        made = library.Tokenizer(models.WordPiece(unk_token=SPECIAL[UNKNOWN]))
        trainer = trainers.WordPieceTrainer(vocab_size=most, special_tokens=list(SPECIAL), show_progress=False)
    else:
        made = library.Tokenizer(models.Unigram())
        special = list(SPECIAL)
        trainer = trainers.UnigramTrainer(
            vocab_size=most, special_tokens=special, unk_token=SPECIAL[UNKNOWN], show_progress=False
        )
    made.pre_tokenizer = library.pre_tokenizers.Metaspace()
    made.decoder = library.decoders.Metaspace() if kind != "wordpiece" else library.decoders.WordPiece()
    if kind == "wordpiece":
        made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.train_from_iterator(texts, trainer)
    return Learnt(kind, made)
