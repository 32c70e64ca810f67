"""Figures of classes that were predicted: how often they are right, and how good their probabilities are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np

from runtime.charts.points import CalibrationBin
from runtime.evaluation.calibration import calibration_bins, calibration_error
from runtime.evaluation.roc import roc_auc

if TYPE_CHECKING:
    from compiler.types import Array

_LEAST = float(np.finfo(np.float64).tiny)  # a probability of 0 has a loss that is finite


class AveragesJson(TypedDict):
    """Means over the classes that occur; null if none does."""

    precision: Annotated[float | None, "of what is predicted as a class, the share that is of it"]
    recall: Annotated[float | None, "of a class, the share that is predicted as it"]
    f1: Annotated[float | None, "their harmonic mean"]


class OfClassJson(AveragesJson):
    """The figures of one class; null where they would be a fraction of nothing."""

    support: Annotated[int, "its examples"]
    auc: Annotated[float | None, "the area under its ROC curve, against the rest"]


class CalibrationJson(TypedDict):
    """Examples of about the same probability."""

    confidence: Annotated[float, "the mean of their probabilities"]
    share_right: Annotated[float, "how many of them are right"]
    count: Annotated[int, "how many there are"]


class ClassFiguresJson(TypedDict):
    """Figures of classes; null where a figure has no value."""

    count: Annotated[int, "examples"]
    left_out: Annotated[int, "examples without finite scores"]
    accuracy: Annotated[float | None, "the share that is right"]
    log_loss: Annotated[float | None, "the mean of -log of the probability of the true class"]
    brier: Annotated[float | None, "the mean squared distance of the probabilities from what is true"]
    auc: Annotated[float | None, "of two classes that of the second, of more the mean"]
    ece: Annotated[float | None, "expected calibration error"]
    macro: Annotated[AveragesJson, "each class counts once"]
    weighted: Annotated[AveragesJson, "each class counts by its examples"]
    classes: Annotated[dict[str, OfClassJson], "by name"]
    confusion: Annotated[list[list[int]] | None, "by true class, then by predicted class; null beyond 200 classes"]
    calibration: Annotated[list[CalibrationJson], "by increasing confidence"]


class LabelFiguresJson(TypedDict):
    """Figures of several yes-or-no questions."""

    all_right: Annotated[float | None, "the share of examples all of whose answers are right"]
    micro_f1: Annotated[float | None, "of all answers together"]
    macro_f1: Annotated[float | None, "the mean over the questions"]
    labels: Annotated[dict[str, ClassFiguresJson], "each question by itself"]


@dataclass(frozen=True)
class OfClass:
    """The figures of one class; None where they would be a fraction of nothing."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    auc: float | None

    def to_json(self) -> OfClassJson:
        """The figures by name."""
        averaged: AveragesJson = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**averaged, "support": self.support, "auc": self.auc}


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """Figures of `labels` and `predicted: [n]`, numbers of classes, with `probabilities: [n, classes]` where known.

    `scores: [n]` rank the second of two classes where there are no probabilities. `left_out` examples have none that
    are finite. `losses` are the negative logarithms of the probabilities of the true classes.
    """

    names: tuple[str, ...]
    labels: Array
    predicted: Array
    probabilities: Array | None = None
    scores: Array | None = None
    losses: Array | None = None
    left_out: int = 0

    @staticmethod
    def of(
        labels: Array, names: Sequence[str], *, log_probabilities: Array, rows: Array | None = None
    ) -> tuple[ClassFigures, Array]:
        """Of logarithms of probabilities [n, classes]; with the `rows` that are counted, which have no NaN."""
        rows = np.arange(len(labels)) if rows is None else rows
        counted = ~np.isnan(log_probabilities).any(axis=1)
        logs, labels, rows = log_probabilities[counted], labels[counted], rows[counted]
        losses = -np.maximum(logs[np.arange(len(labels)), labels], np.log(_LEAST))
        probabilities = np.exp(logs)
        predicted = logs.argmax(axis=1) if len(logs) else labels
        left_out = int(counted.size - counted.sum())
        figures = ClassFigures(tuple(names), labels, predicted, probabilities, None, losses, left_out)
        return figures, rows

    @property
    def count(self) -> int:
        """How many examples are counted."""
        return len(self.labels)

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, of which the second is the one to be found."""
        return len(self.names) == 2

    @cached_property
    def confusion(self) -> Array:
        """`confusion[actual, predicted]`: how often each class was taken for each."""
        size = len(self.names)
        counts: Array = np.bincount(self.labels * size + self.predicted, minlength=size * size)
        return counts.reshape(size, size)

    @property
    def accuracy(self) -> float | None:
        """The share of examples whose class was predicted."""
        return float((self.labels == self.predicted).mean()) if self.count else None

    @cached_property
    def classes(self) -> list[OfClass]:
        """The figures of each class."""
        right, support, predictions = self.confusion.diagonal(), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return [
            OfClass(
                name,
                _share(right[index], predictions[index]),
                _share(right[index], support[index]),
                _share(2 * right[index], support[index] + predictions[index]),
                int(support[index]),
                self._auc(index),
            )
            for index, name in enumerate(self.names)
        ]

    def _auc(self, index: int) -> float | None:
        """Of a class against all others."""
        if self.probabilities is not None:
            return roc_auc(self.labels == index, self.probabilities[:, index])
        if self.scores is not None:
            return roc_auc(self.labels == index, self.scores if index else -self.scores)
        return None

    def average(self, weighted: bool = False) -> AveragesJson:
        """The mean of precision, recall and F1 over the classes that occur, by name; `weighted` by how often they do.

        A class that is never predicted has precision 0 here, as scikit-learn has it.
        """
        occurring = [
            of_class
            for of_class, predictions in zip(self.classes, self.confusion.sum(axis=0), strict=True)
            if of_class.support or predictions
        ]
        weights = [of_class.support if weighted else 1 for of_class in occurring]
        if not sum(weights):
            return {"precision": None, "recall": None, "f1": None}
        means = {}
        for name in ("precision", "recall", "f1"):
            values = [getattr(of_class, name) or 0.0 for of_class in occurring]
            means[name] = sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
        return {"precision": means["precision"], "recall": means["recall"], "f1": means["f1"]}

    @property
    def auc(self) -> float | None:
        """Of two classes that of the second; of more the mean over the classes that have one, each against the rest."""
        if self.is_binary:
            return self.classes[1].auc
        areas = [of_class.auc for of_class in self.classes if of_class.auc is not None]
        return sum(areas) / len(areas) if areas else None

    @property
    def log_loss(self) -> float | None:
        """The mean of the losses."""
        return float(self.losses.mean()) if self.losses is not None and self.count else None

    @property
    def brier(self) -> float | None:
        """The mean squared distance of probabilities from what is true (Brier 1950): of two classes, of the second."""
        if self.probabilities is None or not self.count:
            return None
        truth = np.eye(len(self.names))[self.labels]
        squares = (self.probabilities - truth) ** 2
        return float(squares[:, 1].mean() if self.is_binary else squares.sum(axis=1).mean())

    @cached_property
    def calibration(self) -> list[CalibrationBin]:
        """Of two classes by the probability of the second, of more by that of the predicted class."""
        if self.probabilities is None or not self.count:
            return []
        if self.is_binary:
            return calibration_bins(self.probabilities[:, 1], self.labels == 1)
        return calibration_bins(self.probabilities.max(axis=1), self.labels == self.predicted)

    def to_json(self) -> ClassFiguresJson:
        """The figures by name."""
        return {
            "count": self.count,
            "left_out": self.left_out,
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
            "brier": self.brier,
            "auc": self.auc,
            "ece": calibration_error(self.calibration),
            "macro": self.average(),
            "weighted": self.average(weighted=True),
            "classes": {of_class.name: of_class.to_json() for of_class in self.classes},
            "confusion": self.confusion.tolist(),
            "calibration": [
                {"confidence": group.confidence, "share_right": group.share_right, "count": group.count}
                for group in self.calibration
            ],
        }


@dataclass(frozen=True, eq=False)
class LabelFigures:
    """Figures of several yes-or-no questions about each example, in the order of `labels`."""

    labels: tuple[ClassFigures, ...]
    names: tuple[str, ...]
    all_right: float | None  # the share of examples all of whose answers are right

    def micro(self) -> float | None:
        """F1 of all answers together."""
        right = sum(int(label.confusion[1, 1]) for label in self.labels)
        wrong = sum(int(label.confusion[0, 1] + label.confusion[1, 0]) for label in self.labels)
        return _share(2 * right, 2 * right + wrong)

    def macro(self) -> float | None:
        """The mean F1 of the labels."""
        values = [label.classes[1].f1 or 0.0 for label in self.labels]
        return sum(values) / len(values) if values else None

    def to_json(self) -> LabelFiguresJson:
        """The figures by name."""
        labels = {name: label.to_json() for name, label in zip(self.names, self.labels, strict=True)}
        return {"all_right": self.all_right, "micro_f1": self.micro(), "macro_f1": self.macro(), "labels": labels}


def log_probabilities_of(kind: str, scores: Array) -> Array:
    """Logarithms of probabilities [..., classes] of what an output says: for a yes-or-no question those of no and yes.

    In f64, from logits without a detour by probabilities, which may be 0.
    """
    exact = scores.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        match kind:
            case "logits":
                moved = exact - exact.max(axis=-1, keepdims=True)
                return np.asarray(moved - np.log(np.exp(moved).sum(axis=-1, keepdims=True)))
            case "log_probabilities":
                return exact
            case "probabilities":
                return np.log(exact)
            case "binary_logits":
                return np.stack([-np.logaddexp(0, exact), -np.logaddexp(0, -exact)], axis=-1)
            case _:
                return np.stack([np.log1p(-exact), np.log(exact)], axis=-1)


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
