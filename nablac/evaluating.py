"""Evaluating a model from Python: on arrays, on a file, or on a part of the data that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.arguments import call_by_name
from nablac.user_warnings import warn_user

if TYPE_CHECKING:
    from compiler.model_spec import ModelSpec
    from runtime.data.examples import Examples
    from runtime.training.run_record import Record
    from runtime.training.training_run import Training

_HELD_OUT = ("test", "validation")


@dataclass(frozen=True)
class Split:
    """How the data of a model was divided when it was trained: the options that say so, and the run, if it is one."""

    options: dict[str, Any] = field(default_factory=dict)
    record: Record | None = None
    run: Path | None = None
    arrays: Examples | None = None  # instead of the data of the train block

    def examples(self, model: ModelSpec) -> Examples | None:
        """The arrays of the training; None for the data of the train block, and NablacError if it names none."""
        from compiler.elaborate.data import SOURCES

        if self.arrays is None and model.training is not None:
            if not model.training.data or model.training.data[0].name not in SOURCES:
                message = "the train block names no data"
                if self.run is not None:
                    message = f"{self.run} was trained on arrays, which a run does not keep"
                hint = call_by_name("evaluate", model)
                raise NablacError(Diagnostic(codes.E824, message, place=model.graph.name, hint=hint))
        return self.arrays

    def check(self, examples: Examples) -> None:
        """NablacError if the data has changed since the run began."""
        from runtime.data.examples import digest

        if self.record is not None and self.run is not None:
            hint = "its split would differ: `evaluate(data)` takes other data"
            self.record.check_examples(digest(examples), self.run, hint)


def evaluate(training: Training, part: str | None, split: Split) -> dict[str, float]:
    """The loss and the metrics of a part of the data, whose split is checked."""
    data = training.data
    split.check(data)
    warn_of_notes(training)
    return training.evaluate(choose_part(data, part))


def warn_of_notes(training: Training) -> None:
    """Warn of what was changed or skipped in reading arrays."""
    if training.examples is not None:
        for message in training.context.notes:
            warn_user(f"note: {message}")


def choose_part(data: Examples, part: str | None) -> str:
    """The part to evaluate: the one that is asked for, else test, else validation, else all, which is added.

    NablacError for an unknown part, and for one without examples.
    """
    import numpy as np

    chosen = part or next((name for name in _HELD_OUT if len(data.parts[name])), "all")
    if chosen == "all":
        data.parts["all"] = np.arange(len(data))
    elif chosen not in data.parts:
        hint = f"the parts are {', '.join(data.parts)}, all"
        raise NablacError(Diagnostic(codes.E604, f"there is no part `{chosen}`", place="part", hint=hint))
    elif not len(data.parts[chosen]):
        hint = "`all` evaluates all examples"
        raise NablacError(Diagnostic(codes.E823, f"there are no {chosen} examples", place="part", hint=hint))
    return chosen
