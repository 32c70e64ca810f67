"""Generating random programs: choosing operands that fit, and keeping well-conditioned statements."""

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
    """A statement whose result is too large, not finite, or has ties without a unique gradient."""


class Generator:
    """The parts of a program so far, and the choices of its next statement; all of them follow from the seed.

    Values are computed as they are added: a statement whose result is not finite or too large is rejected.
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
            results = statement.compute(env, REFERENCE)
        except ValueError:
            raise Rejected from None  # torch asks for more than one number, as in its group norm
        except RuntimeError as error:
            raise AssertionError(f"the oracle of {statement.text} fails: {error}") from error
        results = results if isinstance(results, tuple) else (results,)
        for value, result in zip(statement.results, results, strict=True):
            expected = [size.at(REFERENCE) for size in value.shape]
            assert list(result.shape) == expected, f"{statement.text}: {list(result.shape)} is not {expected}"
            if result.numel() > MOST_ELEMENTS or result.numel() == 0:
                raise Rejected
            if value.kind == "f":
                assert result.dtype == torch.float64, statement.text
                if not bool(torch.isfinite(result).all()) or float(result.abs().max()) > LARGEST:
                    raise Rejected
        for value, result in zip(statement.results, results, strict=True):
            env[value.name] = result
            self.values.append(value)
        self.statements.append(statement)

    # Choosing operands

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

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
        entry = Input(self.name("x"), kind, shape, True, high)
        self.inputs.append(entry)
        self.values.append(entry)
        self.env[entry.name] = entry.drawn(REFERENCE, torch.Generator().manual_seed(self.seed * 100 + self.count))
        return entry

    def pick(
        self, kind: str = "f", rank: int | Sequence[int] | None = None, where: Callable[[Value], bool] | None = None
    ) -> Value:
        """An existing value that fits, or a new input."""
        ranks = None if rank is None else [rank] if isinstance(rank, int) else list(rank)
        fits = [
            candidate
            for candidate in self.values
            if candidate.kind == kind
            and (ranks is None or candidate.rank in ranks)
            and (where is None or where(candidate))
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
        """A value of exactly this shape."""
        fits = [candidate for candidate in self.values if candidate.kind == kind and candidate.shape == shape]
        if fits and self.chance(0.7):
            return self.random.choice(fits)
        if any(size.number is None and str(size) not in DIMS for size in shape):
            if fits:
                return self.random.choice(fits)
            raise Rejected  # an input has dims and numbers as sizes
        return self.fresh(shape, kind)

    def beside(self, value: Value, kind: str | None = None) -> Value:
        """A value that broadcasts with this one; either may be the larger."""
        kind = kind or value.kind
        fits = [
            candidate
            for candidate in self.values
            if candidate.kind == kind and broadcast(candidate.shape, value.shape) is not None
        ]
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
        """The axis, sometimes counted from the end."""
        return axis - rank if self.chance(0.4) else axis

    def axes(self, value: Value) -> list[int]:
        if not value.rank:
            raise Rejected
        return sorted(self.random.sample(range(value.rank), self.random.randint(1, value.rank)))

    def statement(
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
        smooth = smooth and all(operand.smooth for operand in uses if operand.kind == "f")
        result = Value(self.name(), kind, shape, smooth)
        return Statement([result], text, [operand.name for operand in uses], compute, **more)

    def no_ties(self, *tensors: torch.Tensor) -> None:
        """Reject tensors with equal numbers: their extremes have no unique index and no unique gradient."""
        for tensor in tensors:
            if tensor.unique().numel() < tensor.numel():
                raise Rejected


def distinct(numbers: torch.Tensor) -> torch.Tensor:
    """The numbers; ValueError if two are equal, since implementations choose between equals differently."""
    if numbers.unique().numel() < numbers.numel():
        raise ValueError("two numbers are equal")
    return numbers
