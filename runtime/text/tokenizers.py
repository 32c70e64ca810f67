"""Tokenizers: from a text to the ids of its tokens, and back. Compiled models store them as JSON in their metadata.

`characters` and `words` need nothing else; `bpe`, `wordpiece` and `unigram`, and a `tokenizer.json` of others, need the
extra `text` (the tokenizers library).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_JSON, decode, read_file, silence_stderr, translate_errors
from runtime.text.regex_checks import check_expressions
from runtime.text.words import KINDS as LISTED
from runtime.text.words import SPACING, join, pieces

KEY = "nablac.tokenizer"  # of the metadata
PADDING, UNKNOWN, BEGIN, END, MASK = 0, 1, 2, 3, 4
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
LEARNT = ("bpe", "wordpiece", "unigram")
KINDS = (*LISTED, *LEARNT)


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

    @property
    def padding(self) -> int | None:
        """The token that short rows are padded with, if there is one."""

    @property
    def mask(self) -> int | None:
        """The token that masks others, if there is one."""

    @property
    def around(self) -> tuple[Sequence[int], Sequence[int]]:
        """The special tokens before and after a whole text."""

    @property
    def ordinary(self) -> Sequence[int]:
        """The tokens that stand for text, in order: all but the special ones."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without those around it."""

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""

    def to_json(self) -> str:
        """The JSON that `from_json` restores the tokenizer from."""


