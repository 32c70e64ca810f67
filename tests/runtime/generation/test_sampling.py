"""What is drawn: the kept tokens are those of Hugging Face's warpers, and the shares are theirs."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.generation.sampling import Sampling, choose, keep_likeliest, penalize

transformers = pytest.importorskip("transformers", reason="the oracle extra is not installed")
torch = pytest.importorskip("torch", reason="the oracle extra is not installed")


def scores(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=3, size=(4, 50)).astype(np.float32)


def draws(rows: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).random(len(rows))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "how", [Sampling(1, top_k=7), Sampling(1, top_p=0.8), Sampling(1, min_p=0.1), Sampling(1, 20, 0.9, 0.05)], ids=str
)
def test_the_kept_tokens_are_those_of_others(how: Sampling, seed: int) -> None:
    given = torch.from_numpy(scores(seed).astype(np.float64))
    if how.top_k:
        given = transformers.TopKLogitsWarper(how.top_k)(None, given)
    if how.top_p < 1:
        given = transformers.TopPLogitsWarper(how.top_p)(None, given)
    if how.min_p:
        given = transformers.MinPLogitsWarper(how.min_p)(None, given)
    np.testing.assert_array_equal(np.isneginf(keep_likeliest(scores(seed), how)), np.isneginf(given.numpy()))


def test_the_repetition_penalty_is_that_of_others() -> None:
    texts = np.random.default_rng(1).integers(0, 50, (4, 12))
    theirs = transformers.RepetitionPenaltyLogitsProcessor(1.7)
    expected = theirs(torch.from_numpy(texts), torch.from_numpy(scores(0))).numpy()
    np.testing.assert_allclose(penalize(scores(0), texts, 1.7), expected, rtol=1e-6)


def test_tokens_are_drawn_by_their_shares() -> None:
    many = np.tile(np.log([[0.5, 0.3, 0.15, 0.05]]), (20_000, 1))
    texts = np.zeros((len(many), 1), np.int64)
    drawn = choose(many, texts, Sampling(1.0), draws(many))
    np.testing.assert_allclose(np.bincount(drawn) / len(many), [0.5, 0.3, 0.15, 0.05], atol=0.01)
    cold = choose(many, texts, Sampling(0.5), draws(many))
    shares = np.array([0.25, 0.09, 0.0225, 0.0025])
    np.testing.assert_allclose(np.bincount(cold) / len(many), shares / shares.sum(), atol=0.01)
    top = choose(many, texts, Sampling(1.0, top_k=2), draws(many))
    assert set(top.tolist()) == {0, 1}


def test_near_temperature_0_the_likeliest_is_drawn() -> None:
    texts = np.zeros((4, 1), np.int64)
    with np.errstate(all="raise", under="ignore"):
        drawn = choose(scores(0), texts, Sampling(1e-320), draws(texts))
    np.testing.assert_array_equal(drawn, scores(0).argmax(axis=1))
