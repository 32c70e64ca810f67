"""Expressions for names: they match as `re` does, in time that no expression makes long."""

from __future__ import annotations

import random
import re

import pytest

from runtime.name_patterns import Budget, TooManySteps, compile_pattern, expand, read_template
from tests.work import at_most

EXPRESSIONS = [
    r"layers\.(\d+)\.(w|b)", r"a*", r"a+?b", r"(a|ab)(c|bcd)(d*)", r"(.+?)\.(.+?)", r"([^.]+)\.(?P<n>\w+)\.(?P=n)",
    r"(?:ab){2,3}", r"(?:ab){2}?x?", r"a{0,2}?(a*)", r"[a-c\d]+", r"[^a]b", r"^a$", r"(a*)(a*)\1", r"\Aa\Z", r"(?:|a)b",
    r"a*b", r"\.\.", r"[]a]+", r"[\]^-]*", r"x|", r"(x)?y",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_names_match_as_by_re(expression: str) -> None:
    chance = random.Random(expression)
    ours, theirs = compile_pattern(expression), re.compile(expression)
    names = ["".join(chance.choices("aabbcd.x1w]^-", k=chance.randrange(8))) for _ in range(400)]
    names += ["layers.12.w", "ab.cd.cd", "ababab", "abab", "xy", "abbcdd", "acd"]
    matched = 0
    for name in names:
        found, expected = ours.fullmatch(name, Budget()), theirs.fullmatch(name)
        assert (found is None) == (expected is None), name
        if found is not None and expected is not None:
            matched += 1
            groups = {number: text for number, text in enumerate(expected.groups(), 1) if text is not None}
            assert found.groups == {0: name, **groups}
    assert matched


def test_random_expressions_match_as_by_re() -> None:
    chance = random.Random(0)
    compared = 0
    for _ in range(3000):
        expression = _expression(chance, 0)
        ours, theirs = compile_pattern(expression), re.compile(expression)
        for _ in range(5):
            name = "".join(chance.choices("aab.x1", k=chance.randrange(7)))
            assert (ours.fullmatch(name, Budget()) is None) == (theirs.fullmatch(name) is None), (expression, name)
            compared += 1
    assert compared == 15_000


def _expression(chance: random.Random, depth: int) -> str:
    kind = chance.randrange(10 if depth < 3 else 4)
    if kind < 4:
        return chance.choice(["a", "b", ".", r"\.", r"\d", "[ab]", "[^a]", "x", "$", ""])
    parts = [_expression(chance, depth + 1) for _ in range(2)]
    if kind < 7:
        return "".join(parts)
    if kind == 7:
        return f"(?:{parts[0]}|{parts[1]})"
    return f"({parts[0]}){chance.choice(['*', '+', '?', '*?', '+?', '{1,2}', '{0,2}?', '{2}'])}"


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("(a+)+$", "a" * 2000 + "!"),
        ("(a*)*b", "a" * 2000),
        ("(a|a)*b", "a" * 2000),
        ("(.+?)" * 25 + "!", "a" * 1000),
        ("(?:(?:a?){30}){30}b", "a" * 100),
    ],
)
def test_no_expression_takes_long(expression: str, name: str) -> None:
    with at_most(calls=2_000_000):
        assert compile_pattern(expression).fullmatch(name, Budget()) is None


def test_texts_met_again_stay_within_the_budget() -> None:
    with pytest.raises(TooManySteps):
        compile_pattern(r"(a+)(a+)(a+)(a+)\1\2\3\4[xy]").fullmatch("a" * 300, Budget(100_000))


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("a{99999999999}", "too large"),
        ("(?:a{1000}){1000}", "too large"),
        ("(" * 400 + ")" * 400, "nested too deeply"),
        ("(?i)a", "unsupported feature"),
        ("(?=a)b", "unsupported feature"),
        ("(?<!a)b", "unsupported feature"),
        ("(?>a)b", "unsupported feature"),
        ("(a", "unterminated"),
    ],
)
def test_an_expression_that_is_refused_is_told_why(expression: str, why: str) -> None:
    with pytest.raises(re.error, match=why):
        compile_pattern(expression)


def test_a_repetition_of_nothing_comes_to_an_end() -> None:
    assert compile_pattern("(?:){4294967294}a").fullmatch("a", Budget()) is not None


@pytest.mark.parametrize(
    ("template", "expected"),
    [(r"x.\1.\2", "x.12.w"), (r"\g<kind>\g<1>", "w12"), (r"a\\b", r"a\b"), ("plain", "plain"), ("", "")],
)
def test_a_replacement_has_the_groups_in_their_places(template: str, expected: str) -> None:
    pattern = compile_pattern(r"l(\d+)\.(?P<kind>\w)")
    match = pattern.fullmatch("l12.w", Budget())
    assert match is not None and expand(read_template(template, pattern), match) == expected


@pytest.mark.parametrize("template", [r"\3", r"\g<none>", r"\n", "\\", r"\g<9>"])
def test_a_replacement_of_no_group_is_refused(template: str) -> None:
    with pytest.raises(re.error):
        read_template(template, compile_pattern(r"l(\d+)\.(?P<kind>\w)"))
