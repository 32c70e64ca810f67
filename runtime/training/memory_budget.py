"""The memory budget of a training step: its notation, and the sizes of the batches that have to fit in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler.dims import Dim, Size, symbols
from compiler.graph import Graph
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    from compiler.types import Array

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_FACTORS = {unit.upper(): factor for unit, factor in _UNITS.items()}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]*)")


def parse_bytes(text: str) -> int:
    """The number of bytes in a text such as 500MB, 1.5GiB or 100000; NablacError for any other."""
    count = _bytes_of(text)
    if count < 1:
        hint = "write a number with a unit: 500MB, or 2GiB"
        raise NablacError(Diagnostic(codes.E605, f"`{text:.40}` is not a size", place="memory_budget", hint=hint))
    return count


def format_bytes(count: int) -> str:
    """The shortest text of a number of bytes that `parse_bytes` reads as the same number: 1.5GiB, 1GB or 100001."""
    texts = [f"{count / factor:.4g}{unit}" for unit, factor in _UNITS.items() if count >= factor]
    return min((text for text in [*texts, str(count)] if _bytes_of(text) == count), key=len)


def _bytes_of(text: str) -> int:
    """The number of bytes in a text, 0 for a text that is no size."""
    match = _SIZE.fullmatch(text.strip().upper())
    return round(float(match[1]) * _FACTORS.get(match[2], 0)) if match is not None else 0


def batch_sizes(graph: Graph, batch: int, arrays: Mapping[str, Array]) -> dict[str, int]:
    """The sizes of all named dims in the largest batch of a step's graph; NablacError for one that is not known.

    The first axis of an input counts the examples of the batch, or as many as there are.
    """
    sizes: dict[str, int] = {}
    for name, value in graph.inputs.items():
        array = arrays.get(name)
        for axis, size in enumerate(value.shape):
            if not _is_name(size):
                continue
            if axis == 0:
                sizes[str(size)] = min(batch, len(array)) if array is not None else batch
            elif array is not None:
                sizes.setdefault(str(size), array.shape[axis])
    missing = {name for value in graph.inputs.values() for size in value.shape for name in symbols(size)} - sizes.keys()
    if missing:
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        message = f"the memory of a step depends on the size of {names}, which is not known"
        hint = f"write {names} as {'a number' if len(missing) == 1 else 'numbers'} in the model's inputs"
        raise NablacError(Diagnostic(codes.E811, message, place="memory_budget", hint=hint))
    return sizes


def _is_name(size: Size) -> bool:
    return isinstance(size, Dim) and size == Dim.named(str(size))
