"""Texts as the input of a model of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from compiler.dims import Dim
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError
from runtime.reading import ENDINGS, PLAIN, STDIN, Reading, Wanted, read_inputs
from runtime.text.coding import tokens_of
from runtime.text.roles import whole
from runtime.text.tokenizers import PADDING, Tokenizer

if TYPE_CHECKING:
    from compiler.types import Array


def read_texts_or_inputs(
    arguments: list[str],
    types: Mapping[str, Wanted],
    tokenizer: Tokenizer | None,
    places: Mapping[str, int] | None = None,
    reading: Reading = PLAIN,
) -> dict[str, Array]:
    """Texts, one an argument, as rows of tokens where there is a tokenizer and one input to take them; else files.

    Shorter rows are filled up with padding. `places` are how long a text of an input can be (see runtime.text.places).
    """
    real = [name for name in types if name != "seed"]
    tokens = {name: type for name, type in types.items() if name in real and _of_tokens(type)}
    texts = [_text(argument, real) for argument in arguments]
    if not tokens or not texts or None in texts:
        return read_inputs(arguments, types, reading)
    if tokenizer is None and any(Path(text or "").suffix and len((text or "").split()) == 1 for text in texts):
        return read_inputs(arguments, types, reading)  # which tells what kinds of files there are
    if len(real) > 1:
        named = ", ".join(f"`{name}`" for name in real)
        hint = "`nablac generate` makes a text of a text; files of tokens feed each input: `name=tokens.npy`"
        raise NablacError(
            Diagnostic("E807", f"text alone does not feed {named}", place=_short(arguments[0]), hint=hint)
        )
    if tokenizer is None:
        message, hint = "there is no tokenizer to make tokens of texts", "`--tokenizer FILE` gives one"
        raise NablacError(Diagnostic("E853", message, place=_short(arguments[0]), hint=hint))
    ((name, type),) = tokens.items()
    fixed = type.shape[1]
    most = (places or {}).get(name) if isinstance(fixed, Dim) else fixed
    rows = [
        tokens_of(tokenizer, text or "", whole, f"text {number}", name=f"`{name}`", places=most)
        for number, text in enumerate(texts, 1)
    ]
    width = max(map(len, rows)) if isinstance(fixed, Dim) else fixed
    padding = tokenizer.padding or PADDING
    return {name: np.array([[*row, *[padding] * (width - len(row))] for row in rows], type.dtype.numpy)}


def _text(argument: str, names: list[str]) -> str | None:
    """The text that an argument is, `name=` left out; None of one that names a file, there or not."""
    name, sign, rest = argument.partition("=")
    text = rest if sign and name in names else argument
    path = text.split(":")[0]
    try:
        if text == STDIN or Path(text).is_file() or Path(path).is_file():
            return None
    except (OSError, ValueError):  # too long for a name, or with a byte that none has
        return text
    return None if Path(path).suffix.lower() in ENDINGS and len(path.split()) == 1 else text


def _of_tokens(type: Wanted) -> TypeGuard[TensorType]:
    return isinstance(type, TensorType) and type.dtype.is_integer and type.rank == 2


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."
