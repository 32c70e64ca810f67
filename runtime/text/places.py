"""How long a text can be that a model of learned positions takes; kept in a compiled file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.operators.indexing import Take
from compiler.rewrite import reached

KEY = "nablac.places"  # of the metadata


def places(graph: Graph) -> dict[str, int]:
    """By the inputs of tokens `[batch, T]` the size of the smallest table that is looked up by their places alone."""
    found: dict[str, int] = {}
    dynamic = reached(graph.ends, graph.inputs.values())
    by_time = {
        str(value.shape[1]): name
        for name, value in graph.inputs.items()
        if value.type.dtype.is_integer and value.type.rank == 2 and isinstance(value.shape[1], Dim)
    }
    for node in graph:
        if isinstance(node.op, Take) and node.operands[1].node not in dynamic:
            table, indices = node.operands
            size = table.shape[table.type.axis(node.op.axis)]
            name = by_time.get(str(indices.shape[0])) if indices.type.rank == 1 else None
            if name is not None and isinstance(size, int):
                found[name] = min(size, found.get(name, size))
    return found


def stored_places(metadata: Mapping[str, str]) -> dict[str, int]:
    """What a compiled file says of them."""
    return {str(name): int(size) for name, size in json.loads(metadata.get(KEY, "{}")).items()}
