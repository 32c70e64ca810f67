"""Initial values: every parameter's own initializer, drawn from one seed, the same on every machine and backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from compiler.graph import Graph
from compiler.operators.leaves import Buffer, Stored
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.memory import require_memory_for
from runtime.numpy_executor import run

if TYPE_CHECKING:
    from compiler.types import Array


def initialize(graph: Graph, seed: int = 0, known: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """A value for each parameter and buffer, by path; NablacError lists those that have no initializer.

    Values in `known` are used as they are. A buffer may begin at the value of a parameter, as optimizer states do.
    """
    order = list(stored_operators(graph))
    values = {op.path: known[op.path] for op in order if op.path in known} if known else {}
    require_memory_for([op for op in order if op.path not in values], graph.name)
    missing: list[str] = []
    for op in sorted(order, key=lambda op: isinstance(op, Buffer)):
        if op.path in values:
            continue
        if op.initial is None:
            missing.append(op.path)
            continue
        feeds = {name: np.array(key(seed, op.path), np.int64) for name in op.initial.inputs}
        (value,) = run(op.initial, feeds, values).values()
        values[op.path] = np.array(value, order="C")  # a copy: the result may be a view, or a constant
    if missing:
        listed = ", ".join(f"`{path}`" for path in missing)
        verb = "has" if len(missing) == 1 else "have"
        raise NablacError(
            Diagnostic(
                codes.E707,
                f"{listed} {verb} no initializer",
                place=graph.name,
                hint="load weights, or give initial values in the model: `param W: [n] ~ normal(0.02)`",
            )
        )
    return {op.path: values[op.path] for op in order}


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
