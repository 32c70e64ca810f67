"""Outputs of a model as columns of results: values under their column names, classes with probabilities."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.output_meanings import BINARY_SCORES, CLASS_SCORES, Kind
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.data.recipe import Recipe

if TYPE_CHECKING:
    from compiler.types import Array

PREDICTED, PROBABILITY = "predicted_", "probability_"


@dataclass(frozen=True, eq=False)
class ClassAnswer:
    """The predicted classes of a target: the most likely index of each row, and the probabilities [rows, classes]."""

    number: Array
    probabilities: Array | None
    names: tuple[str, ...]  # empty where the classes have none

    @property
    def labels(self) -> Array:
        """The names of the most likely classes, or their indices if they have no names."""
        if not self.names:
            return self.number
        named: Array = np.array([*self.names, ""], dtype=object)[np.clip(self.number, 0, len(self.names))]
        return named


def probabilities_of(kind: Kind, scores: Array) -> Array:
    """The probabilities of scores, in f32 or f64: along the last axis, or of each score."""
    exact = scores.astype(np.float64)
    with np.errstate(over="ignore"):  # exp(-x) of a very unlikely yes
        if kind == "logits":
            raised = np.exp(exact - exact.max(axis=-1, keepdims=True))
            exact = raised / raised.sum(axis=-1, keepdims=True)
        elif kind == "log_probabilities":
            exact = np.exp(exact)
        elif kind == "binary_logits":
            exact = 1 / (1 + np.exp(-exact))
    return exact if scores.dtype == np.float64 else exact.astype(np.float32)


def class_answer(recipe: Recipe, target: str, outputs: Mapping[str, Array], rows: int) -> ClassAnswer | None:
    """The classes of a target by its most informative output, in `rows`; None if there is none."""
    name = recipe.class_output(target)
    if name is None or name not in outputs:
        return None
    scores, kind, names = outputs[name], recipe.outputs[name].kind, recipe.classes_of(target)
    if kind == "class":
        return ClassAnswer(scores.reshape(rows, -1)[:, 0], None, names) if scores.size == rows else None
    if scores.ndim < 2 or scores.size != rows * scores.shape[-1]:
        return None  # of a class for each token, say
    probabilities = probabilities_of(kind, scores.reshape(rows, scores.shape[-1]))
    named = names if len(names) <= probabilities.shape[1] else ()
    return ClassAnswer(probabilities.argmax(axis=1), probabilities, named)


class Answers:
    """Turns a model's outputs into columns; what is asked for is checked when the first batch is there.

    `requested` are outputs that are returned as they are, beside those that say something of a target; where none
    does, all are. `horizon` is how many rows an example predicts.
    """

    def __init__(self, recipe: Recipe, requested: Collection[str] = (), horizon: int = 1) -> None:
        self.recipe, self.requested, self.horizon = recipe, tuple(requested), horizon

    def columns(self, outputs: Mapping[str, Array], examples: int) -> dict[str, Array]:
        """Columns of `examples` times `horizon` rows, of outputs that begin with the axis of the examples.

        NablacError where an output is asked for that has no such rows, and where none has any.
        """
        for name in self.requested:
            if name not in outputs:
                hint = did_you_mean(name, outputs) or f"its outputs are {', '.join(outputs)}"
                raise NablacError(Diagnostic(codes.E802, f"the model has no output `{name}`", hint=hint))
        plain = {name: _plain(array) for name, array in outputs.items()}
        fitting = {name: array for name, array in plain.items() if array.shape[:1] == (examples,)}
        rows = examples * self.horizon
        columns: dict[str, Array] = {}
        predictions: set[str] = set()
        targets = dict.fromkeys(meaning.target for meaning in self.recipe.outputs.values())
        for target in targets:
            of_target = self._target(target, fitting, rows, len(targets) > 1)
            columns |= of_target
            predictions |= {
                name for name, meaning in self.recipe.outputs.items() if meaning.target == target and of_target
            }
        for name, array in plain.items():
            if name in self.requested or not predictions:
                columns |= self._as_it_is(name, array, examples)
        if not columns:
            listed = ", ".join(f"`{name}` {list(array.shape)}" for name, array in outputs.items())
            message = f"no output has a row for each of {rows:,} predictions: {listed or 'there is none'}"
            raise NablacError(Diagnostic(codes.E881, message, place="outputs"))
        return columns

    def _target(self, target: str, outputs: Mapping[str, Array], rows: int, several: bool) -> dict[str, Array]:
        """The columns of a target: its class and probabilities, or its values."""
        answer = class_answer(self.recipe, target, outputs, rows)
        of = self.recipe.fitted.targets.get(target, ())
        if answer is not None:
            called = of[0] if len(of) == 1 else target
            columns = {f"{PREDICTED}{called}": answer.labels}
            if answer.probabilities is not None:
                prefix = f"{PROBABILITY}{called}_" if several else PROBABILITY
                for index in range(answer.probabilities.shape[1]):
                    name = answer.names[index] if index < len(answer.names) else str(index)
                    columns[f"{prefix}{name}"] = answer.probabilities[:, index]
            return columns
        columns = {}
        for name, meaning in self.recipe.outputs.items():
            if meaning.target != target or name not in outputs or meaning.kind in CLASS_SCORES | {"class"}:
                continue
            array = outputs[name]
            if array.size % rows:
                continue
            table = array.reshape(rows, -1)
            names = _names(of, table.shape[1], target, self.recipe.classes_of(target))
            if meaning.kind in BINARY_SCORES:
                table = probabilities_of(meaning.kind, table)
                for index, column in enumerate(names):
                    columns.setdefault(f"{PREDICTED}{column}", (table[:, index] > 0.5).astype(np.int64))
                    columns.setdefault(f"{PROBABILITY}{column}", table[:, index])
            else:
                for index, column in enumerate(names):
                    columns.setdefault(f"{PREDICTED}{column}", table[:, index])
        return columns

    def _as_it_is(self, name: str, array: Array, examples: int) -> dict[str, Array]:
        """The numbers of an output, each in its own column."""
        rows = examples * self.horizon
        if array.shape[:1] != (examples,) or array.size % rows:
            if name in self.requested:
                message = f"the output `{name}` {list(array.shape)} has no row for each of {rows:,} predictions"
                raise NablacError(Diagnostic(codes.E881, message, place=f"output `{name}`"))
            return {}
        table = array.reshape(rows, -1)
        return {column: table[:, index] for index, column in enumerate(_names((), table.shape[1], name))}


def _names(columns: tuple[str, ...], count: int, name: str, classes: tuple[str, ...] = ()) -> list[str]:
    """The names of `count` numbers of a row: those of the columns if there are as many, or of the classes."""
    if len(columns) == count:
        return list(columns)
    name = columns[0] if len(columns) == 1 else name
    if len(classes) == count:
        return [f"{name}_{text}" for text in classes]
    return [name] if count == 1 else [f"{name}_{index}" for index in range(count)]


def _plain(array: Array) -> Array:
    """An array of a dtype that files support: 16-bit floats become f32, exactly."""
    return array.astype(np.float32) if array.dtype.itemsize == 2 and array.dtype.kind in "fV" else array
