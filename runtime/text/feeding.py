"""Texts as the input of a model of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.dims import Dim
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError
from runtime.reading import ENDINGS, read_inputs
from runtime.text.roles import whole
from runtime.text.tokenizers import PADDING, Tokenizer

if TYPE_CHECKING:
    from compiler.types import Array


def read_texts_or_inputs(
    arguments: list[str], types: Mapping[str, TensorType], tokenizer: Tokenizer | None
) -> dict[str, Array]:
    """Texts, one an argument, as rows of tokens where there is a tokenizer and one input to take them; else files.

    Shorter rows are filled up with padding.
    """
    real = [name for name in types if name != "seed"]
    takes = len(real) == 1 and types[real[0]].dtype.is_integer and types[real[0]].rank == 2
    if tokenizer is None or not takes or not arguments or any(map(_names_a_file, arguments)):
        return read_inputs(arguments, dict(types))
    for number, text in enumerate(arguments, 1):
        if not tokenizer.encode(text):
            raise NablacError(Diagnostic("E852", "this text is empty", place=f"text {number}"))
    rows = [whole(tokenizer, text) for text in arguments]
    longest = max(map(len, rows))
    fixed = types[real[0]].shape[1]
    if not isinstance(fixed, Dim) and longest > fixed:
        message = f"a text of {longest:,} tokens is too long: `{real[0]}` has {fixed:,} places"
        raise NablacError(Diagnostic("E855", message, place="INPUTS", hint="shorten it"))
    width = longest if isinstance(fixed, Dim) else fixed
    padding = tokenizer.padding or PADDING
    filled = [[*row, *[padding] * (width - len(row))] for row in rows]
    return {real[0]: np.array(filled, types[real[0]].dtype.numpy)}


def _names_a_file(argument: str) -> bool:
    path = argument.partition("=")[2] or argument
    try:
        return Path(path.split(":")[0]).suffix in ENDINGS or Path(path).is_file()
    except (OSError, ValueError):
        return False
