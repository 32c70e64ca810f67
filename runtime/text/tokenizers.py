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
from pathlib import Path
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
    """What training and generation need of a tokenizer."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def size(self) -> int:
        """How many tokens there are."""

    @property
    def begin(self) -> int | None:
        """The token that a text begins with, if one does."""

    @property
    def end(self) -> int | None:
        """The token that a text ends with, if one does."""

    @property
    def unknown(self) -> int | None:
        """The token for what the tokenizer does not know, if there is one."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without begin and end."""

    def prompt(self, text: str) -> list[int]:
        """The tokens of a text with the special ones that its tokenizer puts around it."""

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""

    def to_json(self) -> str:
        """What `from_json` makes the tokenizer of again."""


@dataclass(frozen=True)
class Listed:
    """Characters or words by their place in a list, after special tokens."""

    kind: str
    known: tuple[str, ...]
    special: tuple[str, ...] = SPECIAL
    numbers: dict[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        numbers = {token: number for number, token in enumerate(self.known, len(self.special))}
        object.__setattr__(self, "numbers", numbers)

    @property
    def size(self) -> int:
        return len(self.special) + len(self.known)

    @property
    def begin(self) -> int | None:
        return BEGIN if len(self.special) > BEGIN else None

    @property
    def end(self) -> int | None:
        return END if len(self.special) > END else None

    @property
    def unknown(self) -> int:
        return UNKNOWN if len(self.special) > UNKNOWN else 0

    def encode(self, text: str) -> list[int]:
        return [self.numbers.get(part, self.unknown) for part in pieces(text, self.kind)]

    def prompt(self, text: str) -> list[int]:
        return self.encode(text)

    def decode(self, numbers: Sequence[int]) -> str:
        first = len(self.special)
        parts = [self.known[number - first] for number in numbers if first <= number < self.size]
        if self.kind == "characters":
            return "".join(parts)
        return _TIGHT.sub("", " ".join(parts))

    def to_json(self) -> str:
        stored = {"kind": self.kind, "special": self.special, "known": self.known}
        return json.dumps(stored, ensure_ascii=False)


class Learnt:
    """A tokenizer of the tokenizers library."""

    def __init__(self, kind: str, library: Any) -> None:
        self.kind, self.library = kind, library

    @property
    def size(self) -> int:
        return int(self.library.get_vocab_size())

    @property
    def begin(self) -> int | None:
        return self._first("<s>", "<bos>", "[CLS]", "<|begin_of_text|>", "<|endoftext|>")

    @property
    def end(self) -> int | None:
        return self._first("</s>", "<eos>", "[SEP]", "<|end_of_text|>", "<|endoftext|>")

    @property
    def unknown(self) -> int | None:
        return self._first("<unk>", "[UNK]")

    def _first(self, *names: str) -> int | None:
        found = (self.library.token_to_id(name) for name in names)
        return next((number for number in found if number is not None), None)

    def encode(self, text: str) -> list[int]:
        return list(self.library.encode(text, add_special_tokens=False).ids)

    def prompt(self, text: str) -> list[int]:
        return list(self.library.encode(text, add_special_tokens=True).ids)

    def decode(self, numbers: Sequence[int]) -> str:
        return str(self.library.decode([int(number) for number in numbers], skip_special_tokens=True))

    def to_json(self) -> str:
        return json.dumps({"kind": self.kind, "library": self.library.to_str()}, ensure_ascii=False)


def pieces(text: str, kind: str) -> list[str]:
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
        counted.update(pieces(text, kind))
    ranked = sorted(counted, key=lambda token: (-counted[token], token))  # equal counts in one order everywhere
    return Listed(kind, tuple(ranked[: max(0, most - len(SPECIAL))]))


def from_json(text: str) -> Tokenizer:
    """What `to_json` wrote; NablacError for anything else."""
    try:
        stored = json.loads(text)
        if "library" in stored:
            return Learnt(stored["kind"], _library().Tokenizer.from_str(stored["library"]))
        return Listed(stored["kind"], tuple(stored["known"]), tuple(stored["special"]))
    except NablacError:
        raise
    except Exception as error:  # the library's own exceptions have no base but this
        raise NablacError(Diagnostic("E850", f"this is no tokenizer: {error}", place=KEY)) from None


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json` of the tokenizers library, a `vocab.txt` of WordPiece, or what `to_json` wrote."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise NablacError(Diagnostic("E903", f"{path} cannot be read: {error.strerror}", place=str(path))) from None
    except UnicodeDecodeError as error:
        raise NablacError(Diagnostic("E821", "this is no UTF-8 text", place=f"{path}: byte {error.start}")) from None
    try:
        if path.suffix == ".txt":
            return _word_pieces(text.splitlines())
        stored = json.loads(text)
        if isinstance(stored, dict) and "model" in stored:
            library = _library().Tokenizer.from_str(text)
            library.no_padding()
            library.no_truncation()
            return Learnt(str(stored["model"].get("type", "bpe")).lower(), library)
    except NablacError:
        raise
    except Exception as error:  # as above
        raise NablacError(Diagnostic("E850", f"this is no tokenizer: {error}", place=str(path))) from None
    return from_json(text)


def _word_pieces(entries: list[str]) -> Learnt:
    """BERT's tokenizer over a vocabulary (Devlin et al. 2018): lower case, no accents, where that has no capitals."""
    library = _library()
    numbers = {piece: number for number, piece in enumerate(entries)}
    if "[UNK]" not in numbers:
        raise ValueError("a vocab.txt has an entry [UNK]")
    lower = not any(piece != piece.lower() for piece in entries if not piece.startswith("["))
    made = library.Tokenizer(library.models.WordPiece(numbers, unk_token="[UNK]"))
    made.normalizer = library.normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    made.decoder = library.decoders.WordPiece()
    made.add_special_tokens([piece for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if piece in numbers])
    if {"[CLS]", "[SEP]"} <= numbers.keys():
        ends = [(name, numbers[name]) for name in ("[CLS]", "[SEP]")]
        made.post_processor = library.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return Learnt("wordpiece", made)


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
        return _learn_word_pieces(texts, most)
    else:
        made = library.Tokenizer(models.Unigram())
        special = list(SPECIAL)
        trainer = trainers.UnigramTrainer(
            vocab_size=most, special_tokens=special, unk_token=SPECIAL[UNKNOWN], show_progress=False
        )
    made.pre_tokenizer = library.pre_tokenizers.Metaspace()
    made.decoder = library.decoders.Metaspace()
    made.train_from_iterator(texts, trainer)
    return Learnt(kind, made)


def _learn_word_pieces(texts: list[str], most: int) -> Learnt:
    """WordPiece (Schuster and Nakajima 2012), the same for the same texts in every process.

    The library's trainer numbers the letters inside of words in the order of a hash table that changes from process to
    process: here they are numbered before it begins.
    """
    library = _library()
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()})
    numbered = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    made = library.Tokenizer(library.models.WordPiece(unk_token=SPECIAL[UNKNOWN]))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    size = max(most, len(numbered))
    made.train_from_iterator(
        texts, library.trainers.WordPieceTrainer(vocab_size=size, special_tokens=numbered, show_progress=False)
    )
    found = sorted(made.get_vocab().items(), key=lambda pair: pair[1])[:most]
    plain = library.Tokenizer(library.models.WordPiece(dict(found), unk_token=SPECIAL[UNKNOWN]))
    plain.pre_tokenizer = library.pre_tokenizers.Whitespace()
    plain.decoder = library.decoders.WordPiece()
    plain.add_special_tokens(list(SPECIAL))
    return Learnt("wordpiece", plain)
