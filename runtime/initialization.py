"""Initial values: every parameter's own initializer, drawn from one seed, the same on every machine and backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph
from compiler.lazy_weights import LazyWeights
from compiler.operators.leaves import Buffer, Stored
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.memory import require_memory_for
from runtime.numpy_executor import run

if TYPE_CHECKING:
    from compiler.types import Array


class InitialWeights(LazyWeights):
    """A value for each parameter and buffer of a graph, by path: those in `known`, and initial values.

    An initial value is drawn whenever it is read. A buffer may begin at the value of a parameter, as optimizer states
    do. Raises NablacError for those that have no initializer, and where there is not enough memory for all.
    """

    def __init__(self, graph: Graph, seed: int = 0, known: Mapping[str, Array] | None = None) -> None:
        self.operators = {op.path: op for op in stored_operators(graph)}
        self.seed, self.known = seed, known or {}
        drawn = [op for op in self.operators.values() if op.path not in self.known]
        require_memory_for(drawn, graph.name)
        missing = [op.path for op in sorted(drawn, key=lambda op: isinstance(op, Buffer)) if op.initial is None]
        if missing:
            raise _without_initializer(missing, graph.name)

    def __getitem__(self, path: str) -> Array:
        return self.known[path] if path in self.known else self.draw(path, self)

    def draw(self, path: str, weights: Mapping[str, Array]) -> Array:
        """The initial value of a parameter, or of a buffer which may begin at one of `weights`."""
        initial = self.operators[path].initial
        assert initial is not None
        feeds = {name: np.array(key(self.seed, path), np.int64) for name in initial.inputs}
        (value,) = run(initial, feeds, weights).values()
        is_own = value.base is None and value.flags.c_contiguous  # else a view, of which the whole would be kept
        return value if is_own else np.array(value, order="C")

    def shape(self, path: str) -> tuple[int, ...]:
        """The shape of a weight, which is not drawn for that."""
        return np.shape(self.known[path]) if path in self.known else self.operators[path].type.numeric_shape

    def __contains__(self, path: object) -> bool:
        return path in self.operators or path in self.known

    def __iter__(self) -> Iterator[str]:
        return iter({**self.known, **self.operators})

    def __len__(self) -> int:
        return len({**self.known, **self.operators})


def initialize(graph: Graph, seed: int = 0, known: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """A value for each parameter and buffer of the graph, by path: see `InitialWeights`."""
    weights = InitialWeights(graph, seed, known)
    values: dict[str, Array] = {}
    for path in sorted(weights.operators, key=lambda path: isinstance(weights.operators[path], Buffer)):
        values[path] = weights.known[path] if path in weights.known else weights.draw(path, values)
    return {path: values[path] for path in weights.operators}


def _without_initializer(paths: list[str], model: str) -> NablacError:
    listed = ", ".join(f"`{path}`" for path in paths)
    verb = "has" if len(paths) == 1 else "have"
    return NablacError(
        Diagnostic(
            codes.E707,
            f"{listed} {verb} no initializer",
            place=model,
            hint="load weights, or give initial values in the model: `param W: [n] ~ normal(0.02)`",
        )
    )


def key(seed: int, path: str) -> int:
    """The key of one parameter's draws: 63 bits of a hash of the seed and the path."""
    return int.from_bytes(blake2b(f"{seed}/{path}".encode(), digest_size=8).digest(), "little") >> 1


def stored_operators(graph: Graph) -> Iterator[Stored]:
    """Every parameter and buffer of a graph, each once, in the order of first use."""
    seen: set[str] = set()
    for node in graph:
        if isinstance(node.op, Stored) and node.op.path not in seen:
            seen.add(node.op.path)
            yield node.op
