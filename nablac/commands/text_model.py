"""A model of texts from the command line: a run's folder, or a .model file with weights and a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablac.commands.options import compiled
from nablac.commands.output import note_untrained
from nablac.commands.runs import of_run

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def text_model(file: Path, given: Mapping[str, Any]) -> tuple[Model, Tokenizer]:
    """The model and its tokenizer; `given` has the options of a model and its weights, and `tokenizer`."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.text.tokenizers import read_tokenizer

    tokenizer = read_tokenizer(given["tokenizer"]) if given["tokenizer"] is not None else None
    if file.is_dir():
        tokenizer = tokenizer or tokenizer_of(file)
        file, given = of_run(file, given)
    if tokenizer is None:
        hint = "`--tokenizer FILE` gives one; the folder of a run on texts has its own"
        raise NablacError(Diagnostic("E853", f"{file} has no tokenizer", place=str(file), hint=hint))
    if given["weights"] is None:
        note_untrained(bool(given.get("quiet")))
    keys = ("weights", "rename", "backend", "device", "seed")
    model = compiled(
        file,
        given["name"],
        given["preset"],
        tuple(given["settings"]),
        given["dtype"],
        **{key: given[key] for key in keys if key in given},
    )
    return model, tokenizer


def tokenizer_of(run: Path) -> Tokenizer | None:
    """What a run's texts were cut by, if it is a run on texts."""
    from runtime.data.fitted import read_fitted

    fitted = read_fitted(run)
    return fitted.tokenizer if fitted is not None else None
