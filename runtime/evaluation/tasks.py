"""What a model's outputs can be judged by: the loss says what each of them says of which target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from compiler.output_meanings import BINARY_SCORES, CLASS_SCORES, Kind
from runtime.data.recipe import Recipe
from runtime.data.stored_rows import blocks

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.examples import Examples
    from runtime.data.stored_rows import StoredRows
    from runtime.prediction.predictor import Predictor

What = Literal["regression", "forecast", "classes", "binary", "labels", "margin", "tokens"]
# Logits go first: the logarithms of their probabilities are exact.
_BEST_FIRST: tuple[Kind, ...] = (
    *("logits", "log_probabilities", "probabilities", "class"),
    *("binary_logits", "binary_probabilities", "value"),
)
_BINARY = 2


@dataclass(frozen=True)
class Task:
    """An output, what it says of a target, and what that is to the user.

    `classes` are the names of the classes, in the order of their numbers; `columns` those of the numbers of a row.
    """

    what: What
    target: str
    output: str
    kind: Kind
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What the target is called in the data."""
        return self.columns[0] if len(self.columns) == 1 else self.target


def tasks_of(
    predictor: Predictor, data: Examples, measured: Iterable[str] | None = None
) -> tuple[list[Task], list[str]]:
    """The tasks of a model, one for each target, and a line for each target that cannot be judged.

    `measured` are the targets of whose numbers the loss takes nothing but differences; None where that is not known.
    """
    tasks, notes = [], []
    for target in data.targets:
        kinds = {name: meaning.kind for name, meaning in predictor.recipe.outputs.items() if meaning.target == target}
        ranked = sorted(kinds, key=lambda name: _BEST_FIRST.index(kinds[name]))
        if not ranked:
            notes.append(
                f"`{target}`: no output is what the loss compares with it, so there are only the loss's figures"
            )
            continue
        task = _task(predictor, data, target, ranked[0], kinds[ranked[0]], measured)
        if isinstance(task, str):
            notes.append(f"`{target}`: {task}")
        else:
            tasks.append(task)
    return tasks, notes


def _task(
    predictor: Predictor, data: Examples, target: str, output: str, kind: Kind, measured: Iterable[str] | None
) -> Task | str:
    """The task of an output; a text that says why there is none."""
    recipe, truth = predictor.recipe, data.arrays[target]
    columns = data.columns.get(target, ())
    if kind in CLASS_SCORES or kind == "class":
        if truth.dtype.kind not in "iu" and not is_one_hot(truth):
            return "it holds shares of classes, and no example has one class"
        if data.tokenizer is not None and truth.ndim > 1 and truth.dtype.kind in "iu":
            return Task("tokens", target, output, kind)
        return Task("classes", target, output, kind, recipe.classes_of(target), columns)
    if kind in BINARY_SCORES:
        if not _holds_only(truth, (0, 1)):
            return "it holds numbers other than 0 and 1, so it is not a yes-or-no target"
        single = prod(truth.shape[1:]) == 1
        names = _two_names(recipe, target)
        return Task("binary" if single else "labels", target, output, kind, names, columns)
    if measured is not None and target not in measured:
        if prod(truth.shape[1:]) == 1 and _holds_only(truth, (-1, 1)):
            return Task("margin", target, output, kind, ("-1", "1"), columns)
        return "the loss does more with it than compare it with the model's numbers, so errors would say little"
    if target in recipe.fitted.scalings and predictor.units.get(output, "model") == "model":
        return f"it was scaled, and `{output}` stays in the units of training"
    return Task("forecast" if recipe.stage("window") is not None else "regression", target, output, kind, (), columns)


def reconstruction_tasks(predictor: Predictor, data: Examples, rebuilt: Mapping[str, str]) -> list[Task]:
    """A task for each input that an output is to be again, where it is one in raw units."""
    return [
        Task("regression", name, output, "value", (), data.columns.get(name, ()))
        for output, name in rebuilt.items()
        if name not in predictor.recipe.fitted.scalings or predictor.units.get(output, "model") == "raw"
    ]


def is_one_hot(truth: Array | StoredRows) -> bool:
    """Whether each row has one 1 and zeros beside it."""
    rows = (block.sum(axis=-1) == 1 for _, block in blocks(truth))
    return truth.ndim > 1 and _holds_only(truth, (0, 1)) and all(map(np.all, rows))


def _two_names(recipe: Recipe, target: str) -> tuple[str, ...]:
    names = recipe.classes_of(target)
    return names if len(names) == _BINARY else ("0", "1")


def _holds_only(truth: Array | StoredRows, values: tuple[int, int]) -> bool:
    return all(np.isin(block.astype(np.float32), values).all() for _, block in blocks(truth))


def class_names(task: Task, count: int) -> tuple[str, ...]:
    """A name for each of `count` classes: its number where it has none."""
    return tuple(task.classes[index] if index < len(task.classes) else str(index) for index in range(count))


def columns_by_name(task: Task, count: int) -> tuple[str, ...]:
    """A name for each of `count` numbers of a row."""
    if len(task.columns) == count:
        return task.columns
    return (task.target,) if count == 1 else tuple(f"{task.target}_{index}" for index in range(count))
