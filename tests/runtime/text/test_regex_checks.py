"""Which regular expressions of tokenizers are matched, and which could take time without bound."""

from __future__ import annotations

import pytest

from runtime.text.regex_checks import repeats_repetition

# Of GPT-2, Llama 3, o200k, and what stands beside them.
MATCHED = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}]*[\p{Ll}\p{Lm}]+(?i:'s|'t|'re)?|\p{N}{1,3}(?=(?:\d{3})*\b)",
    r" {2,}", r"[(+)]+", r"\(a+\)+", r"[]+()]*", r"[[a+]b]+", r"(ab)+", r"(a|b)*c", r"(a+)?", r"(a+){2}",
    r"[^]()+]+x+", "",
]  # fmt: skip
REFUSED = [
    r"(a+)+$", r"(a*)*b", r"(?:a+)*", r"(?:x|(a+b))+", r"((a+))+", r"(?i:a+)*", r"(a{2,})+", r"(a+)?*", r"(?<n>a+)+",
    r"(a{100})+", r"[^)](a+)+", r"(\)a+)+", r"(a+){65}", r"((?:a|b+)c)*",
]  # fmt: skip


@pytest.mark.parametrize("expression", MATCHED)
def test_an_expression_of_a_known_tokenizer_is_matched(expression: str) -> None:
    assert not repeats_repetition(expression)


@pytest.mark.parametrize("expression", REFUSED)
def test_a_repetition_in_a_repetition_is_refused(expression: str) -> None:
    assert repeats_repetition(expression)
