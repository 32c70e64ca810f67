"""The state of data processing that is fitted to the training part, and applied to all later data.

A run keeps it in its folder, so that its weights are used with data in the form that they were trained on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import REQUIRED, SOURCES, STAGES
from compiler.time_steps import time_step_of
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_JSON, read_file, reason_of
from runtime.data.calendar_features import calendar_of, calendar_requests
from runtime.data.filling import fill_of, flagged, requests
from runtime.data.lags import lag_of, lag_requests
from runtime.data.scaling import Scaling
from runtime.data.text_columns import request_of, text_requests
from runtime.metadata import text_lists, texts
from runtime.text.tokenizers import Tokenizer, from_json, read_tokenizer
from runtime.typed import read_as

if TYPE_CHECKING:
    from compiler.types import Array

DATA, TOKENS = "data.json", "tokenizer.json"
FILES = frozenset({"path", "labels"})  # the arguments of sources that say where their files are


@dataclass(frozen=True)
class Stage:
    """A source or stage of a data description, with its arguments by name, without the paths of its files."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """Scalings by the names of inputs and targets, classes by the names of columns, the tokenizer of texts.

    `labels` are the names of the target's classes in order; `columns` are the columns of a table in each input, and
    `targets` those in each target. `stages` begin with the source; they are empty if the data was arrays, and in files
    of earlier versions. `fills` are the means by column that stand for missing numbers, `dates` how the dates of a
    column are written that features are of. `known` are the inputs that take the rows to predict, and `class_weights`
    what examples of each class weigh. `date_steps` are those at which missing rows are inserted, by the column of their
    dates. `tokenizers` are those of columns of texts in a table, which may share one.
    """

    scalings: Mapping[str, Scaling] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    labels: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    fills: Mapping[str, float] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    class_weights: tuple[float, ...] = ()
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)
    date_steps: Mapping[str, str] = field(default_factory=dict)

    def with_tokenizer(self, tokenizer: Tokenizer) -> Fitted:
        """The same with another tokenizer: of all texts."""
        if self.tokenizers:
            return replace(self, tokenizers=dict.fromkeys(self.tokenizers, tokenizer))
        return replace(self, tokenizer=tokenizer)

    @property
    def only_tokenizer(self) -> Tokenizer | None:
        """The tokenizer of texts that are given without their column; None where there are several, or none."""
        shared = sharing_columns(self.tokenizers)
        return shared[0][0] if len(shared) == 1 else self.tokenizer

    def of_inputs(self, targets: Iterable[str]) -> Fitted:
        """What was fitted to the inputs alone, without the scalings and classes of these targets and their columns."""
        names = set(targets)
        columns = {column for name in names for column in self.targets.get(name, ())}
        return replace(
            self,
            scalings={name: scaling for name, scaling in self.scalings.items() if name not in names},
            classes={column: classes for column, classes in self.classes.items() if column not in columns},
            labels=(),
            targets={},
        )

    @property
    def known_classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of the columns that training read, by column; none of a column of numbers."""
        read = (name for names in (*self.columns.values(), *self.targets.values()) for name in names)
        return dict.fromkeys(read, ()) | dict(self.classes)

    @property
    def numbers(self) -> dict[str, tuple[Array, Array]]:
        """Offset and scale of each scaling."""
        return {name: (value.offset, value.scale) for name, value in self.scalings.items()}

    @property
    def derived(self) -> frozenset[str]:
        """The columns of inputs that stages make of others: features of dates, flags of missing cells, and lags."""
        fills, calendars = requests(self.stages), calendar_requests(self.stages, self.dates)
        lags = lag_requests(self.stages)
        inputs = (name for names in self.columns.values() for name in names)
        return frozenset(
            name for name in inputs if flagged(fills, name) or calendar_of(calendars, name) or lag_of(lags, name)
        )


def read_fitted(folder: Path) -> Fitted | None:
    """The fitted state in a run's folder; None for other folders."""
    path, tokens = folder / DATA, folder / TOKENS
    if not os.path.isfile(path):
        return None
    try:
        stored = json.loads(read_file(path, LARGEST_JSON))
        return parse_facts(stored, read_tokenizer(tokens) if os.path.isfile(tokens) else None)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise unreadable(str(path), reason_of(error)) from error


def fitted_to_json(fitted: Fitted) -> dict[str, Any]:
    """The fitted state as JSON values, including the tokenizer."""
    return {**facts_of(fitted), "tokenizer": fitted.tokenizer.to_json() if fitted.tokenizer is not None else None}


def fitted_from_json(stored: Any, location: str) -> Fitted:
    """The fitted state from the values of `fitted_to_json`; NablacError for anything else."""
    text = stored.get("tokenizer") if isinstance(stored, dict) else None
    if text is not None and not isinstance(text, str):
        raise unreadable(location, "its tokenizer is not a text")
    tokenizer = from_json(text, location) if text is not None else None
    try:
        return parse_facts(stored, tokenizer)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise unreadable(location, reason_of(error)) from error


def facts_of(fitted: Fitted) -> dict[str, Any]:
    """The fitted state as JSON values, without the tokenizer."""
    scalings = {
        name: {"offset": value.offset.tolist(), "scale": value.scale.tolist()}
        for name, value in fitted.scalings.items()
    }
    return {
        "scalings": scalings,
        "classes": fitted.classes,
        "labels": fitted.labels,
        "columns": fitted.columns,
        "targets": fitted.targets,
        "fills": dict(fitted.fills),
        "dates": dict(fitted.dates),
        "date_steps": dict(fitted.date_steps),
        "known": fitted.known,
        "class_weights": fitted.class_weights,
        "tokenizers": [
            {"columns": columns, "tokenizer": json.loads(tokenizer.to_json())}
            for tokenizer, columns in sharing_columns(fitted.tokenizers)
        ],
        "stages": [{"name": stage.name, "arguments": stage.arguments} for stage in fitted.stages],
    }


