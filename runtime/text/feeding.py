"""Texts as the input of a model of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.dims import Dim
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError
from runtime.reading import ENDINGS, STDIN, Wanted, read_inputs
from runtime.text.tokenizers import PADDING, Tokenizer

if TYPE_CHECKING:
    from compiler.types import Array


def read_texts_or_inputs(
    arguments: list[str],
    types: Mapping[str, Wanted],
    tokenizer: Tokenizer | None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Array]:
    """Texts, one an argument, as rows of tokens where there is a tokenizer and one input to take them; else files.

    Shorter rows are filled up with padding.
    """
    real = [name for name in types if name != "seed"]
    type = types[real[0]] if len(real) == 1 else None
    takes = isinstance(type, TensorType) and type.dtype.is_integer and type.rank == 2
    if tokenizer is None or not takes or not arguments or any(map(_names_a_file, arguments)):
        return read_inputs(arguments, types, say)
    assert isinstance(type, TensorType)
    rows = [tokenizer.prompt(text) for text in arguments]
    for number, row in enumerate(rows, 1):
        if not row:
            raise NablacError(Diagnostic("E852", "this text is empty", place=f"text {number}"))
    longest = max(map(len, rows))
    fixed = type.shape[1]
    if not isinstance(fixed, Dim) and longest > fixed:
        message = f"a text of {longest:,} tokens is too long: `{real[0]}` has {fixed:,} places"
        raise NablacError(Diagnostic("E855", message, place="INPUTS", hint="shorten it"))
    width = longest if isinstance(fixed, Dim) else fixed
    filled = [[*row, *[PADDING] * (width - len(row))] for row in rows]
    return {real[0]: np.array(filled, type.dtype.numpy)}


def _names_a_file(argument: str) -> bool:
    path = argument.partition("=")[2] or argument
    try:
        return path == STDIN or Path(path.split(":")[0]).suffix in ENDINGS or Path(path).is_file()
    except (OSError, ValueError):
        return False
