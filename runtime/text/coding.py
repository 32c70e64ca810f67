"""The tokens of a text from a user, with errors for texts that are not UTF-8, or too long for the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.text.tokenizers import Tokenizer

LONGEST = 4096  # tokens of a text, if nothing else limits it: the cost of attention is quadratic


@dataclass(frozen=True)
class TextLimit:
    """How many tokens a text may have, and the name of what limits them."""

    name: str = "the model"
    positions: int | None = None  # of the model; None if it has no limit
    longest: int = LONGEST
    option: str | None = None  # that raises `longest`, if there is one


def tokens_of(
    tokenizer: Tokenizer,
    text: str,
    role: Callable[[Tokenizer, str], list[int]],
    location: str,
    limit: TextLimit = TextLimit(),
    *,
    what: str = "text",
    empty: Sequence[int] = (),
    hint: str | None = None,
) -> list[int]:
    """The tokens of a text in its role; NablacError for bytes that are not UTF-8, and for a text too long.

    An empty text is replaced by the tokens `empty`; if there are none it is an error, with the `hint`. `what` is the
    word for the text in messages, `location` its source.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # invalid bytes in command-line arguments become lone surrogates
        raise NablacError(Diagnostic(codes.E821, "this is not UTF-8 text", place=location)) from None
    tokens = role(tokenizer, text) if tokenizer.encode(text) else list(empty)
    if not tokens:
        raise NablacError(Diagnostic(codes.E852, f"this {what} is empty", place=location, hint=hint))
    message = f"a text of {len(tokens):,} tokens is too long: "
    if limit.positions is not None and len(tokens) > limit.positions:
        message += f"{limit.name} has {limit.positions:,} positions"
        raise NablacError(Diagnostic(codes.E855, message, place=location, hint="shorten it"))
    if len(tokens) > limit.longest:
        message += f"the limit is {limit.longest:,}"
        hint = f"shorten it, or raise `{limit.option}`" if limit.option is not None else "shorten it"
        raise NablacError(Diagnostic(codes.E855, message, place=location, hint=hint))
    return tokens
