"""Sizes of axes: integers, or polynomials with integer coefficients over named dims, `//` and `%`.

A `Size` is an `int` where it is known and a `Dim` where it is not; arithmetic on a `Dim` gives an `int` again
as soon as the names cancel. Two sizes are equal when their normal forms are. Named dims stand for sizes of at
least 1, but for PAST; `//` and `%` round down, as in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, prod

from grammar.record import ValueRecord

MOST_TERMS = 64
MOST_NAMES = 256  # in all terms, those inside of `//` and `%` counted; inside of one of these at most MOST_TERMS
LARGEST = 2**63 - 1
TYPICAL = 32  # the size of a named dim where costs are compared and none is known
PAST = "past"  # the one named dim that may be 0: how many tokens came before those of a decode step


class DimError(Exception):
    """A size that is too large, or whose expression is too long."""


class DivisionByZero(DimError):
    """A size divided by 0."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named dim."""

    name: str

    def __str__(self) -> str:
        return self.name


class Quotient(ValueRecord):
    """`numerator // denominator`, where it does not divide out."""

    numerator: Size
    denominator: Size

    def __str__(self) -> str:
        return f"{_parenthesize(self.numerator)} // {_parenthesize(self.denominator)}"


class Remainder(ValueRecord):
    """`numerator % denominator`, where it does not divide out."""

    numerator: Size
    denominator: Size

    def __str__(self) -> str:
        return f"{_parenthesize(self.numerator)} % {_parenthesize(self.denominator)}"


Atom = Symbol | Quotient | Remainder
Monomial = tuple[tuple[Atom, int], ...]  # atoms with their powers, in order of their text


@dataclass(frozen=True, slots=True)
class Dim:
    """A polynomial: monomials with their coefficients, in a fixed order; never a plain number."""

    terms: tuple[tuple[Monomial, int], ...]
    names: int = field(default=1, compare=False)  # how many names it contains; `//` and `%` count as one each

    @staticmethod
    def named(name: str) -> Dim:
        """A named dim as a size."""
        return _from_atom(Symbol(name))

    def __add__(self, other: Size) -> Size:
        return _normalize([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __mul__(self, other: Size) -> Size:
        return _normalize((_product(m, n), a * b) for m, a in self.terms for n, b in _terms(other))

    __rmul__ = __mul__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: Size) -> Size:
        return self * -1 + other

    def __pow__(self, power: int) -> Size:
        return product([self] * power)

    def __floordiv__(self, other: Size) -> Size:
        return quotient(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return quotient(other, self)

    def __mod__(self, other: Size) -> Size:
        return remainder(self, other)

    def __rmod__(self, other: Size) -> Size:
        return remainder(other, self)

    def __str__(self) -> str:
        return "".join(_format_term(monomial, factor, first=i == 0) for i, (monomial, factor) in enumerate(self.terms))

    __repr__ = __str__


Size = int | Dim


def quotient(numerator: Size, denominator: Size) -> Size:
    """`numerator // denominator`, with what divides exactly taken out: `(4*n + 6) // 4` is `n + 1`."""
    if denominator == 0:
        raise DivisionByZero("division by zero")
    if isinstance(numerator, int) and isinstance(denominator, int):
        return numerator // denominator
    if denominator == 1:
        return numerator
    if numerator == denominator:
        return 1
    exact, rest = _divide(numerator, denominator)
    if rest == 0:
        return exact
    if isinstance(rest, int) and isinstance(denominator, int):
        return exact + rest // denominator
    if exact == 0 and isinstance(rest, Dim) and len(rest.terms) == 1:  # (x // a) // b is x // (a * b)
        (monomial, factor), *_ = rest.terms
        if factor == 1 and len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], Quotient):
            inner = monomial[0][0]
            return quotient(inner.numerator, inner.denominator * denominator)
    return exact + _from_atom(Quotient(rest, denominator))


