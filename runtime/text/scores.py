"""Scores of generated texts against references: corpus BLEU and chrF, as in sacrebleu."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

# BLEU's tokens are those of WMT's mteval-v13a: punctuation is split off, except `.` and `,` between digits.
_SIGNS = (
    (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 "),
    (r"([^0-9])([\.,])", r"\1 \2 "),
    (r"([\.,])([^0-9])", r" \1 \2"),
)
_DASH = (r"([0-9])(-)", r"\1 \2 ")


def bleu(texts: Sequence[str], truths: Sequence[str]) -> float:
    """Corpus BLEU of up to 4 tokens (Papineni et al. 2002), 0 to 100.

    Orders without a match are smoothed exponentially (Lin & Och 2004; sacrebleu's `exp`).
    """
    matched, counted = [0] * 4, [0] * 4
    length = truth_length = 0
    for text, truth in zip(texts, truths, strict=True):
        text_tokens, truth_tokens = _tokens(text), _tokens(truth)
        length, truth_length = length + len(text_tokens), truth_length + len(truth_tokens)
        for order in range(1, 5):
            generated, known = _grams(text_tokens, order), _grams(truth_tokens, order)
            counted[order - 1] += generated.total()
            matched[order - 1] += (generated & known).total()
    if not matched[0]:
        return 0.0
    logs, smoothing = 0.0, 1.0
    orders = sum(count > 0 for count in counted)
    for match, count in zip(matched[:orders], counted[:orders], strict=True):
        if not match:
            smoothing *= 2
        logs += math.log(match / count if match else 1 / (smoothing * count))
    if orders < 4:
        return 0.0  # as in sacrebleu
    brevity = min(0.0, 1 - truth_length / length)
    return 100 * math.exp(brevity + logs / orders)


def chrf(texts: Sequence[str], truths: Sequence[str], order: int = 6, beta: float = 2.0) -> float:
    """Corpus chrF: F-score of runs of up to `order` characters, white space left out (Popovic 2015), 0 to 100."""
    counts = [[0, 0, 0] for _ in range(order)]  # of the text, of the truth, of both
    for text, truth in zip(texts, truths, strict=True):
        text_characters, truth_characters = "".join(text.split()), "".join(truth.split())
        for size, count in enumerate(counts, 1):
            generated, known = _grams(text_characters, size), _grams(truth_characters, size)
            count[0] += generated.total() if known else 0
            count[1] += known.total()
            count[2] += (generated & known).total()
    precisions, recalls = [], []
    for generated_total, known_total, both in counts:
        if generated_total and known_total:
            precisions.append(both / generated_total)
            recalls.append(both / known_total)
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if not precision + recall:
        return 0.0
    return 100 * (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def _grams(items: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(items[start : start + order]) for start in range(len(items) - order + 1))


def _tokens(text: str) -> list[str]:
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, sign in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, sign)
    text = f" {text} "
    for pattern, replacement in (*_SIGNS, _DASH):
        text = re.sub(pattern, replacement, text)
    return text.split()
