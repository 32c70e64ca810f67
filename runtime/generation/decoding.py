"""Generating tokens from prompts, by sampling or by beam search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from runtime.generation.decoders import Decoder
from runtime.generation.sampling import Sampling, choose, log_softmax, penalize

if TYPE_CHECKING:
    from compiler.types import Array

_NEVER = -1e9  # the score of candidates that must not be chosen
Watch = Callable[[int, int], None]  # called with each new token: the number of its text, and the token


@dataclass(frozen=True)
class Limits:
    """When texts end: at a stop token, if `ended` is true of the new tokens, or after `tokens` tokens."""

    tokens: int = 64
    stops: frozenset[int] = field(default_factory=frozenset)
    ended: Callable[[Sequence[int]], bool] | None = None


def sample(
    decoder: Decoder,
    prompts: Array,
    feeds: Mapping[str, Array],
    limits: Limits,
    how: Sampling = Sampling(),  # noqa: B008 - immutable
    seed: int = 0,
    watch: Watch | None = None,
    numbers: Sequence[int] = (),
) -> list[list[int]]:
    """The new tokens for each prompt of [batch, T], without the stop token; finished texts leave the batch.

    The random draws for a prompt depend on the seed and the prompt's number, not on its batch.
    """
    draws = [np.random.default_rng([seed, number]) for number in numbers or range(len(prompts))]
    new_tokens: list[list[int]] = [[] for _ in prompts]
    live, texts = np.arange(len(prompts)), prompts
    scores = decoder.begin(prompts, feeds)
    for count in range(limits.tokens):
        tokens = choose(scores, texts, how, np.array([draws[row].random() for row in live]))
        going = ~np.isin(tokens, list(limits.stops))
        for row, token in zip(live[going], tokens[going], strict=True):
            new_tokens[row].append(int(token))
            if watch is not None:
                watch(int(row), int(token))
        if limits.ended is not None:
            going &= np.array([not limits.ended(new_tokens[row]) for row in live])
        if not going.any() or count == limits.tokens - 1:
            break
        if not going.all():
            decoder.choose(np.flatnonzero(going))
            live, texts, tokens = live[going], texts[going], tokens[going]
        texts = np.concatenate([texts, tokens[:, None]], axis=1)
        scores = decoder.next(tokens)
    return new_tokens


def beam_search(
    decoder: Decoder,
    prompts: Array,
    feeds: Mapping[str, Array],
    limits: Limits,
    beams: int,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
) -> list[list[int]]:
    """The best text of `beams` for each prompt, without its stop token.

    A finished text's score is the sum of its tokens' log-probabilities over its length to the power of `length_penalty`
    (Wu et al. 2016). A prompt's search ends when none of its beams, scored at the current length, can beat its worst
    finished text, as in Hugging Face's `generate` with `early_stopping=False`.
    """
    batch, length = prompts.shape
    scores = decoder.begin(prompts, feeds)
    vocabulary, width = scores.shape[1], (1 + max(1, len(limits.stops))) * beams
    decoder.choose(np.repeat(np.arange(batch), beams))
    scores = np.repeat(scores, beams, axis=0)
    texts = np.repeat(prompts, beams, axis=0)
    running = np.full((batch, beams), _NEVER)
    running[:, 0] = 0.0  # all beams are equal at first: only one may be extended
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(batch)]
    improvable = np.ones(batch, bool)
    for count in range(1, limits.tokens + 1):
        logarithms = penalize(log_softmax(scores), texts, repetition_penalty).reshape(batch, beams, vocabulary)
        together = (logarithms + running[:, :, None]).reshape(batch, beams * vocabulary)
        best = _largest(together, width)
        values, rows, tokens = np.take_along_axis(together, best, axis=1), best // vocabulary, best % vocabulary
        ended = np.isin(tokens, list(limits.stops)) | (count == limits.tokens)
        if limits.ended is not None:
            for text, rank in zip(*np.nonzero(~ended), strict=True):
                before = texts[text * beams + rows[text, rank], length:]
                ended[text, rank] = limits.ended([*before.tolist(), int(tokens[text, rank])])
        for text in range(batch):
            for rank in range(beams):
                if ended[text, rank] and improvable[text]:
                    whole = [*texts[text * beams + rows[text, rank], length:].tolist(), int(tokens[text, rank])]
                    finished[text].append((float(values[text, rank]) / count**length_penalty, whole))
            finished[text] = sorted(finished[text], key=lambda pair: -pair[0])[:beams]
        if ended.all():
            break
        order = _largest(values + ended * _NEVER, beams)
        running = np.take_along_axis(values + ended * _NEVER, order, axis=1)
        kept = (np.take_along_axis(rows, order, axis=1) + np.arange(batch)[:, None] * beams).reshape(-1)
        new = np.take_along_axis(tokens, order, axis=1).reshape(-1)
        texts = np.concatenate([texts[kept], new[:, None]], axis=1)
        for text in range(batch):
            worst = finished[text][-1][0] if len(finished[text]) == beams else _NEVER
            improvable[text] &= running[text, 0] / count**length_penalty > worst
        if not improvable.any():
            break
        decoder.choose(kept)
        scores = decoder.next(new)
    return [_without_stop(best_texts[0][1], limits.stops) if best_texts else [] for best_texts in finished]


def _largest(scores: Array, count: int) -> Array:
    """The indices of the largest scores of each row, in descending order, ties by index."""
    count = min(count, scores.shape[1])
    largest = np.sort(np.argpartition(-scores, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(scores, largest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(largest, order, axis=1)


def _without_stop(tokens: list[int], stops: frozenset[int]) -> list[int]:
    return tokens[:-1] if tokens and tokens[-1] in stops else tokens