def remainder(numerator: Size, denominator: Size) -> Size:
    """`numerator % denominator`; terms that divide exactly drop out."""
    if denominator == 0:
        raise DivisionByZero("division by zero")
    if isinstance(numerator, int) and isinstance(denominator, int):
        return numerator % denominator
    _, rest = _divide(numerator, denominator)
    if rest == 0:
        return 0
    if isinstance(rest, int) and isinstance(denominator, int):
        return rest % denominator
    return _from_atom(Remainder(rest, denominator))


def evaluate(size: Size, sizes: Mapping[str, int]) -> int:
    """The value of `size` with `sizes` for its named dims; KeyError for a dim that `sizes` lacks."""
    number = substitute(size, sizes)
    if isinstance(number, Dim):
        raise KeyError(next(iter(sorted(symbols(number)))))
    return number


def substitute(size: Size, sizes: Mapping[str, Size]) -> Size:
    """`size` with named dims replaced; names that `sizes` lacks stay."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for monomial, factor in size.terms:
        term: Size = factor
        for atom, power in monomial:
            value = _substitute_atom(atom, sizes)
            for _ in range(power):
                term = term * value
        total = total + term
    return total


def symbols(size: Size) -> set[str]:
    """The names in a size."""
    if isinstance(size, int):
        return set()
    names: set[str] = set()
    for monomial, _ in size.terms:
        for atom, _ in monomial:
            if isinstance(atom, Symbol):
                names.add(atom.name)
            else:
                names |= symbols(atom.numerator) | symbols(atom.denominator)
    return names


def product(sizes: Iterable[Size]) -> Size:
    """The number of elements of a shape."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def differ(left: Size, right: Size) -> bool:
    """Whether two sizes are unequal for all values of the named dims: `n` and `n + 1` are, `n` and `m` may be equal."""
    gap = left - right
    return isinstance(gap, int) and gap != 0


def positive(size: Size) -> bool:
    """Whether a size is known to be at least 1 for all dims of at least 1."""
    return at_least(size) > 0


def at_least(size: Size) -> float:
    """A lower bound of a size, for dims of at least 1; -infinity where none is known."""
    if isinstance(size, int):
        return size
    total = 0.0
    for monomial, factor in size.terms:
        bounds = [_atom_at_least(atom) ** power for atom, power in monomial]
        if monomial and (factor < 0 or inf in map(abs, bounds)):
            return -inf
        total += factor * prod(bounds)
    return total


def _atom_at_least(atom: Atom) -> float:
    if isinstance(atom, Symbol):
        return 0 if atom.name == PAST else 1
    least = at_least(atom.numerator)
    if least < 0 or not isinstance(atom.denominator, int) or atom.denominator < 1:
        return -inf
    return least // atom.denominator if isinstance(atom, Quotient) else 0


def countable(shape: Iterable[Size]) -> bool:
    """Whether the number of elements fits in 64 bits, as far as the sizes are known."""
    count = 1
    for size in shape:
        if isinstance(size, int):
            count *= size
        elif size.names > 1 or size.terms[0][1] != 1:
            count *= max(abs(factor) for _, factor in size.terms)
    return count <= LARGEST


def _substitute_atom(atom: Atom, sizes: Mapping[str, Size]) -> Size:
    if isinstance(atom, Symbol):
        return sizes.get(atom.name, _from_atom(atom))
    operation = quotient if isinstance(atom, Quotient) else remainder
    return operation(substitute(atom.numerator, sizes), substitute(atom.denominator, sizes))


def _from_atom(atom: Atom) -> Dim:
    """A name, quotient or remainder as a size. Nesting is limited: in a loop, it would double in each iteration."""
    names = _names(atom)
    if names > MOST_TERMS:
        raise DimError(f"a size of more than {MOST_TERMS} names inside of `//` and `%`")
    return Dim(((((atom, 1),), 1),), names)


def _names(atom: Atom) -> int:
    if isinstance(atom, Symbol):
        return 1
    return 1 + sum(size.names for size in (atom.numerator, atom.denominator) if isinstance(size, Dim))


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Dim) else (((), size),)


