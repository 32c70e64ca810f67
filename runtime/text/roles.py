"""The tokens of a text in each of its roles, the same in training and in inference.

A tokenizer may put special tokens around a text, such as BERT's (`[CLS] ... [SEP]`) and T5's (`... </s>`).
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.text.tokenizers import Tokenizer


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text that is read as a whole: a sentence to translate, to classify, to embed."""
    before, after = tokenizer.around
    return [*before, *tokenizer.encode(text), *after]


def prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text to be continued, without an end token."""
    before, _ = tokenizer.around
    return [*before, *tokenizer.encode(text)]


def start(tokenizer: Tokenizer) -> int:
    """The first token of a decoder: the begin token, or the padding if there is none (Raffel et al. 2019)."""
    if tokenizer.begin is not None:
        return tokenizer.begin
    return tokenizer.padding or 0


def answer(tokenizer: Tokenizer, coded: Sequence[int]) -> list[int]:
    """The tokens of an answer as the decoder's input; its targets are the same tokens, one step later."""
    return [start(tokenizer), *coded]
