"""Sampling the next token from the scores of all tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled; at temperature 0 the likeliest is chosen.

    `top_k` keeps that many of the likeliest tokens, `top_p` the fewest whose total probability reaches it (Holtzman et
    al. 2020), `min_p` those of at least that fraction of the highest probability (Nguyen et al. 2024).
    `repetition_penalty` divides positive and multiplies negative scores of tokens that are already in the text (Keskar
    et al. 2019).
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


def penalize(scores: Array, texts: Array, penalty: float) -> Array:
    """Scores [batch, vocabulary] after the repetition penalty for the tokens of texts [batch, T]."""
    if penalty == 1.0:
        return scores
    seen = np.take_along_axis(scores, texts, axis=1)
    changed = scores.copy()
    np.put_along_axis(changed, texts, np.where(seen < 0, seen * penalty, seen / penalty), axis=1)
    return changed


def choose(scores: Array, texts: Array, how: Sampling, drawn: Array) -> Array:
    """One token for each row of scores [batch, vocabulary], chosen by uniform random numbers [batch] in [0, 1)."""
    scores = penalize(scores, texts, how.repetition_penalty)
    if how.temperature == 0.0:
        return np.asarray(scores.argmax(axis=1))
    scores = scores.astype(np.float64)
    with np.errstate(over="ignore"):  # near temperature 0 all scores but the highest become -inf
        shares = softmax(keep_likeliest((scores - scores.max(axis=1, keepdims=True)) / how.temperature, how))
    picked = (shares.cumsum(axis=1) < drawn[:, None]).sum(axis=1)
    last = shares.shape[1] - 1 - (shares[:, ::-1] > 0).argmax(axis=1)  # rounding must not select a removed token
    return np.asarray(np.minimum(picked, last))


def keep_likeliest(scores: Array, how: Sampling) -> Array:
    """Scores with -inf for removed tokens; the likeliest token is always kept."""
    scores = scores.astype(np.float64)
    if 0 < how.top_k < scores.shape[1]:
        least = np.partition(scores, -how.top_k, axis=1)[:, -how.top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    if how.top_p < 1.0:
        order = np.argsort(-scores, axis=1, kind="stable")
        shares = softmax(np.take_along_axis(scores, order, axis=1))
        before = shares.cumsum(axis=1) - shares
        out = np.empty_like(before, dtype=bool)
        np.put_along_axis(out, order, before >= how.top_p, axis=1)
        np.put_along_axis(out, order[:, :1], False, axis=1)
        scores = np.where(out, -np.inf, scores)
    if how.min_p > 0.0:
        shares = softmax(scores)
        scores = np.where(shares < how.min_p * shares.max(axis=1, keepdims=True), -np.inf, scores)
    return np.asarray(scores)


def softmax(scores: Array) -> Array:
    """The probabilities of each row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_softmax(scores: Array) -> Array:
    """The log-probabilities of each row."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
