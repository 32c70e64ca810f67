"""Making random programs: choosing operands that fit, and keeping what is well behaved."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tests.fuzz.program import Compute, Env, Input, Statement, Value
from tests.fuzz.sizes import DIMS, REFERENCE, Shape, Size, broadcast

LARGEST = 300.0  # of any number in a program
MOST_ELEMENTS = 4000


class Rejected(Exception):
    """A statement that is not wanted: too large, not finite, or with ties that have no one gradient."""


class Generator:
    """What a program is made of so far, and the choices of its next statement; all of them follow from the seed.

    Values are computed as they are made: what overflows, is not finite or is large is thrown away.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.inputs: list[Input] = []
        self.statements: list[Statement] = []
        self.values: list[Value] = []
        self.env: Env = {}
        self.count = 0
        self.seed = seed

    def add(self, statement: Statement) -> None:
        env = self.env
        for path, shape in statement.parameters.items():
            g = torch.Generator().manual_seed(zlib.crc32(path.encode()) % 1000)
            env[path] = 0.5 * torch.randn([s.at({}) for s in shape], generator=g, dtype=torch.float64)
        try:
            made = statement.compute(env, REFERENCE)
        except ValueError:
            raise Rejected from None  # torch asks for more than one number, as in its group norm
        except RuntimeError as error:
            raise AssertionError(f"the oracle of {statement.text} fails: {error}") from error
        made = made if isinstance(made, tuple) else (made,)
        for value, result in zip(statement.results, made, strict=True):
            expected = [size.at(REFERENCE) for size in value.shape]
            assert list(result.shape) == expected, f"{statement.text}: {list(result.shape)} is not {expected}"
            if result.numel() > MOST_ELEMENTS or result.numel() == 0:
                raise Rejected
            if value.kind == "f":
                assert result.dtype == torch.float64, statement.text
                if not bool(torch.isfinite(result).all()) or float(result.abs().max()) > LARGEST:
                    raise Rejected
        for value, result in zip(statement.results, made, strict=True):
            env[value.name] = result
            self.values.append(value)
        self.statements.append(statement)

    # Choosing operands

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def name(self, letter: str = "v") -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def size(self) -> Size:
        return Size.of(self.random.choice([*DIMS, *DIMS, 1, 2, 3, 4]))

    def shape(self, rank: int | None = None) -> Shape:
        rank = self.random.choice([0, 1, 2, 2, 3, 3, 4]) if rank is None else rank
        return tuple(self.size() for _ in range(rank))

    def fresh(self, shape: Shape, kind: str = "f", high: Size | None = None) -> Input:
        """A new input."""
        made = Input(self.name("x"), kind, shape, True, high)
        self.inputs.append(made)
        self.values.append(made)
        self.env[made.name] = made.drawn(REFERENCE, torch.Generator().manual_seed(self.seed * 100 + self.count))
        return made

    def pick(
        self, kind: str = "f", rank: int | Sequence[int] | None = None, where: Callable[[Value], bool] | None = None
    ) -> Value:
        """A value at hand that fits, or a new input."""
        ranks = None if rank is None else [rank] if isinstance(rank, int) else list(rank)
        fits = [
            each
            for each in self.values
            if each.kind == kind and (ranks is None or each.rank in ranks) and (where is None or where(each))
        ]
        if fits and self.chance(0.8):
            return self.random.choice(fits[-6:])
        for _ in range(20):
            shape = self.shape(self.random.choice(ranks) if ranks else None)
            probe = Value("", kind, shape)
            if where is None or where(probe):
                return self.fresh(shape, kind)
        raise Rejected

    def like(self, shape: Shape, kind: str = "f") -> Value:
        """A value of just this shape."""
        fits = [each for each in self.values if each.kind == kind and each.shape == shape]
        if fits and self.chance(0.7):
            return self.random.choice(fits)
        if any(size.number is None and str(size) not in DIMS for size in shape):
            if fits:
                return self.random.choice(fits)
            raise Rejected  # an input has dims and numbers as sizes
        return self.fresh(shape, kind)

    def beside(self, value: Value, kind: str | None = None) -> Value:
        """A value that broadcasts with this one, which stays the larger or not."""
        kind = kind or value.kind
        fits = [each for each in self.values if each.kind == kind and broadcast(each.shape, value.shape) is not None]
        if fits and self.chance(0.6):
            return self.random.choice(fits)
        shape = [Size.of(1) if self.chance(0.25) else size for size in value.shape]
        shape = shape[self.random.randint(0, len(shape)) :] if self.chance(0.3) else shape
        if any(size.number is None and str(size) not in DIMS for size in shape):
            if not fits:
                raise Rejected
            return self.random.choice(fits)
        return self.fresh(tuple(shape), kind)

    def axis(self, value: Value) -> int:
        if not value.rank:
            raise Rejected
        return self.random.randrange(value.rank)

    def signed(self, axis: int, rank: int) -> int:
        """The axis, counted from the end now and then."""
        return axis - rank if self.chance(0.4) else axis

    def axes(self, value: Value) -> list[int]:
        if not value.rank:
            raise Rejected
        return sorted(self.random.sample(range(value.rank), self.random.randint(1, value.rank)))

    def made(
        self,
        text: str,
        kind: str,
        shape: Shape,
        uses: Sequence[Value],
        compute: Compute,
        smooth: bool = True,
        **more: Any,
    ) -> Statement:
        """A statement with one result."""
        smooth = smooth and all(each.smooth for each in uses if each.kind == "f")
        result = Value(self.name(), kind, shape, smooth)
        return Statement([result], text, [each.name for each in uses], compute, **more)

    def no_ties(self, *tensors: torch.Tensor) -> None:
        """Refuse numbers of which two are equal: an extreme of them has no one place, nor one gradient."""
        for each in tensors:
            if each.unique().numel() < each.numel():
                raise Rejected


def distinct(numbers: torch.Tensor) -> torch.Tensor:
    """The numbers, of which no two are equal; ValueError otherwise: a choice between equals is torch's own."""
    if numbers.unique().numel() < numbers.numel():
        raise ValueError("two numbers are equal")
    return numbers
