"""A model of texts from the command line: a run's folder, or a .model file with weights and a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablac.commands.options import compiled
from nablac.commands.output import note

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def text_model(file: Path, given: Mapping[str, Any]) -> tuple[Model, Tokenizer]:
    """The model and its tokenizer; `given` has the options of a model and its weights, and `tokenizer`."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.text.tokenizers import read_tokenizer

    tokenizer = read_tokenizer(given["tokenizer"]) if given["tokenizer"] is not None else None
    if file.is_dir():
        file, given, own = of_run(file, given)
        tokenizer = tokenizer or own
    if tokenizer is None:
        hint = "`--tokenizer FILE` gives one; the folder of a run on texts has its own"
        raise NablacError(Diagnostic("E853", f"{file} has no tokenizer", place=str(file), hint=hint))
    if given["weights"] is None:
        note("note: untrained weights, drawn from --seed; --weights FILE loads trained ones", bool(given.get("quiet")))
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


def of_run(folder: Path, given: Mapping[str, Any]) -> tuple[Path, dict[str, Any], Tokenizer | None]:
    """The model of a run, as it was begun, with its best weights, and its tokenizer."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.training.folder import RunFolder

    run, record = RunFolder.existing(folder)
    weights = folder / "weights.safetensors"
    if not weights.is_file():
        hint = f"`nablac train --resume {folder}` finishes it"
        message = f"{folder} is not finished: it has no weights"
        raise NablacError(Diagnostic("E853", message, place=str(folder), hint=hint))
    begun = record.get("command", {})
    kept = {name: begun[name] for name in ("name", "preset") if begun.get(name)}
    settings = (*begun.get("settings", ()), *given["settings"])
    return (
        folder / "spec.model",
        {**given, **kept, "settings": settings, "weights": given["weights"] or weights},
        run.tokenizer(),
    )
