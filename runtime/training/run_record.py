"""The record of a run, `run.json` in its folder: everything that its results depend on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.elaborate.program_texts import fingerprint
from compiler.elaborate.values import show
from compiler.model_spec import PRECISIONS
from compiler.types import FLOATS
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.atomic_files import write_bytes
from runtime.backends import BACKENDS, device_named
from runtime.boundary import LARGEST_JSON, read_file, reason_of
from runtime.data.examples import digest
from runtime.training.option_ranges import MOST_VALIDATION
from runtime.training.option_wording import COMMAND_LINE, OptionWording
from runtime.training.surroundings import Surroundings, surroundings
from runtime.training.trained import RECORD
from runtime.training.training_data import path_of
from runtime.typed import read_as

if TYPE_CHECKING:
    from runtime.training.training_run import Training

_SAME_BITS = ("jit",)  # choices on which no result depends


@dataclass(frozen=True)
class Choices:
    """The options that a run's results depend on, and `jit`; None was left to the train block."""

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
    # Runs of earlier versions do not have these.
    jit: bool | None = None
    memory_budget: int | None = None
    threads: int | None = None
    sync_batch_norm: bool = False
    precision: str | None = None


@dataclass(frozen=True)
class Length:
    """The options of a run's length, which may change when it is resumed; None is left to the train block."""

    epochs: int | None
    patience: int | None
    keep: int


@dataclass(frozen=True)
class Record:
    """How a run was started. `text` and `examples` are hashes of the model with its imports, and of all its data."""

    choices: Choices
    length: Length
    surroundings: Surroundings
    folder: str  # of the model's file: relative paths of data begin there
    model_file: str  # relative to the run's folder, since both may be moved together
    text: str
    examples: str
    workers: int = 1

    def data_folder(self, run: Path) -> Path:
        """The folder where relative paths of data begin: that of the model's file, even if moved with the run."""
        beside = os.path.realpath(run / self.model_file)
        return Path(beside).parent if os.path.isfile(beside) else Path(self.folder)

    def check_examples(self, examples: str, run: Path, hint: str) -> None:
        """NablacError if the data, by its hash, differs from that of the run in `run`."""
        if self.examples != examples:
            message = f"the data has changed since {run} began"
            raise NablacError(Diagnostic(codes.E841, message, place=str(run), hint=hint))

    def check(self, other: Record, run: Path, wording: OptionWording) -> None:
        """NablacError if `other` differs from this run, which is in the folder `run`, in more than its length."""
        anew = wording.from_weights(run)
        hint = f"{wording.only(list(Length.__annotations__))}{anew}"
        for name in (name for name in Choices.__annotations__ if name not in _SAME_BITS):
            before, now = getattr(self.choices, name), getattr(other.choices, name)
            if before != now:
                was, would, option = wording.setting(name, before), wording.setting(name, now), wording.option(name)
                message = f"{run} was started with {was}, and with {would} it would be a different run"
                raise NablacError(Diagnostic(codes.E841, message, place=option, hint=hint))
        begun = ", from its weights" if anew else ""
        if self.text != other.text:
            hint = f"{run}/spec.model is what the run began with; a changed model needs a new run{begun}"
            raise NablacError(
                Diagnostic(codes.E841, f"the model has changed since {run} began", place=str(run), hint=hint)
            )
        self.check_examples(other.examples, run, f"other data needs a new run{begun}")
        if max(self.workers, other.workers) > 1:  # whose sums are rounded in another order anyway
            return
        for change, remedy in self.surroundings.changes(other.surroundings):
            message = f"{run} would not be reproduced: {change}"
            hint = f"{remedy}{anew}"
            raise NablacError(Diagnostic(codes.E841, message, place=str(run), hint=hint))


