"""Quotients of symbolic sizes: what is a multiple is found to be one, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dims import Dim, Size, evaluate, quotient, remainder

M, N = Dim.named("m"), Dim.named("n")
FACTORS = st.lists(st.sampled_from([M, N, M + 1, N + 4, M * N + 4 * M + 16, 2 * M - N, 7]), min_size=1, max_size=3)
SIZES = {"m": 5, "n": 3}


def multiplied(factors: list[Size]) -> Size:
    whole: Size = 1
    for factor in factors:
        whole = whole * factor
    return whole


@given(FACTORS, FACTORS)
def test_a_product_is_divided_by_each_of_its_parts(left: list[Size], right: list[Size]) -> None:
    a, b = multiplied(left), multiplied(right)
    assert quotient(a * b, b) == a
    assert remainder(a * b, b) == 0


@given(FACTORS, FACTORS, st.integers(-3, 3))
def test_every_quotient_is_that_of_the_numbers(left: list[Size], right: list[Size], more: int) -> None:
    a, b = multiplied(left) + more, multiplied(right)
    assert evaluate(quotient(a, b), SIZES) == evaluate(a, SIZES) // evaluate(b, SIZES)
    assert evaluate(remainder(a, b), SIZES) == evaluate(a, SIZES) % evaluate(b, SIZES)


@pytest.mark.parametrize(("a", "b"), [(M * N + 1, M + 1), (M, M + 1), (M * M, 2 * M + 2)])
def test_what_is_no_multiple_is_left_over(a: Size, b: Size) -> None:
    assert remainder(a, b) != 0


WHOLE, PART = quotient(M + 1, N + 1), remainder(M, N)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (WHOLE, "(m + 1) // (n + 1)"),
        (-1 * WHOLE, "-((m + 1) // (n + 1))"),
        (2 * WHOLE, "2*((m + 1) // (n + 1))"),
        (M - WHOLE, "-((m + 1) // (n + 1)) + m"),
        (WHOLE * M, "((m + 1) // (n + 1))*m"),
        (3 * WHOLE * WHOLE, "3*((m + 1) // (n + 1))**2"),
        (N - PART, "-(m % n) + n"),
    ],
)
def test_a_printed_size_reads_as_the_same_size(size: Size, text: str) -> None:
    assert str(size) == text
    assert eval(text, dict(SIZES)) == evaluate(size, SIZES)
