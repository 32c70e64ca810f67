"""How long a text can be that a model of learned positions takes; kept in a compiled file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.operators.indexing import Take
from compiler.rewrite import reached
from runtime.metadata import sizes, stored

KEY = "nablac.places"  # of the metadata


def places(graph: Graph) -> dict[str, int]:
    """By the inputs of tokens `[batch, T]` the size of the smallest table that is looked up by their places alone."""
    found: dict[str, int] = {}
    dynamic = reached(graph.ends, graph.inputs.values())
    texts = token_inputs(graph)
    for node in graph:
        if isinstance(node.op, Take) and node.operands[1].node not in dynamic:
            table, indices = node.operands
            size = table.shape[table.type.axis(node.op.axis)]
            if indices.type.rank != 1 or not isinstance(size, int):
                continue
            for name in texts:
                if graph.inputs[name].shape[1] == indices.shape[0]:
                    found[name] = min(size, found.get(name, size))
    return found


def token_inputs(graph: Graph) -> list[str]:
    """The inputs that rows of tokens of any length fit."""
    types = {name: value.type for name, value in graph.inputs.items()}
    return [
        name
        for name, type in types.items()
        if type.dtype.is_integer and type.rank == 2 and isinstance(type.shape[1], Dim)
    ]


def place_metadata(graph: Graph) -> dict[str, str]:
    """What a compiled file says of them."""
    found = places(graph)
    return {KEY: json.dumps(found)} if found else {}


def stored_places(metadata: Mapping[str, str]) -> dict[str, int]:
    """What `place_metadata` said."""
    return stored(metadata, KEY, {}, sizes)
