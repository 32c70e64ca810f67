"""Perplexity and bits of tokens, against PyTorch's cross entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.evaluation.tasks import Task
from runtime.evaluation.token_results import TokenResult


def _result(padding: int | None = None) -> TokenResult:
    return TokenResult(Task("tokens", "next", "logits", "logits"), padding)


def test_perplexity_is_that_of_all_tokens_together() -> None:
    torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
    generator = np.random.default_rng(0)
    labels, logits = generator.integers(0, 9, (6, 11)), generator.normal(size=(6, 11, 9)) * 4
    labels[0, 7:], labels[3, 2:] = 0, 0  # padding
    labels[5, 4] = -100  # ignored
    result = _result(padding=0)
    result.add(np.arange(4), labels[:4], logits[:4])
    result.add(np.arange(4, 6), labels[4:], logits[4:])
    truth = torch.tensor(np.where(labels == 0, -100, labels)).reshape(-1)
    loss = float(torch.nn.functional.cross_entropy(torch.tensor(logits).reshape(-1, 9), truth, ignore_index=-100))
    assert result.tokens == int((truth >= 0).sum())
    assert result.perplexity == pytest.approx(math.exp(loss)) and result.bits == pytest.approx(loss / math.log(2))
    right = (torch.tensor(logits).reshape(-1, 9).argmax(dim=1) == truth).sum() / result.tokens
    assert result.accuracy == pytest.approx(float(right))


def test_texts_are_ranked_by_their_tokens_mean() -> None:
    result = _result()
    logits = np.zeros((3, 2, 4))
    logits[1, :, 2] = 9.0
    logits[2, 0, 2] = -9.0
    result.add(np.array([4, 5, 6]), np.full((3, 2), 2), logits)
    assert [row for row, _ in result.worst(5)] == [6, 4, 5]
    assert dict(result.worst(5))[4] == pytest.approx(2.0)  # one of four


EDGES = {
    "no token": (np.zeros((1, 3), int), np.zeros((1, 3, 4)), 0, None),
    "one token": (np.full((1, 1), 2), np.zeros((1, 1, 4)), 0, 4.0),
    "an impossible token": (np.full((1, 1), 1), np.array([[[1e5, 0.0]]]), None, math.inf),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges(case: str) -> None:
    labels, logits, padding, expected = EDGES[case]
    result = _result(padding)
    result.add(np.array([0]), labels, logits)
    assert result.perplexity == expected
    assert result.to_json()["tokens"] == (0 if expected is None else 1)
