"""A text model from the command line: the folder of a run, or a .model file with weights and a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grammar import codes
from nablac.commands.model_options import ModelOptions
from nablac.commands.model_setup import set_up_model
from nablac.commands.output import is_quiet, note_untrained

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def text_model(options: ModelOptions, tokenizer_file: Path | None) -> tuple[Model, Tokenizer]:
    """The model and its tokenizer: the one in `tokenizer_file`, else the one that the model was trained with.

    NablacError if there is none.
    """
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.text.tokenizers import read_tokenizer

    tokenizer = read_tokenizer(tokenizer_file) if tokenizer_file is not None else None
    model = set_up_model(options)
    if tokenizer is None and model.fitted is not None:
        tokenizer = model.fitted.tokenizer
    if tokenizer is None:
        hint = "pass `--tokenizer FILE`; the folder of a run on texts has its own"
        message = f"{options.file} has no tokenizer"
        raise NablacError(Diagnostic(codes.E853, message, place=str(options.file), hint=hint))
    if model.is_drawn:
        note_untrained(is_quiet())
    return model, tokenizer
