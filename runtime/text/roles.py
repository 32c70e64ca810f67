"""The tokens of a text in each role that it has, the same in training and afterwards.

A tokenizer may put special tokens around a text, as BERT's does (`[CLS] ... [SEP]`) and T5's (`... </s>`).
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.text.tokenizers import Tokenizer


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text that is read as a whole: a sentence to translate, to classify, to embed."""
    before, after = tokenizer.around
    return [*before, *tokenizer.encode(text), *after]


def prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text that goes on: nothing ends it."""
    before, _ = tokenizer.around
    return [*before, *tokenizer.encode(text)]


def start(tokenizer: Tokenizer) -> int:
    """What a decoder begins with: the begin token, of a tokenizer without one its padding (Raffel et al. 2019)."""
    if tokenizer.begin is not None:
        return tokenizer.begin
    return tokenizer.padding or 0


def answer(tokenizer: Tokenizer, coded: Sequence[int]) -> list[int]:
    """The tokens of an answer as a decoder is fed them; what it has to predict is the same, one step later."""
    return [start(tokenizer), *coded]
