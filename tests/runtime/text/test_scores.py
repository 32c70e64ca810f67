"""BLEU and chrF against sacrebleu's."""

from __future__ import annotations

import random

import pytest

from runtime.text.scores import bleu, chrf

sacrebleu = pytest.importorskip("sacrebleu", reason="the oracle extra is not installed")
WORDS = ["the", "cat", "sat,", "on", "3.5", "mats-and", "'hello'", "e.g.", "\u00e9t\u00e9!", "(x)", "2-3", "%s"]
WORDS += ["\u00abnon\u00bb", "1,000", "&amp;", "a.b", "\u4f60\u597d"]


@pytest.mark.parametrize("seed", range(60))
def test_scores_are_those_of_sacrebleu(seed: int) -> None:
    drawn = random.Random(seed)
    count = drawn.randint(1, 8)
    truths = [" ".join(drawn.choices(WORDS, k=drawn.randint(1, 12))) for _ in range(count)]
    others = [" ".join(drawn.choices(WORDS, k=drawn.randint(0, 12))) for _ in range(count)]
    texts = [
        drawn.choice((other, truth, truth + " cat", truth[:-3])) for other, truth in zip(others, truths, strict=True)
    ]
    assert bleu(texts, truths) == pytest.approx(sacrebleu.corpus_bleu(texts, [truths]).score, abs=1e-6)
    assert chrf(texts, truths) == pytest.approx(sacrebleu.corpus_chrf(texts, [truths]).score, abs=1e-6)