@dataclass(frozen=True)
class ListTokenizer:
    """Characters or words by their index in a list, after special tokens."""

    kind: str
    known: tuple[str, ...]
    special: tuple[str, ...] = SPECIAL
    numbers: dict[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        numbers = {token: number for number, token in enumerate(self.known, len(self.special))}
        object.__setattr__(self, "numbers", numbers)

    @property
    def size(self) -> int:
        """The special tokens and the known ones."""
        return len(self.special) + len(self.known)

    @property
    def begin(self) -> int | None:
        """BEGIN, where there are that many special tokens."""
        return BEGIN if len(self.special) > BEGIN else None

    @property
    def end(self) -> int | None:
        """END, where there are that many special tokens."""
        return END if len(self.special) > END else None

    @property
    def unknown(self) -> int:
        """UNKNOWN; 0 where there is one special token only."""
        return UNKNOWN if len(self.special) > UNKNOWN else 0

    @property
    def padding(self) -> int | None:
        """PADDING, where there is more than one special token."""
        return PADDING if len(self.special) > 1 else None

    @property
    def mask(self) -> int | None:
        """MASK, where there are that many special tokens."""
        return MASK if len(self.special) > MASK else None

    @property
    def around(self) -> tuple[Sequence[int], Sequence[int]]:
        """None on either side."""
        return (), ()

    @property
    def ordinary(self) -> Sequence[int]:
        """The numbers of the known tokens."""
        return range(len(self.special), self.size)

    def encode(self, text: str) -> list[int]:
        """The number of each piece of a text; `unknown` for a piece without one."""
        return self.numbers_of(pieces(text, self.kind))

    def numbers_of(self, parts: Iterable[str]) -> list[int]:
        """The numbers of pieces."""
        skipped = SPACING if self.kind == "words" else ()  # marks of unusual spacing are skipped if not known
        known = (part for part in parts if part in self.numbers or part not in skipped)
        return [self.numbers.get(part, self.unknown) for part in known]

    def decode(self, numbers: Sequence[int]) -> str:
        """The known pieces, joined."""
        first = len(self.special)
        parts = [self.known[number - first] for number in numbers if first <= number < self.size]
        return join(parts, self.kind)

    def to_json(self) -> str:
        """The kind and the tokens."""
        stored = {"kind": self.kind, "special": self.special, "known": self.known}
        return json.dumps(stored, ensure_ascii=False)


class LibraryTokenizer:
    """A tokenizer of the tokenizers library."""

    def __init__(self, kind: str, library: Any) -> None:
        self.kind, self.library = kind, library

    @cached_property
    def size(self) -> int:
        """The largest number and one; numbers may leave gaps."""
        return max(self.library.get_vocab().values(), default=-1) + 1  # numbers may leave gaps

    @cached_property
    def begin(self) -> int | None:
        """The first of the usual begin tokens that the vocabulary has."""
        return self._first("<s>", "<bos>", "[CLS]", "<|begin_of_text|>", "<|endoftext|>")

    @cached_property
    def end(self) -> int | None:
        """The first of the usual end tokens that the vocabulary has, else the token after a text."""
        token = self._first("</s>", "<eos>", "[SEP]", "<|end_of_text|>", "<|endoftext|>")
        _, after = self.around
        return after[0] if token is None and after else token

    @property
    def unknown(self) -> int | None:
        """The usual token for unknown text, if the vocabulary has one."""
        return self._first("<unk>", "[UNK]")

    @property
    def padding(self) -> int | None:
        """The first of the usual padding tokens that the vocabulary has, else 0 if that decodes to an empty text."""
        token = self._first("<pad>", "[PAD]", "<|pad|>", "<|padding|>")
        return PADDING if token is None and not self.decode([PADDING]) else token

    @property
    def mask(self) -> int | None:
        """The usual mask token, if the vocabulary has one."""
        return self._first("<mask>", "[MASK]")

    @cached_property
    def around(self) -> tuple[Sequence[int], Sequence[int]]:
        """The tokens that the library puts before and after a text; NablacError (E850) if it fails."""
        with translate_errors("the tokenizer", "tokens of a text", codes.E850), silence_stderr():
            encoding = self.library.encode("a", add_special_tokens=True)
        text = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
        if not text:
            return (), ()
        return tuple(encoding.ids[: text[0]]), tuple(encoding.ids[text[-1] + 1 :])

    @cached_property
    def ordinary(self) -> Sequence[int]:
        """All numbers but those of special tokens."""
        special = {number for number, token in self.library.get_added_tokens_decoder().items() if token.special}
        special |= {number for number in (self.begin, self.end, self.unknown, self.mask) if number is not None}
        return sorted(set(self.library.get_vocab().values()) - special)

    @cached_property
    def divides_at_spaces(self) -> bool:
        """Whether a text may be cut before a single space, and its parts give the tokens of the whole."""
        state = json.loads(self.library.to_str())
        divider = state["pre_tokenizer"] or {}
        whole = {
            "Metaspace": divider.get("prepend_scheme") == "always" and divider.get("split"),
            "WhitespaceSplit": True,
            "ByteLevel": divider.get("use_regex"),
            "BertPreTokenizer": True,
        }.get(str(divider.get("type")), False)
        plain = state["normalizer"] is None or state["normalizer"]["type"] == "BertNormalizer"
        return bool(whole and plain) and not any(
            added["lstrip"] or added["rstrip"] or any(map(str.isspace, added["content"]))
            for added in state["added_tokens"]
        )

    def _first(self, *names: str) -> int | None:
        numbers = (self.library.token_to_id(name) for name in names)
        return next((number for number in numbers if number is not None), None)

    def encode(self, text: str) -> list[int]:
        """The library's numbers; NablacError (E850) where it fails."""
        with translate_errors("the tokenizer", "tokens of a text", codes.E850), silence_stderr():
            return list(self.library.encode(text, add_special_tokens=False).ids)

    def decode(self, numbers: Sequence[int]) -> str:
        """The library's text; NablacError (E850) where it fails."""
        with translate_errors("the tokenizer", "the text of tokens", codes.E850), silence_stderr():
            return str(self.library.decode([int(number) for number in numbers], skip_special_tokens=True))

    def to_json(self) -> str:
        """The kind and the library's own JSON."""
        return json.dumps({"kind": self.kind, "library": self.library.to_str()}, ensure_ascii=False)


def from_json(text: str, location: str = KEY) -> Tokenizer:
    """Restore the tokenizer that `to_json` wrote; NablacError at `location` for anything else."""
    with translate_errors(location, "JSON", codes.E850):
        stored = json.loads(text)
    known = isinstance(stored, dict) and ("library" in stored or ("known" in stored and stored.get("kind") in LISTED))
    if not known:
        hint = "a `tokenizer.json` has an entry `model`; for WordPiece a `vocab.txt` is enough"
        raise _no_tokenizer("this JSON is not a tokenizer", location, hint)
    missing = [name for name in ("kind", "special" if "known" in stored else "library") if name not in stored]
    if missing:
        raise _no_tokenizer(f"this tokenizer has no entry `{missing[0]}`", location)
    with translate_errors(location, "a tokenizer", codes.E850):
        if "known" in stored:
            return ListTokenizer(stored["kind"], _texts(stored["known"]), _texts(stored["special"]))
        whole = stored["library"]
        return _of_library(whole, json.loads(whole), str(stored["kind"]), location)


def _texts(entries: Any) -> tuple[str, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError("its entries are not texts")
    return tuple(entries)


def _no_tokenizer(message: str, location: str, hint: str | None = None) -> NablacError:
    return NablacError(Diagnostic(codes.E850, message, place=location, hint=hint))


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json` of the tokenizers library, a `vocab.txt` of WordPiece, or what `to_json` wrote."""
    text = decode(read_file(path, LARGEST_JSON, pipes=True), str(path))
    with translate_errors(str(path), "a tokenizer", codes.E850):
        if path.suffix == ".txt":
            return _word_pieces(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))
        stored = json.loads(text)
        if isinstance(stored, dict) and isinstance(stored.get("model"), dict):
            return _of_library(text, stored, str(stored["model"].get("type", "bpe")).lower(), str(path))
    return from_json(text, str(path))


def _of_library(text: str, stored: Any, kind: str, location: str) -> LibraryTokenizer:
    """A tokenizer of the tokenizers library, from its JSON as text and parsed."""
    check_expressions(stored, location)
    known = ("BPE", "Unigram", "WordLevel", "WordPiece")
    model = stored.get("model") if isinstance(stored, dict) else None
    named = model.get("type") if isinstance(model, dict) else None
    if named is not None and named not in known:
        raise ValueError(f"its model is of the type `{str(named)[:20]}`; expected one of {', '.join(known)}")
    tokenizers = library()
    with silence_stderr():
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception:  # its message is about types of its Rust code
            raise ValueError("its parts are not what the tokenizers library writes") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return LibraryTokenizer(kind, tokenizer)


def _word_pieces(entries: list[str]) -> LibraryTokenizer:
    """BERT's tokenizer for a vocabulary (Devlin et al. 2018): without case and accents if that has no capitals."""
    tokenizers = library()
    numbers = {piece: number for number, piece in enumerate(entries)}
    if len(numbers) < len(entries):
        twice = next(piece for number, piece in enumerate(entries) if numbers[piece] != number)
        raise ValueError(f"`{twice}` appears in it twice")
    if "[UNK]" not in numbers:
        raise ValueError("a vocab.txt has an entry [UNK]")
    lower = not any(piece != piece.lower() for piece in entries if not piece.startswith("["))
    bert = tokenizers.Tokenizer(tokenizers.models.WordPiece(numbers, unk_token="[UNK]"))
    bert.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    bert.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    bert.decoder = tokenizers.decoders.WordPiece()
    bert.add_special_tokens([piece for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if piece in numbers])
    if {"[CLS]", "[SEP]"} <= numbers.keys():
        ends = [(name, numbers[name]) for name in ("[CLS]", "[SEP]")]
        bert.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return LibraryTokenizer("wordpiece", bert)


def library() -> Any:
    """The tokenizers library; NablacError where it is not installed."""
    try:
        import tokenizers
    except ImportError:
        hint = "pip install 'nablac[text]'; `characters` and `words` do not need it"
        raise NablacError(Diagnostic(codes.E809, "this tokenizer needs the extra `text`", hint=hint)) from None
    return tokenizers
