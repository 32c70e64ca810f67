"""A run's folder in the place of a model's file: its text, its settings, its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablac.commands.options import asked

if TYPE_CHECKING:
    from runtime.training.run_record import Record

MODEL = ("model", "preset", "set", "dtype")  # the choices of a run that its model is made of
DATA = (*MODEL, "batch", "seed", "validation", "data", "overfit", "skip_broken")  # and its data
_OPTIONS = {"model": "name", "set": "settings"}  # that are called otherwise where commands take them


def of_run(folder: Path, given: Mapping[str, Any], names: Iterable[str] = MODEL) -> tuple[Path, dict[str, Any]]:
    """A finished run's model and its choices `names`, with its best weights; what was asked for now goes before."""
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.training.program_texts import SPEC
    from runtime.training.run_record import read_record

    chosen = as_begun(read_record(folder), folder, given, names)
    weights = chosen.get("weights") or folder / "weights.safetensors"
    if not weights.is_file():
        hint = f"`nablac train {folder / SPEC} --resume {folder}` finishes it"
        message = f"{folder} is not finished: it has no weights"
        raise NablacError(Diagnostic("E853", message, place=str(folder), hint=hint))
    return folder / SPEC, {**chosen, "weights": weights}


def as_begun(record: Record, run: Path, given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The options of a command, `names` as the run in `run` was begun with them where they were not asked for now.

    Of hyperparameters each is an option of its own.
    """
    from compiler.elaborate.presets import parse_settings

    every = {**asdict(record.choices), **asdict(record.length)}
    begun = {option_name(name): every[name] for name in names}
    kept = {name: value for name, value in begun.items() if not asked(name)}
    if "settings" in begun and asked("settings"):
        both = {**parse_settings(begun["settings"]), **parse_settings(given["settings"])}
        kept["settings"] = [f"{name}={value}" for name, value in both.items()]
    return {**given, **kept, "folder": record.data_folder(run)}


def option_name(choice: str) -> str:
    """What the parameter of commands is called that says a choice of a run."""
    return _OPTIONS.get(choice, choice)
