"""What a size is at the least, for dims of at least 1."""

from __future__ import annotations

from math import inf

import pytest

from compiler.dims import PAST, Dim, Size, at_least

T, B, P = (Dim.named(name) for name in ("T", "B", PAST))
CASES: list[tuple[Size, float]] = [
    (3, 3),
    (T, 1),
    (2 * T * B + 1, 3),
    (T - 1, 0),
    (T - 3, -2),
    (T - B, -inf),
    (P, 0),
    (P + T, 1),
    (T // 2, 0),
    ((T - 1) // 2 + 1, 1),
    ((T - 3) // 2 + 1, -inf),
    (T % 4 + 1, 1),
    (((T - 3) // 2) ** 2 + 1, -inf),
    (T**2 + 4 * T, 5),
]


@pytest.mark.parametrize(("size", "least"), CASES, ids=str)
def test_the_least_of_a_size(size: Size, least: float) -> None:
    assert at_least(size) == least
