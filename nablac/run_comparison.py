"""Runs compared: the settings that differ, their results and histories."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from compiler.elaborate.presets import parse_settings
from compiler.elaborate.program_texts import IMPORTED, SPEC
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, NablacError
from grammar.parser import parse
from grammar.reading import read_source
from runtime.boundary import LARGEST_JSON, read_file
from runtime.training.checkpoints import best_epoch_kept
from runtime.training.event_reader import read_scalars
from runtime.training.folder import WEIGHTS
from runtime.training.run_record import Choices, read_record_and_facts

_LONGEST = 200  # of a setting's text


class ComparedRunJson(TypedDict):
    """One run."""

    run: Annotated[str, "its folder"]
    model: Annotated[str, "its name"]
    is_finished: Annotated[bool, "whether it has its final weights"]
    epochs: Annotated[int, "finished ones"]
    best_epoch: Annotated[int | None, "from 1: that of its weights"]
    monitor: Annotated[str, "the quantity that the best epoch is chosen by"]
    metrics: Annotated[dict[str, float], "every quantity in the best epoch"]
    parameters: Annotated[int | None, "the number of weights that are trained"]
    seconds: Annotated[float | None, "of all epochs"]
    settings: Annotated[dict[str, str], "hyperparameters, statements of the train block and options, as written"]


class ComparisonJson(TypedDict):
    """Runs side by side."""

    runs: Annotated[list[ComparedRunJson], "in the order of the command"]
    differences: Annotated[dict[str, list[str | None]], "of each setting that differs, its text in each run"]
    text_changes: Annotated[list[str], "of each run, how its text differs from that of the first, as a unified diff"]
    best: Annotated[str | None, "the folder of the best run; null if they monitor different quantities"]
    notes: Annotated[list[str], "why results may not be comparable"]


@dataclass(frozen=True)
class ComparedRun:
    """One run: its settings and results.

    `settings` are texts by name: hyperparameters, statements of the train block, options of the command.
    """

    folder: Path
    name: str  # as short as is distinct among the compared runs
    model: str
    parameters: int | None
    data: str  # a hash of its examples
    settings: Mapping[str, str]
    texts: Mapping[str, str]  # of the program, by path
    is_finished: bool
    monitor: str
    higher_is_better: frozenset[str]
    history: Mapping[str, Sequence[float]]
    seconds: float | None  # of all its epochs
    kept_epoch: int | None  # the best one, whose weights the run keeps; None if unknown

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return max(map(len, self.history.values()), default=0)

    @property
    def best(self) -> int | None:
        """The index of the best epoch: that of its weights, else by the monitored quantity; None if it has no value."""
        values = self.history.get(self.monitor, ())
        if self.kept_epoch is not None and 0 < self.kept_epoch <= len(values):
            return self.kept_epoch - 1
        sign = -1 if self.monitor.removeprefix("val_") in self.higher_is_better else 1
        indices = [index for index, value in enumerate(values) if math.isfinite(value)]
        return min(indices, key=lambda index: sign * values[index], default=None)

    @property
    def best_epoch(self) -> int | None:
        """The number of that epoch, from 1."""
        return self.best + 1 if self.best is not None else None

    @property
    def metrics(self) -> dict[str, float]:
        """Every quantity in the best epoch, the monitored one first."""
        if self.best is None:
            return {}
        values = {name: column[self.best] for name, column in self.history.items() if self.best < len(column)}
        values.pop("epoch", None)
        return {self.monitor: values[self.monitor]} | values

    def to_json(self) -> ComparedRunJson:
        """The run as `nablac compare --json` prints it."""
        return {
            "run": str(self.folder),
            "model": self.model,
            "is_finished": self.is_finished,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "monitor": self.monitor,
            "metrics": self.metrics,
            "parameters": self.parameters,
            "seconds": self.seconds,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True)
class Comparison:
    """Runs and the settings in which they differ: a text for each run, None if it has no such setting."""

    runs: tuple[ComparedRun, ...]
    differences: Mapping[str, tuple[str | None, ...]]
    notes: tuple[str, ...]  # reasons why results are not comparable

    @property
    def quantities(self) -> list[str]:
        """The names of all measured quantities, monitored ones first, learning rates last."""
        monitors = dict.fromkeys(run.monitor for run in self.runs if run.monitor in run.history)
        names = dict.fromkeys([*monitors, *(name for run in self.runs for name in run.history if name != "epoch")])
        return sorted(names, key=lambda name: name in ("lr", "learning_rate"))

    @property
    def winner(self) -> int | None:
        """The index of the run with the best monitored quantity; None if the runs monitor different ones."""
        if len({run.monitor for run in self.runs}) > 1:
            return None
        values = [run.metrics.get(run.monitor, math.nan) for run in self.runs]
        sign = -1 if self.runs[0].monitor.removeprefix("val_") in self.runs[0].higher_is_better else 1
        finite = [index for index, value in enumerate(values) if math.isfinite(value)]
        return min(finite, key=lambda index: sign * values[index], default=None)

    def changes(self, index: int) -> list[str]:
        """The lines of the texts in which a run differs from the first one, as a unified diff."""
        lines: list[str] = []
        first, run = self.runs[0], self.runs[index]
        for path in dict.fromkeys([*first.texts, *run.texts]):
            before, after = first.texts.get(path, ""), run.texts.get(path, "")
            names = f"{first.name}/{path}", f"{run.name}/{path}"
            lines += difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=2)
        return lines

    def to_json(self) -> ComparisonJson:
        """The comparison as `nablac compare --json` prints it."""
        return {
            "runs": [run.to_json() for run in self.runs],
            "differences": {name: list(values) for name, values in self.differences.items()},
            "text_changes": ["\n".join(self.changes(index)) for index in range(len(self.runs))],
            "best": str(self.runs[self.winner].folder) if self.winner is not None else None,
            "notes": list(self.notes),
        }


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Read the runs in folders; NablacError for a folder that is not one of a run."""
    names = _short_names(folders)
    runs = tuple(_read(folder, name) for folder, name in zip(folders, names, strict=True))
    settings = dict.fromkeys(name for run in runs for name in run.settings)
    columns = {name: tuple(run.settings.get(name) for run in runs) for name in settings}
    differences = {name: values for name, values in columns.items() if len(set(values)) > 1}
    return Comparison(runs, differences, tuple(_notes(runs)))