def _normalize(terms: Iterable[tuple[Monomial, int]]) -> Size:
    """The sum in normal form: like terms added, zeros dropped, by descending degree and text, the constant last."""
    sums: dict[Monomial, int] = {}
    for monomial, factor in terms:
        sums[monomial] = sums.get(monomial, 0) + factor
    kept = {monomial: factor for monomial, factor in sums.items() if factor}
    if any(abs(factor) > LARGEST for factor in kept.values()):
        raise DimError(f"a size beyond {LARGEST}")
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    if len(kept) > MOST_TERMS:
        raise DimError(f"a size of more than {MOST_TERMS} terms")
    names = sum(_names(atom) for monomial in kept for atom, _ in monomial)
    if names > MOST_NAMES:
        raise DimError(f"a size of more than {MOST_NAMES} names")
    return Dim(tuple(sorted(kept.items(), key=lambda term: (-_degree(term[0]), _format_monomial(term[0])))), names)


def _product(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    if sum(powers.values()) > MOST_TERMS:
        raise DimError(f"a size of a degree beyond {MOST_TERMS}")
    return tuple(sorted(powers.items(), key=lambda pair: str(pair[0])))


def _divide(numerator: Size, denominator: Size) -> tuple[Size, Size]:
    """`(quotient, rest)` with `numerator == quotient * denominator + rest`.

    By a denominator of several terms either all of the numerator divides, or none of it does.
    """
    divisors = _terms(denominator)
    if len(divisors) != 1:
        whole = _exact_quotient(numerator, denominator)
        return (0, numerator) if whole is None else (whole, 0)
    by_monomial, by_factor = dict(divisors[0][0]), divisors[0][1]
    exact: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, factor in _terms(numerator):
        powers = dict(monomial)
        if factor % by_factor == 0 and all(powers.get(atom, 0) >= power for atom, power in by_monomial.items()):
            left = {atom: power - by_monomial.get(atom, 0) for atom, power in powers.items()}
            exact.append((tuple((atom, power) for atom, power in left.items() if power), factor // by_factor))
        else:
            rest.append((monomial, factor))
    return _normalize(exact), _normalize(rest)


def _exact_quotient(numerator: Size, denominator: Size) -> Size | None:
    """Polynomial long division by leading terms, in graded lexicographic order; None where it leaves a remainder."""
    atoms = sorted(
        {atom for size in (numerator, denominator) for monomial, _ in _terms(size) for atom, _ in monomial}, key=str
    )

    def order(term: tuple[Monomial, int]) -> tuple[int, list[int]]:
        powers = dict(term[0])
        return _degree(term[0]), [powers.get(atom, 0) for atom in atoms]

    leading = _normalize([max(_terms(denominator), key=order)])
    whole: Size = 0
    rest = numerator
    for _ in range(MOST_TERMS):
        if rest == 0:
            return whole
        step, left = _divide(_normalize([max(_terms(rest), key=order)]), leading)
        if left != 0:
            return None
        whole = whole + step
        rest = rest - step * denominator
    return None


def _degree(monomial: Monomial) -> int:
    return sum(power for _, power in monomial)


def _format_monomial(monomial: Monomial, alone: bool = True) -> str:
    """A product of atoms; `//` and `%` in it are in parentheses unless it is printed alone."""

    def factors() -> Iterator[str]:
        for atom, power in monomial:
            bare = isinstance(atom, Symbol) or (alone and len(monomial) == 1 and power == 1)
            text = str(atom) if bare else f"({atom})"
            yield text if power == 1 else f"{text}**{power}"

    return "*".join(factors())


def _format_term(monomial: Monomial, factor: int, first: bool) -> str:
    size = abs(factor)
    text = _format_monomial(monomial, alone=size == 1 and not (first and factor < 0))
    body = f"{size}*{text}" if text and size != 1 else text or str(size)
    if first:
        return f"-{body}" if factor < 0 else body
    return f" - {body}" if factor < 0 else f" + {body}"


def _parenthesize(size: Size) -> str:
    text = str(size)
    return text if text.isidentifier() or text.isdigit() else f"({text})"
