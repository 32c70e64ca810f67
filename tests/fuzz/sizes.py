"""Sizes of random programs: polynomials of dims, as the language has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DIMS = ("b", "n", "m", "t")
REFERENCE = {"b": 2, "n": 3, "m": 4, "t": 5}  # at which a program is tried while it is generated
ONES = dict.fromkeys(DIMS, 1)

Sizes = dict[str, int]


class Size:
    """A polynomial of dims: a constant and monomials; a floor division is an atom."""

    def __init__(self, terms: dict[tuple[str, ...], int]) -> None:
        self.terms = {key: factor for key, factor in sorted(terms.items()) if factor}

    @staticmethod
    def of(value: Size | int | str) -> Size:
        if isinstance(value, Size):
            return value
        return Size({(): value}) if isinstance(value, int) else Size({(value,): 1})

    @property
    def number(self) -> int | None:
        return self.terms.get((), 0) if set(self.terms) <= {()} else None

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        shown = []
        for key, factor in self.terms.items():
            product = " * ".join(key)
            shown.append(str(factor) if not key else product if factor == 1 else f"{factor} * {product}")
        return " + ".join(shown).replace("+ -", "- ")

    __repr__ = __str__

    def __add__(self, other: Size | int) -> Size:
        terms = dict(self.terms)
        for key, factor in Size.of(other).terms.items():
            terms[key] = terms.get(key, 0) + factor
        return Size(terms)

    def __sub__(self, other: Size | int) -> Size:
        return self + Size.of(other) * -1

    def __mul__(self, other: Size | int) -> Size:
        terms: dict[tuple[str, ...], int] = {}
        for a, x in self.terms.items():
            for b, y in Size.of(other).terms.items():
                key = tuple(sorted((*a, *b)))
                terms[key] = terms.get(key, 0) + x * y
        return Size(terms)

    def __floordiv__(self, by: int) -> Size:
        if all(factor % by == 0 for factor in self.terms.values()):
            return Size({key: factor // by for key, factor in self.terms.items()})
        return Size({(f"(({self}) // {by})",): 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Size, int)) and self.terms == Size.of(other).terms

    def __hash__(self) -> int:
        return hash(tuple(self.terms.items()))

    def at(self, sizes: Sizes) -> int:
        return int(eval(str(self), {}, dict(sizes)))


Shape = tuple[Size, ...]


def shape_of(*sizes: Size | int | str) -> Shape:
    return tuple(map(Size.of, sizes))


def listed(items: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, items))}]"


def broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape that two shapes broadcast to; None unless they do for all dims."""
    rank = max(len(a), len(b))
    a = (*[Size.of(1)] * (rank - len(a)), *a)
    b = (*[Size.of(1)] * (rank - len(b)), *b)
    shape = []
    for x, y in zip(a, b, strict=True):
        if x == y or y == 1:
            shape.append(x)
        elif x == 1:
            shape.append(y)
        else:
            return None
    return tuple(shape)
