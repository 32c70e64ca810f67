"""The available memory, and the errors where it is not enough."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from compiler.dims import evaluate
from compiler.graph import Graph, Value
from compiler.operators.leaves import Stored
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

_GROUP = Path("/sys/fs/cgroup/memory.max")  # of a container


def memory() -> int | None:
    """The bytes of memory that this process can use, None if the system does not report it."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    with suppress(OSError, ValueError):  # no group, or `max`
        size = min(size, int(_GROUP.read_text()))
    return min(size, _limit() or size)


def _limit() -> int | None:
    """The bytes of address space that this process may use (`ulimit -v`), None if there is no limit."""
    try:
        import resource
    except ImportError:  # elsewhere than on POSIX
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return soft if soft != resource.RLIM_INFINITY else None


def require_memory_for(weights: Sequence[Stored], name: str) -> None:
    """NablacError for weights that exceed the memory, before any is allocated."""
    sizes = {op.path: stored_bytes(op) for op in weights}
    there, needed = memory(), sum(sizes.values())
    if there is not None and needed > there:
        largest = max(weights, key=lambda op: sizes[op.path])
        raise NablacError(
            Diagnostic(
                codes.E810,
                f"not enough memory for the weights: {needed:,} bytes, and this machine has {there:,}",
                place=name,
                note=f"`{largest.path}` is {largest.type}, of {sizes[largest.path]:,} bytes",
                hint="choose smaller sizes, by `--preset` or `--set`",
            )
        )


def require_memory_to_compare(graph: Graph, sizes: Mapping[str, int], copies: int) -> None:
    """NablacError for outputs that exceed the memory when so many copies of them are held at once."""
    there = memory()
    if there is None:
        return
    needed = {name: _result_bytes(value, sizes) for name, value in graph.outputs.items()}
    if copies * sum(needed.values()) > there:
        largest = max(needed, key=lambda name: needed[name])
        origin = graph.outputs[largest].node.origin
        total = f"{sum(needed.values()):,} bytes, held {copies} times"
        message = f"not enough memory to compare the outputs: {total}, and this machine has {there:,}"
        hint = "choose a smaller size, or `nablac compile --no-verify`"
        note = f"`{largest}` is {graph.outputs[largest].type}" + (f" at {dict(sizes)}" if sizes else "")
        raise NablacError(Diagnostic(codes.E810, message, origin.span, place=graph.name, note=note, hint=hint))


def _result_bytes(value: Value, sizes: Mapping[str, int]) -> int:
    return math.prod(max(0, evaluate(size, sizes)) for size in value.shape) * value.type.dtype.bytes


def advice(results: Sequence[Value]) -> str:
    """A hint for where there is not enough memory for results."""
    if all(isinstance(size, int) for result in results for size in result.shape):
        return "its size is the model's own: choose a smaller one"
    return "run a smaller batch"


def stored_bytes(op: Stored) -> int:
    """The size of a weight or a state."""
    elements = op.type.elements
    assert isinstance(elements, int)
    return elements * op.type.dtype.bytes
