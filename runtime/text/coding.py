"""The tokens of a text that a person gave: what is no text, or too long for the model, is told at its place."""

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
    places: int | None = None,
    longest: int = LONGEST,
    option: str | None = None,
    empty: Sequence[int] = (),
    hint: str | None = None,
) -> list[int]:
    """The tokens of a text in its role; NablacError for bytes that are no text, and for a text too long.

    In the place of an empty text stand the tokens `empty`; where there are none it is an error. `option` says what
    raises the limit `longest`, if something does.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # the bytes of an argument that are no UTF-8 come as lone surrogates
        raise NablacError(Diagnostic("E821", "this is not UTF-8 text", place=place)) from None
    found = role(tokenizer, text) if tokenizer.encode(text) else list(empty)
    if not found:
        raise NablacError(Diagnostic("E852", f"this {what} is empty", place=place, hint=hint))
    if places is not None and len(found) > places:
        message = f"a text of {len(found):,} tokens is too long: {name} has {places:,} positions"
        raise NablacError(Diagnostic("E855", message, place=place, hint="shorten it"))
    if len(found) > longest:
        message = f"a text of {len(found):,} tokens is too long: {longest:,} are taken"
        hint = f"shorten it, or raise `{option}`" if option is not None else "shorten it"
        raise NablacError(Diagnostic("E855", message, place=place, hint=hint))
    return found
