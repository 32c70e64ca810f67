"""A run's folder in the place of a model's file: its text, its settings, its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grammar import codes
from nablac.commands.options import ModelOptions, asked

if TYPE_CHECKING:
    from runtime.training.run_options import Options
    from runtime.training.run_record import Record

MODEL = ("model", "preset", "set", "dtype")  # the choices of a run that its model is made of
DATA = ("batch", "seed", "validation", "data", "overfit", "skip_broken")  # and its data


@dataclass(frozen=True)
class Run:
    """A run's folder, and how the run was begun; what a user asks for now goes before that."""

    folder: Path
    record: Record

    @property
    def choices(self) -> dict[str, Any]:
        """What the run was started with, by the names of a command's parameters."""
        return {**asdict(self.record.choices), **asdict(self.record.length)}

    def model(self, options: ModelOptions) -> ModelOptions:
        """The model of a finished run with its best weights; NablacError where it has none yet."""
        from grammar.diagnostics import Diagnostic, NablacError
        from runtime.training.folder import WEIGHTS
        from runtime.training.program_texts import SPEC

        options = self.begun_model(options)
        weights = options.weights or self.folder / WEIGHTS
        if not weights.is_file():
            hint = f"`nablac train --resume {self.folder}` finishes it"
            message = f"{self.folder} is not finished: it has no weights"
            raise NablacError(Diagnostic(codes.E853, message, place=str(self.folder), hint=hint))
        return replace(options, file=self.folder / SPEC, weights=weights)

    def begun_model(self, options: ModelOptions) -> ModelOptions:
        """The model that the run was started with, with its file from `options`, which may set hyperparameters."""
        from compiler.elaborate.presets import parse_settings

        kept = _not_asked(self.choices, MODEL)
        settings = parse_settings(self.record.choices.set)
        if asked("set"):
            settings |= parse_settings(options.set)
        texts = tuple(f"{name}={value}" for name, value in settings.items())
        return replace(options, **{**kept, "set": texts}, data_folder=self.record.data_folder(self.folder))

    def begun_options(self, options: Options, names: Iterable[str] | None = None) -> Options:
        """The options that the run was started with: those of these names, or all of them."""
        of_run = self.choices
        names = names if names is not None else [name for name in of_run if name not in MODEL]
        return replace(options, **_not_asked(of_run, names))


def _not_asked(choices: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: choices[name] for name in names if not asked(name)}


def is_run(folder: Path) -> bool:
    """Whether this is the folder of a run."""
    if not folder.is_dir():
        return False
    from runtime.training.trained import RECORD

    return (folder / RECORD).is_file()


def read_run(folder: Path) -> Run:
    """The run in a folder; NablacError for a folder that is none of a run."""
    from runtime.training.run_record import read_record

    return Run(folder, read_record(folder))
