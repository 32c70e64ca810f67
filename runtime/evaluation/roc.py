"""Receiver operating characteristic: how well scores rank what is true above what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array

_MOST_POINTS = 400


def roc_auc(truth: Array, scores: Array) -> float | None:
    """The area under the curve: how often a true one has the higher score, ties counted half; None without both kinds.

    By the ranks of the scores (Mann and Whitney 1947). `truth: [n]` of flags.
    """
    positives = int(truth.sum())
    negatives = truth.size - positives
    if not positives or not negatives:
        return None
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[group]  # of equal scores their mean
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def roc_curve(truth: Array, scores: Array) -> tuple[list[float], list[float]]:
    """The shares of false and of true ones whose score is above each threshold, from none to all; some of very many."""
    order = np.argsort(-scores, kind="stable")
    ranked, sorted_scores = truth[order], scores[order]
    ends = np.flatnonzero(np.diff(sorted_scores, append=np.inf) != 0)  # the last of equal scores
    right = np.cumsum(ranked)[ends]
    wrong = ends + 1 - right
    x = np.concatenate([[0.0], wrong / max(int((~truth).sum()), 1)])
    y = np.concatenate([[0.0], right / max(int(truth.sum()), 1)])
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int))
    return x[kept].tolist(), y[kept].tolist()
