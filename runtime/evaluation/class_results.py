"""Classes that were predicted beside the true ones, and the examples that the model is most wrong about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import numpy as np

from runtime.evaluation.class_figures import (
    ClassFigures,
    ClassFiguresJson,
    LabelFigures,
    LabelFiguresJson,
    log_probabilities_of,
)
from runtime.evaluation.tasks import Task, class_names

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.stored_rows import StoredRows


_WORST = 12  # examples among the figures
_MOST_CLASSES = 200  # with a confusion matrix among the figures


class MistakeJson(TypedDict):
    """An example that the model is wrong about, or hardly right."""

    example: Annotated[int, "from 1"]
    line: NotRequired[Annotated[int, "of the file, where the data is one"]]
    file: NotRequired[Annotated[str, "in the folder, where the data is one of images"]]
    actual: Annotated[str, "its class"]
    predicted: Annotated[str, "the class that is predicted"]
    probability: Annotated[float, "of its class"]
    loss: Annotated[float, "-log of that"]


class ClassResultJson(ClassFiguresJson):
    """The figures of a target of classes."""

    task: Annotated[str, "`classes`, `binary` or `margin`"]
    output: Annotated[str, "the output that predicts the target"]
    worst: Annotated[list[MistakeJson], "12 of the highest loss, worst first; empty without probabilities"]


class LabelResultJson(LabelFiguresJson):
    """The figures of a target of several yes-or-no questions."""

    task: Annotated[str, "`labels`"]
    output: Annotated[str, "the output that predicts the target"]


@dataclass(frozen=True)
class Mistake:
    """An example that a model is wrong about, or hardly right: its index, and what is true and predicted."""

    row: int
    actual: str
    predicted: str
    loss: float
    probability: float  # of the true class


@dataclass(frozen=True, eq=False)
class ClassResult:
    """The figures of a target of classes; `rows` are the examples counted, those of several classes repeated."""

    task: Task
    figures: ClassFigures
    rows: Array
    lines: Array | StoredRows | None = None  # of the file that examples are from
    files: tuple[str, ...] = ()  # that examples are, in the folder of the data

    def mistakes(self, most: int) -> list[Mistake]:
        """The examples of the highest loss, worst first; none where no probabilities are known."""
        figures = self.figures
        if figures.losses is None or figures.probabilities is None:
            return []
        worst = np.argsort(-figures.losses, kind="stable")[:most]
        return [
            Mistake(
                int(self.rows[index]),
                figures.names[figures.labels[index]],
                figures.names[figures.predicted[index]],
                float(figures.losses[index]),
                float(figures.probabilities[index, figures.labels[index]]),
            )
            for index in worst
        ]

    def to_json(self) -> ClassResultJson:
        """All figures."""
        worst = [self._mistake_to_json(mistake) for mistake in self.mistakes(_WORST)]
        figures, task = self.figures.to_json(), self.task
        facts: ClassResultJson = {**figures, "task": task.what, "output": task.output, "worst": worst}
        if len(self.figures.names) > _MOST_CLASSES:
            facts["confusion"] = None
        return facts

    def _mistake_to_json(self, mistake: Mistake) -> MistakeJson:
        facts: MistakeJson = {
            "example": mistake.row + 1,
            "actual": mistake.actual,
            "predicted": mistake.predicted,
            "probability": mistake.probability,
            "loss": mistake.loss,
        }
        if self.lines is not None:
            facts["line"] = int(self.lines[mistake.row])
        if self.files:
            facts["file"] = self.files[mistake.row]
        return facts


@dataclass(frozen=True, eq=False)
class LabelResult:
    """The figures of a target of several yes-or-no questions."""

    task: Task
    figures: LabelFigures

    def to_json(self) -> LabelResultJson:
        """All figures."""
        return {**self.figures.to_json(), "task": self.task.what, "output": self.task.output}


def class_result(task: Task, rows: Array, truth: Array, predictions: Array) -> ClassResult:
    """The result of classes along the last axis, or of an output that is the class itself."""
    labels = truth.argmax(axis=-1) if truth.dtype.kind not in "iu" else truth
    positions = max(labels[0].size, 1) if len(labels) else 1
    repeated = np.repeat(rows, positions)
    labels = labels.reshape(-1).astype(np.int64)
    if task.kind == "class":
        predicted = predictions.reshape(-1).astype(np.int64)
        count = max(int(max(labels.max(initial=0), predicted.max(initial=0))) + 1, len(task.classes))
        return ClassResult(task, ClassFigures(class_names(task, count), labels, predicted), repeated)
    logs = log_probabilities_of(task.kind, predictions.reshape(-1, predictions.shape[-1]))
    known = (labels >= 0) & (labels < logs.shape[1])  # others are ignored by the loss
    names = class_names(task, logs.shape[1])
    figures, counted = ClassFigures.of(labels[known], names, log_probabilities=logs[known], rows=repeated[known])
    return ClassResult(task, figures, counted)


def binary_result(task: Task, rows: Array, truth: Array, predictions: Array) -> ClassResult:
    """The result of one yes-or-no question."""
    labels = truth.reshape(-1) > 0.5
    logs = log_probabilities_of(task.kind, predictions.reshape(-1))
    figures, counted = ClassFigures.of(labels.astype(np.int64), class_names(task, 2), log_probabilities=logs, rows=rows)
    return ClassResult(task, figures, counted)


def margin_result(task: Task, rows: Array, truth: Array, predictions: Array) -> ClassResult:
    """The result of scores whose sign is the answer, as of a hinge loss: they rank, and are no probabilities."""
    scores = predictions.reshape(-1).astype(np.float64)
    kept = ~np.isnan(scores)
    labels, predicted = (truth.reshape(-1)[kept] > 0).astype(np.int64), (scores[kept] > 0).astype(np.int64)
    left_out = int(kept.size - kept.sum())
    figures = ClassFigures(task.classes, labels, predicted, scores=scores[kept], left_out=left_out)
    return ClassResult(task, figures, rows[kept])


def label_result(task: Task, rows: Array, truth: Array, predictions: Array) -> LabelResult:
    """The result of several yes-or-no questions about each example."""
    labels = (truth.reshape(len(rows), -1) > 0.5).astype(np.int64)
    logs = log_probabilities_of(task.kind, predictions.reshape(len(rows), -1))
    counted = ~np.isnan(logs).any(axis=(1, 2))
    figures = tuple(
        ClassFigures.of(labels[:, index], ("0", "1"), log_probabilities=logs[:, index])[0]
        for index in range(labels.shape[1])
    )
    right = (logs.argmax(axis=2) == labels)[counted].all(axis=1)
    names = task.columns
    if len(names) != labels.shape[1]:
        names = tuple(f"{task.target}_{index}" for index in range(labels.shape[1]))
    return LabelResult(task, LabelFigures(figures, names, float(right.mean()) if right.size else None))