def sharing_columns(tokenizers: Mapping[str, Tokenizer]) -> list[tuple[Tokenizer, list[str]]]:
    """Each tokenizer once, with the columns that share it."""
    shared: dict[int, tuple[Tokenizer, list[str]]] = {}
    for column, tokenizer in tokenizers.items():
        shared.setdefault(id(tokenizer), (tokenizer, []))[1].append(column)
    return list(shared.values())


def _tokenizers(stored: Any) -> dict[str, Tokenizer]:
    """Tokenizers by column from the JSON values of `facts_of`; Python's exceptions for anything else."""
    tokenizers: dict[str, Tokenizer] = {}
    for entry in read_as(list[dict[str, Any]], stored):
        columns = texts(entry["columns"])
        try:
            tokenizer = from_json(json.dumps(entry["tokenizer"]))
        except NablacError as error:
            listed = ", ".join(f"`{column}`" for column in columns)
            raise ValueError(f"the tokenizer of {listed}: {error.diagnostics[0].message}") from None
        tokenizers.update(dict.fromkeys(columns, tokenizer))
    return tokenizers


def parse_facts(stored: Any, tokenizer: Tokenizer | None) -> Fitted:
    """The fitted state from the values of `facts_of`, of any version; Python's exceptions for anything else."""
    scalings = {name: _scaling(scaling["offset"], scaling["scale"]) for name, scaling in stored["scalings"].items()}
    fitted = Fitted(
        scalings,
        text_lists(stored["classes"]),
        tokenizer,
        tuple(texts(stored.get("labels", []))),
        text_lists(stored.get("columns", {})),
        text_lists(stored.get("targets", {})),
        tuple(map(_checked, read_as(list[Stage], stored.get("stages", [])))),
        read_as(dict[str, float], stored.get("fills", {})),
        read_as(dict[str, str], stored.get("dates", {})),
        tuple(texts(stored.get("known", []))),
        tuple(read_as(list[float], stored.get("class_weights", []))),
        _tokenizers(stored.get("tokenizers", [])),
        read_as(dict[str, str], stored.get("date_steps", {})),
    )
    _check_stages(fitted)
    return fitted


def _check_stages(fitted: Fitted) -> None:
    """ValueError where what a stage has learnt is not there, or is no number."""
    if not all(math.isfinite(weight) and weight >= 0 for weight in fitted.class_weights):
        raise ValueError("the weight of a class is not a number of at least 0")
    if not all(map(math.isfinite, fitted.fills.values())):
        raise ValueError("a number for missing cells is not finite")
    if not set(fitted.known) <= fitted.columns.keys():
        raise ValueError("an input of known columns has none")
    by_rows = [fill.rows for fill in requests(fitted.stages) if fill.rows]
    if any(time_step_of(fitted.date_steps.get(column, "")) is None for column in by_rows):
        raise ValueError("the step at which rows are inserted is not there")
    dated = [str(stage.arguments["column"]) for stage in fitted.stages if stage.name == "calendar"] + by_rows
    undated = next((column for column in dated if column not in fitted.dates), None)
    if undated is not None:
        raise ValueError(f"how the dates of `{undated}` are written is not there")
    inputs = {name for names in fitted.columns.values() for name in names}
    texts_read = text_requests(fitted.stages)
    unread = (name for name in sorted(inputs - fitted.tokenizers.keys()) if request_of(texts_read, name) is not None)
    missing = next(unread, None)
    if missing is not None:
        raise ValueError(f"the tokenizer of `{missing}` is not there")
    fills = requests(fitted.stages)
    for name in inputs - fitted.classes.keys() - fitted.derived - fitted.tokenizers.keys():
        if fill_of(fills, name) is not None and name not in fitted.fills:
            raise ValueError(f"the number for missing cells of `{name}` is not there")


def _checked(stage: Stage) -> Stage:
    """The stage with its arguments checked as in a train block; missing ones have their defaults. Raises ValueError."""
    parameters = (SOURCES | STAGES)[stage.name].parameters
    arguments = {name: value.default for name, value in parameters.items() if name not in FILES}
    for name, value in stage.arguments.items():
        if value != parameters[name].default and not parameters[name].kind.allows(value):
            raise ValueError(f"`{name}` of `{stage.name}` is not {parameters[name].kind.words}")
        arguments[name] = value
    if stage.name == "tokens" and "kind" not in stage.arguments:
        del arguments["kind"]
    missing = next((name for name, value in arguments.items() if value is REQUIRED), None)
    if missing is not None:
        raise ValueError(f"`{stage.name}` has no `{missing}`")
    return Stage(stage.name, arguments)


def _scaling(offset: Any, scale: Any) -> Scaling:
    """A scaling from JSON numbers; raises ValueError or TypeError for invalid ones."""
    scaling = Scaling(np.array(offset, np.float64), np.array(scale, np.float64))
    if scaling.offset.shape != scaling.scale.shape:
        raise ValueError("an offset and its scale differ in shape")
    if not np.isfinite(scaling.offset).all() or not np.isfinite(scaling.scale).all() or (scaling.scale <= 0).any():
        raise ValueError("an offset is not finite, or a scale not a finite number above 0")
    return scaling


def unreadable(location: str, reason: str) -> NablacError:
    """The error for fitted state that is damaged."""
    hint = "restore the file that `nablac train` wrote, or remove it"
    message = f"{location} is not a run's record of its data"
    return NablacError(Diagnostic(codes.E827, message, place=location, note=reason, hint=hint))
