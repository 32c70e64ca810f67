"""How a run was begun: what its numbers are made of, kept as `run.json` in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.elaborate.values import show
from compiler.types import FLOATS
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.atomic_files import write_bytes
from runtime.backends import BACKENDS, DEVICES
from runtime.boundary import LARGEST_JSON, read_file
from runtime.data.examples import digest
from runtime.training.program_texts import fingerprint
from runtime.training.surroundings import Surroundings, surroundings
from runtime.training.trained import RECORD
from runtime.training.training_data import path_of
from runtime.typed import typed

if TYPE_CHECKING:
    from runtime.training.training_run import Training

_LENGTH = "only --epochs, --patience, --keep and --max-time"


@dataclass(frozen=True)
class Choices:
    """What a command chose that makes a run this one; None was left to the train block."""

    model: str | None
    preset: str | None
    set: list[str]
    dtype: str
    batch: int
    seed: int
    validation: float | None
    data: str | None
    backend: str
    device: str
    limit_batches: int | None
    overfit: int | None
    skip_broken: bool


@dataclass(frozen=True)
class Length:
    """How long a run goes on, which may change when it is resumed; None is left to the train block."""

    epochs: int | None
    patience: int | None
    keep: int


@dataclass(frozen=True)
class Record:
    """A run as it was begun. `text` and `examples` are hashes, of the model with its imports and of all its data."""

    choices: Choices
    length: Length
    surroundings: Surroundings
    folder: str  # of the model's file: where relative paths of data begin
    model_file: str  # as seen from the run's folder, with which it may have been moved
    text: str
    examples: str

    def data_folder(self, run: Path) -> Path:
        """Where relative paths of data begin: beside the model's file, also if it was moved or copied with the run."""
        beside = os.path.realpath(run / self.model_file)
        return Path(beside).parent if os.path.isfile(beside) else Path(self.folder)

    def check_examples(self, examples: str, run: Path, hint: str) -> None:
        """NablacError where the data, by its hash, is not what the run in `run` was started with."""
        if self.examples != examples:
            message = f"the data has changed since {run} began"
            raise NablacError(Diagnostic(codes.E841, message, place=str(run), hint=hint))

    def check(self, other: Record, run: Path) -> None:
        """NablacError where `other` would be another run than this one, that lies in `run`."""
        hint = f"{_LENGTH} may change{_from_its_weights(run)}"
        for name in Choices.__annotations__:
            before, now = getattr(self.choices, name), getattr(other.choices, name)
            if before != now:
                option = f"--{name.replace('_', '-')}"
                was, would = _said(option, before), _said(option, now)
                message = f"{run} was started with {was}, and with {would} it would be a different run"
                raise NablacError(Diagnostic(codes.E841, message, place=option, hint=hint))
        begun = ", from its weights" if _from_its_weights(run) else ""
        if self.text != other.text:
            hint = f"{run}/spec.model is what the run began with; a changed model needs a new run{begun}"
            raise NablacError(
                Diagnostic(codes.E841, f"the model has changed since {run} began", place=str(run), hint=hint)
            )
        self.check_examples(other.examples, run, f"other data needs a new run{begun}")
        for change, remedy in self.surroundings.changes(other.surroundings):
            message = f"{run} would not be reproduced: {change}"
            hint = f"{remedy}{_from_its_weights(run)}"
            raise NablacError(Diagnostic(codes.E841, message, place=str(run), hint=hint))


def record_of(training: Training, run: Path) -> Record:
    """What a run is made of that is about to begin in the folder `run`, or to go on there."""
    options, source = training.options, training.text
    choices = Choices(
        source.model,
        source.preset,
        [f"{name}={value if isinstance(value, str) else show(value)}" for name, value in source.hypers.items()],
        source.dtype.value,
        training.batch,
        training.seed,
        options.validation,
        path_of(options.data) if options.data is not None else None,
        options.backend,
        options.device,
        options.limit_batches,
        options.overfit,
        options.skip_broken,
    )
    length = Length(options.epochs, options.patience, options.keep)
    folder = training.context.folder
    model_file = os.path.relpath(folder / Path(source.program.source.name).name, os.path.realpath(run))
    return Record(
        choices,
        length,
        surroundings(options.backend),
        str(folder),
        model_file,
        fingerprint(source.program),
        digest(training.data),
    )


def write_record(folder: Path, record: Record, facts: Mapping[str, Any]) -> None:
    """Keep a record, and for people what was counted."""
    content = {**asdict(record), "facts": facts}
    write_bytes(folder / RECORD, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_record(folder: Path) -> Record:
    """How the run in a folder was begun; NablacError for a folder that is none of a run."""
    hint = "name the folder that `nablac train` printed"
    if not os.path.isfile(folder / RECORD):
        raise NablacError(
            Diagnostic(codes.E841, f"{folder} is not the folder of a nablac run", place=str(folder), hint=hint)
        )
    content = read_file(folder / RECORD, LARGEST_JSON)
    try:
        stored = json.loads(content)
        record: Record = typed(Record, {name: value for name, value in stored.items() if name != "facts"})
        _check_ranges(record)
        return record
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise NablacError(
            Diagnostic(codes.E841, f"{folder} is not the folder of a nablac run", place=str(folder), hint=hint)
        ) from error


def _check_ranges(record: Record) -> None:
    """Raises ValueError for what no option of a command lets through."""
    choices, length = record.choices, record.length
    counts = (choices.batch, choices.limit_batches, choices.overfit, length.epochs, length.patience, length.keep)
    if any(count is not None and not 0 < count < 2**31 for count in counts) or not 0 <= choices.seed < 2**63:
        raise ValueError("a count is out of range")
    if choices.validation is not None and not 0 <= choices.validation <= 0.9:
        raise ValueError("its share of examples is out of range")
    if choices.backend not in BACKENDS or choices.device not in DEVICES or choices.dtype not in FLOATS:
        raise ValueError("its backend, device or dtype is unknown")


def _from_its_weights(run: Path) -> str:
    """How another run begins from this one's weights, which a run has that came to its end."""
    weights = run / "weights.safetensors"
    return f"; `--weights {weights}` starts a new run from its weights" if weights.is_file() else ""


def _said(option: str, value: Any) -> str:
    """An option as a person would have given it."""
    match value:
        case None | False:
            return f"no {option}"
        case True:
            return option
        case list():
            return " ".join(f"{option} {item}" for item in value) or f"no {option}"
    return f"{option} {value}"
