"""A model of texts from the command line: a run's folder, or a .model file with weights and a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablac.commands.options import compiled
from nablac.commands.output import note_untrained

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def text_model(file: Path, given: Mapping[str, Any]) -> tuple[Model, Tokenizer]:
    """The model and its tokenizer; `given` has the options of a model and its weights, and `tokenizer`."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.text.tokenizers import read_tokenizer

    tokenizer = read_tokenizer(given["tokenizer"]) if given["tokenizer"] is not None else None
    keys = ("weights", "rename", "backend", "device", "seed")
    model = compiled(
        file,
        given["name"],
        given["preset"],
        tuple(given["settings"]),
        given["dtype"],
        **{key: given[key] for key in keys if key in given},
    )
    if tokenizer is None and model.fitted is not None:
        tokenizer = model.fitted.tokenizer
    if tokenizer is None:
        hint = "`--tokenizer FILE` gives one; the folder of a run on texts has its own"
        raise NablacError(Diagnostic("E853", f"{file} has no tokenizer", place=str(file), hint=hint))
    if model.is_drawn:
        note_untrained(bool(given.get("quiet")))
    return model, tokenizer
