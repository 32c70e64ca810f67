"""What is measured: a model or a training step on a backend, with inputs at some sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler.dims import symbols
from compiler.graph import Graph
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.feeds import sizes_from

BATCH, LENGTH = 8, 32  # sizes of named dims where none are asked for


@dataclass(frozen=True, eq=False)
class Workload:
    """A function that runs it once. `graph` is what the backend runs, `written` what it was made of."""

    name: str
    what: str
    backend: str
    device: str
    sizes: Mapping[str, int]
    graph: Graph
    written: Graph
    run: Callable[[], object]


def sizes_of_run(graph: Graph, chosen: Mapping[str, int], batch: int = BATCH) -> dict[str, int]:
    """A size for each named dim of the inputs; NablacError for one that no input has, or that is below 1."""
    check_sizes(graph, chosen)
    return {**sizes_from(graph, batch, LENGTH, apart=False), **chosen}


def check_sizes(graph: Graph, sizes: Mapping[str, int]) -> list[str]:
    """The named dims of the inputs, sorted; NablacError for a size of another, and for one below 1."""
    names = sorted({name for value in graph.inputs.values() for size in value.shape for name in symbols(size)})
    errors: list[Diagnostic] = []
    for name, size in sizes.items():
        if name not in names:
            message = f"no input of {graph.name} has a dim `{name}`"
            hint = did_you_mean(name, names) or (f"the dims are {', '.join(names)}" if names else None)
            errors.append(Diagnostic(codes.E905, message, place=f"{name}={size}", hint=hint))
        elif not isinstance(size, int) or size < 1:
            message = f"the size of `{name}` must be a whole number from 1, got {size!r}"
            errors.append(Diagnostic(codes.E905, message, place=f"{name}={size}"))
    if errors:
        raise NablacError(*errors)
    return names


def batch_of(graph: Graph, sizes: Mapping[str, int], default: int) -> int:
    """The size of the first axis of the inputs, if it is a named dim."""
    names = (name for value in graph.inputs.values() if value.shape for name in symbols(value.shape[0]))
    return next((sizes[name] for name in names if name in sizes), default)
