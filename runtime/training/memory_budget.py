"""The memory budget of a training step: its notation, and the sizes of the batches that have to fit in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler.byte_sizes import bytes_of
from compiler.dims import Dim, Size, symbols
from compiler.graph import Graph
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.stored_rows import StoredRows


def parse_bytes(text: str) -> int:
    """The number of bytes in a text such as 500MB, 1.5GiB or 100000; NablacError for any other."""
    count = bytes_of(text)
    if count is None:
        hint = "write a number with a unit: 500MB, or 2GiB"
        raise NablacError(Diagnostic(codes.E605, f"`{text:.40}` is not a size", place="memory_budget", hint=hint))
    return count


def known_sizes(graph: Graph, batch: int, arrays: Mapping[str, Array | StoredRows]) -> dict[str, int]:
    """The sizes of named dims in the largest batch of a step's graph, as far as these arrays of examples tell them.

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
    return sizes


def batch_sizes(graph: Graph, batch: int, arrays: Mapping[str, Array | StoredRows]) -> dict[str, int]:
    """The sizes of all named dims in the largest batch of a step's graph; NablacError for one that is not known."""
    sizes = known_sizes(graph, batch, arrays)
    missing = {name for value in graph.inputs.values() for size in value.shape for name in symbols(size)} - sizes.keys()
    if missing:
        names = ", ".join(f"`{name}`" for name in sorted(missing))
        message = f"the memory of a step depends on the size of {names}, which is not known"
        hint = f"write {names} as {'a number' if len(missing) == 1 else 'numbers'} in the model's inputs"
        raise NablacError(Diagnostic(codes.E811, message, place="memory_budget", hint=hint))
    return sizes


def _is_name(size: Size) -> bool:
    return isinstance(size, Dim) and size == Dim.named(str(size))
