"""The tokens of a text from a person, who hears where it is not UTF-8, or too long for the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grammar.diagnostics import Diagnostic, NablacError
from runtime.text.tokenizers import Tokenizer

LONGEST = 4096  # tokens of a text, where nothing else limits it: attention takes the square of their number


def tokens_of(
    tokenizer: Tokenizer,
    text: str,
    role: Callable[[Tokenizer, str], list[int]],
    place: str,
    *,
    what: str = "text",
    name: str = "the model",
    positions: int | None = None,
    longest: int = LONGEST,
    option: str | None = None,
    empty: Sequence[int] = (),
    hint: str | None = None,
) -> list[int]:
    """The tokens of a text in its role; NablacError for bytes that are no text, and for a text too long.

    An empty text is replaced by the tokens `empty`; where there are none it is an error. `option` says what
    raises the limit `longest`, if something does.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # the bytes of an argument that are no UTF-8 come as lone surrogates
        raise NablacError(Diagnostic("E821", "this is not UTF-8 text", place=place)) from None
    tokens = role(tokenizer, text) if tokenizer.encode(text) else list(empty)
    if not tokens:
        raise NablacError(Diagnostic("E852", f"this {what} is empty", place=place, hint=hint))
    if positions is not None and len(tokens) > positions:
        message = f"a text of {len(tokens):,} tokens is too long: {name} has {positions:,} positions"
        raise NablacError(Diagnostic("E855", message, place=place, hint="shorten it"))
    if len(tokens) > longest:
        message = f"a text of {len(tokens):,} tokens is too long: {longest:,} are taken"
        hint = f"shorten it, or raise `{option}`" if option is not None else "shorten it"
        raise NablacError(Diagnostic("E855", message, place=place, hint=hint))
    return tokens
