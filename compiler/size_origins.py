"""How the values of named dims are determined when a model runs: each from one axis of one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.dims import Dim, DimError, Size, substitute, symbols
from compiler.types import TensorType


@dataclass(frozen=True, slots=True)
class SizeOrigin:
    """The axis of `source` is `factor * dim + rest`; `rest` contains only dims that are determined before this one."""

    source: str
    axis: int
    factor: int = 1
    rest: Size = 0


def size_origins(types: Mapping[str, TensorType]) -> dict[str, SizeOrigin]:
    """The origin of every named dim that the shapes determine, in an order in which they can be computed.

    An axis that is just the dim is preferred; then axes that are linear in one dim not yet determined, as `2*n + 1`.
    """
    origins: dict[str, SizeOrigin] = {}
    composite: list[tuple[str, int, Size]] = []
    for name, type in types.items():
        for axis, size in enumerate(type.shape):
            if isinstance(size, int):
                continue
            (symbol, *others) = symbols(size)
            if not others and size == Dim.named(symbol):
                origins.setdefault(symbol, SizeOrigin(name, axis))
            else:
                composite.append((name, axis, size))
    progress = True
    while progress:
        progress = False
        for name, axis, size in composite:
            unknown = symbols(size) - origins.keys()
            if len(unknown) != 1:
                continue
            (symbol,) = unknown
            line = linear(size, symbol)
            if line is not None:
                origins[symbol] = SizeOrigin(name, axis, *line)
                progress = True
    return origins


def linear(size: Size, symbol: str) -> tuple[int, Size] | None:
    """`(factor, rest)` such that `size` is `factor * symbol + rest` with a whole positive factor; None otherwise."""
    try:
        rest = substitute(size, {symbol: 0})
        factor = substitute(size, {symbol: 1}) - rest
    except DimError:
        return None
    if not isinstance(factor, int) or factor < 1 or size != factor * Dim.named(symbol) + rest:
        return None
    return factor, rest
