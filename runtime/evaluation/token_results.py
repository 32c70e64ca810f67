"""How well a model tells the tokens of texts: perplexity and bits, of all tokens together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypedDict

import numpy as np

from runtime.evaluation.class_figures import log_probabilities_of
from runtime.evaluation.tasks import Task

if TYPE_CHECKING:
    from compiler.types import Array

_AT_ONCE = 1 << 22  # logits that are looked at together in f64
_LARGEST = 700.0  # of a logarithm whose power is finite


class TokenResultJson(TypedDict):
    """The figures of texts; null if there are no tokens."""

    task: Annotated[str, "`tokens`"]
    output: Annotated[str, "the output that predicts the tokens"]
    tokens: Annotated[int, "how many are predicted, without padding"]
    perplexity: Annotated[float | None, "how many equally likely tokens the model wavers between"]
    bits_per_token: Annotated[float | None, "the loss"]
    accuracy: Annotated[float | None, "the fraction of tokens that are predicted right"]


@dataclass
class TokenResult:
    """Sums over the tokens of all texts so far; padding, and what has no class, is left out.

    `losses` are the mean losses of single texts by the number of the example.
    """

    task: Task
    padding: int | None
    tokens: int = 0
    loss: float = 0.0  # the sum of -log(probability) of the true tokens
    right: int = 0
    losses: dict[int, float] = field(default_factory=dict)

    def add(self, rows: Array, truth: Array, predictions: Array) -> None:
        """Count some texts: `truth: [texts, tokens]`, `said: [texts, tokens, vocabulary]`."""
        for row, labels, scores in zip(rows.tolist(), truth, predictions, strict=True):
            self._add_text(row, labels.reshape(-1), scores.reshape(-1, scores.shape[-1]))

    def _add_text(self, row: int, labels: Array, scores: Array) -> None:
        known = (labels >= 0) & (labels < scores.shape[1])
        if self.padding is not None:
            known &= labels != self.padding
        labels, scores = labels[known], scores[known]
        if not labels.size:
            return
        total = 0.0
        step = max(1, _AT_ONCE // scores.shape[1])
        for start in range(0, len(labels), step):
            logs = log_probabilities_of(self.task.kind, scores[start : start + step])
            here = labels[start : start + step]
            total -= float(logs[np.arange(len(here)), here].sum())
            self.right += int((logs.argmax(axis=1) == here).sum())
        self.tokens += int(labels.size)
        self.loss += total
        self.losses[row] = total / labels.size

    @property
    def mean(self) -> float | None:
        """The loss of a token in nats."""
        return self.loss / self.tokens if self.tokens else None

    @property
    def perplexity(self) -> float | None:
        """How many equally likely tokens the model wavers between."""
        if self.mean is None:
            return None
        return math.exp(self.mean) if self.mean < _LARGEST else math.inf

    @property
    def bits(self) -> float | None:
        """The loss of a token in bits."""
        return self.mean / math.log(2) if self.mean is not None else None

    @property
    def accuracy(self) -> float | None:
        """The fraction of tokens that are predicted right."""
        return self.right / self.tokens if self.tokens else None

    def to_json(self) -> TokenResultJson:
        """All figures."""
        return {
            "task": "tokens",
            "output": self.task.output,
            "tokens": self.tokens,
            "perplexity": self.perplexity,
            "bits_per_token": self.bits,
            "accuracy": self.accuracy,
        }

    def worst(self, most: int) -> list[tuple[int, float]]:
        """The texts that the model finds least likely, with the bits of a token, worst first."""
        ranked = sorted(self.losses.items(), key=lambda item: -item[1])[:most]
        return [(row, loss / math.log(2)) for row, loss in ranked]
