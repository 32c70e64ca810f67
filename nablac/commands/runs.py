"""The folder of a run used as a model: its text, its settings, its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablac.commands.model_options import ModelOptions
from nablac.commands.options import was_given

if TYPE_CHECKING:
    from runtime.training.run_options import Options
    from runtime.training.run_record import Record

MODEL = ("model", "preset", "set", "dtype")  # the options of a run that determine its model
DATA = ("batch", "seed", "validation", "data", "overfit", "skip_broken")  # and those that determine its examples


@dataclass(frozen=True)
class Run:
    """The folder of a run, and the options it was started with, which options of the present command override."""

    folder: Path
    record: Record

    @property
    def choices(self) -> dict[str, Any]:
        """The options that the run was started with, by parameter name of a command."""
        return {**asdict(self.record.choices), **asdict(self.record.length)}

    def model(self, options: ModelOptions) -> ModelOptions:
        """The model of a finished run with its best weights; NablacError if it has none yet."""
        from compiler.elaborate.program_texts import SPEC
        from runtime.training.folder import weights_of

        options = self.recorded_model(options)
        return replace(options, file=self.folder / SPEC, weights=options.weights or weights_of(self.folder))

    def recorded_model(self, options: ModelOptions) -> ModelOptions:
        """The model that the run was started with; its file, and hyperparameters that the user sets, from `options`."""
        from compiler.elaborate.presets import parse_settings

        recorded = _recorded_values(self.choices, MODEL)
        settings = parse_settings(self.record.choices.set)
        if was_given("set"):
            settings |= parse_settings(options.set)
        texts = tuple(f"{name}={value}" for name, value in settings.items())
        return replace(options, **{**recorded, "set": texts}, data_folder=self.record.data_folder(self.folder))

    def recorded_options(self, options: Options, names: Iterable[str] | None = None) -> Options:
        """The options with those that the run was started with: those in `names`, or all that are not of the model."""
        choices = self.choices
        names = names if names is not None else [name for name in choices if name not in MODEL]
        return replace(options, **_recorded_values(choices, names))


def _recorded_values(choices: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: choices[name] for name in names if not was_given(name)}


def read_run(folder: Path) -> Run:
    """The run in a folder; NablacError if it is not the folder of a run."""
    from runtime.training.run_record import read_record

    return Run(folder, read_record(folder))