def record_of(training: Training, run: Path) -> Record:
    """The record of a run that is about to start in the folder `run`, or to resume there."""
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
        options.jit,
        options.memory_budget,
        options.threads,
        options.sync_batch_norm,
        options.precision,
    )
    length = Length(options.epochs, options.patience, options.keep)
    folder = training.context.folder
    model_file = os.path.relpath(folder / Path(source.program.source.name).name, os.path.realpath(run))
    return Record(
        choices,
        length,
        surroundings(options.backend, bool(options.jit)),
        str(folder),
        model_file,
        fingerprint(source.program),
        digest(training.data),
        training.collective.size if training.collective is not None else 1,
    )


def describe(training: Training) -> dict[str, Any]:
    """Facts about the run, for the user and for `run.json`."""
    data, settings = training.data, training.settings()
    return {
        "model": training.name,
        "parameters": training.weight_count,
        "backend": training.options.backend,
        "device": training.options.device,
        "compiles_update": training.compiles_update(training.steps_of_run),
        "batch": training.batch,
        "workers": training.collective.size if training.collective is not None else 1,
        "epochs": settings.epochs,
        "memory_budget": training.memory_budget,
        "precision": training.precision,
        "seed": training.seed,
        "examples": {part: len(rows) for part, rows in data.parts.items()},
        "skipped": len(training.context.skipped),
        "monitor": settings.monitor or ("val_loss" if len(data.parts["validation"]) else "loss"),
        "higher_is_better": sorted(training.higher_is_better),
    }


def write_record(folder: Path, record: Record, facts: Mapping[str, Any]) -> None:
    """Write a record, with facts for people to read."""
    content = {**asdict(record), "facts": facts}
    write_bytes(folder / RECORD, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_record(folder: Path) -> Record:
    """The record of the run in a folder; NablacError for other folders."""
    return read_record_and_facts(folder)[0]


def read_record_and_facts(folder: Path) -> tuple[Record, dict[str, Any]]:
    """The record of a run, and the facts for people to read, which depend on the version that wrote them."""
    hint = "name a folder that `nablac train`, or `train(folder=...)` in Python, has written"
    if not os.path.isfile(folder / RECORD):
        if any(folder.glob(f"trials/*/{RECORD}")):
            hint = f"it is a study: name one of its trials, as {folder}/trials/0"
        elif any(folder.glob(f"*/{RECORD}")):
            hint = f"it holds runs: name them, as {folder}/*"
        raise NablacError(
            Diagnostic(codes.E841, f"{folder} is not the folder of a nablac run", place=str(folder), hint=hint)
        )
    content = read_file(folder / RECORD, LARGEST_JSON)
    try:
        stored = json.loads(content)
        record: Record = read_as(Record, {name: value for name, value in stored.items() if name != "facts"})
        _check_ranges(record)
        facts = stored["facts"] if isinstance(stored.get("facts"), dict) else {}
        return record, facts
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        hint = f"restore it from a copy, or train again{COMMAND_LINE.from_weights(folder)}"
        message = "the record of the run is damaged, or of another version of nablac"
        location, note = str(folder / RECORD), reason_of(error)
        raise NablacError(Diagnostic(codes.E841, message, place=location, note=note, hint=hint)) from error


def _check_ranges(record: Record) -> None:
    """Raises ValueError for values that no option of a command accepts."""
    choices, length = record.choices, record.length
    counts = (
        choices.batch,
        choices.limit_batches,
        choices.overfit,
        choices.threads,
        length.epochs,
        length.patience,
        length.keep,
    )
    if any(count is not None and not 0 < count < 2**31 for count in counts) or not 0 <= choices.seed < 2**63:
        raise ValueError("a count is out of range")
    if choices.memory_budget is not None and choices.memory_budget < 1:
        raise ValueError("its memory budget is out of range")
    if choices.validation is not None and not 0 <= choices.validation <= MOST_VALIDATION:
        raise ValueError("its share of examples is out of range")
    if choices.backend not in BACKENDS or choices.dtype not in FLOATS:
        raise ValueError("its backend or dtype is unknown")
    if choices.precision not in (None, *PRECISIONS):
        raise ValueError("its precision is unknown")
    try:
        device_named(choices.device)
    except NablacError as error:
        raise ValueError("its device is unknown") from error