def _notes(runs: Sequence[ComparedRun]) -> list[str]:
    notes = []
    if len({run.data for run in runs}) > 1:
        notes.append("the runs have different data: their results are not comparable")
    if len({run.monitor for run in runs}) > 1:
        monitors = ", ".join(dict.fromkeys(run.monitor for run in runs))
        notes.append(f"the runs monitor different quantities ({monitors}): no best run is named")
    for run in runs:
        if not run.is_finished:
            state = f"it has finished {run.epochs:,} epochs" if run.epochs else "no epoch is finished yet"
            notes.append(f"{run.folder} is not finished: {state}")
    return notes


def _short_names(folders: Sequence[Path]) -> list[str]:
    """The last two parts of each path, or more if the names would not be distinct."""
    parts = [Path(folder).absolute().parts for folder in folders]
    longest = max(map(len, parts))
    for count in range(2, longest):
        names = ["/".join(path[-count:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _read(folder: Path, name: str) -> ComparedRun:
    record, facts = read_record_and_facts(folder)
    history = _history(folder)
    texts = {
        path.relative_to(folder).as_posix(): read_source(path).text
        for path in [folder / SPEC, *sorted((folder / IMPORTED).glob("*.model"))]
        if path.is_file()
    }
    times = read_scalars(folder, "seconds")
    guess = "val_loss" if "val_loss" in history else "loss"  # for runs of versions that did not record it
    higher = facts.get("higher_is_better")
    options = {name: value for name, value in asdict(record.length).items() if name != "keep"}
    return ComparedRun(
        folder,
        name,
        str(facts.get("model") or record.choices.model or ""),
        facts["parameters"] if isinstance(facts.get("parameters"), int) else None,
        record.examples,
        _settings(folder, record.choices, {**asdict(record.choices), **options}),
        texts,
        (folder / WEIGHTS).is_file(),
        str(facts.get("monitor") or guess),
        frozenset(map(str, higher)) if isinstance(higher, list) else frozenset(),
        history,
        sum(times.values()) if times else None,
        best_epoch_kept(folder / "checkpoints"),
    )


def _history(folder: Path) -> dict[str, list[float]]:
    """The history of a run, empty if no epoch is finished; NablacError for a file that is not a history."""
    path = folder / "history.json"
    if not path.is_file():
        return {}
    try:
        stored = json.loads(read_file(path, LARGEST_JSON))
        return {
            str(name): [math.nan if value is None else float(value) for value in values]
            for name, values in stored.items()
        }
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        message = f"{path} is not a run's history"
        raise NablacError(Diagnostic(codes.E841, message, place=str(path))) from error


def _settings(folder: Path, choices: Choices, options: Mapping[str, Any]) -> dict[str, str]:
    """The settings in the program, overridden by the options of the command."""
    settings = _written(folder / SPEC, choices.model, choices.preset) if (folder / SPEC).is_file() else {}
    settings |= parse_settings(choices.set)
    for name, value in options.items():
        if name != "set" and value is not None and value is not False:
            settings[name] = _shown(str(value))
    return settings


def _written(path: Path, model: str | None, preset: str | None) -> dict[str, str]:
    """The hyperparameters of a model and the statements of its train block, as written."""
    declarations = parse(read_source(path)).declarations
    blocks = [declaration for declaration in declarations if isinstance(declaration, syntax.Train)]
    name_of_model = model or (blocks[0].model.text if len(blocks) == 1 else None)
    settings: dict[str, str] = {}
    for declaration in declarations:
        if (
            isinstance(declaration, syntax.Definition)
            and declaration.kind == "model"
            and name_of_model in (None, declaration.name.text)
        ):
            settings |= _hyperparameters(declaration, preset)
        elif isinstance(declaration, syntax.Train) and name_of_model in (None, declaration.model.text):
            for statement in declaration.body:
                if isinstance(statement, syntax.Setting):
                    name = " ".join(part.text for part in (statement.name, statement.label) if part is not None)
                    value = _shown(statement.value.span.text)
                    settings[name] = f"{settings[name]}, {value}" if name in settings else value
    return settings


def _hyperparameters(model: syntax.Definition, preset: str | None) -> dict[str, str]:
    values = {hyper.name.text: _shown(hyper.default.span.text) for hyper in model.hypers if hyper.default is not None}
    for statement in model.body:
        if isinstance(statement, syntax.Preset) and statement.name.text == preset:
            values |= {setting.name.text: _shown(setting.value.span.text) for setting in statement.settings}
    return values


def _shown(text: str) -> str:
    """A text on one line, shortened if it is long."""
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else joined[: _LONGEST - 1] + "…"
