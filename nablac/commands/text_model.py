"""A model of texts from the command line: a run's folder, or a .model file with weights and a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grammar import codes
from nablac.commands.compiled import compiled
from nablac.commands.options import ModelOptions
from nablac.commands.output import is_quiet, note_untrained

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def text_model(options: ModelOptions, tokenizer_file: Path | None) -> tuple[Model, Tokenizer]:
    """The model and its tokenizer: the one that a file holds, or the one that it was trained with.

    NablacError where there is none.
    """
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.text.tokenizers import read_tokenizer

    tokenizer = read_tokenizer(tokenizer_file) if tokenizer_file is not None else None
    model = compiled(options)
    if tokenizer is None and model.fitted is not None:
        tokenizer = model.fitted.tokenizer
    if tokenizer is None:
        hint = "pass `--tokenizer FILE`; the folder of a run on texts has its own"
        place = str(options.file)
        raise NablacError(Diagnostic(codes.E853, f"{options.file} has no tokenizer", place=place, hint=hint))
    if model.is_drawn:
        note_untrained(is_quiet())
    return model, tokenizer
