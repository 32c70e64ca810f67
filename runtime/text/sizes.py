"""Whether a tokenizer is one for a model: each of its tokens has a row in the model's tables."""

from __future__ import annotations

from grammar.diagnostics import Diagnostic, NablacError
from runtime.text.tokenizers import Tokenizer


def check_size(tokenizer: Tokenizer, vocabulary: int, name: str) -> None:
    """NablacError (E851) where there are more tokens than the model `name` knows."""
    if tokenizer.size > vocabulary:
        message = f"the tokenizer has {tokenizer.size:,} tokens, and {name} knows {vocabulary:,}"
        hint = f"train the model with `vocabulary` of at least {tokenizer.size}, or give its own tokenizer"
        raise NablacError(Diagnostic("E851", message, place="the tokenizer", hint=hint))
