"""How long a text of a model can be, and has to be; kept in a compiled file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping

from compiler.graph import Graph
from compiler.operators.indexing import Take
from compiler.rewrite import reached
from runtime.data.padding import least_widths, token_axes
from runtime.metadata import sizes, stored

KEY, LEAST = "nablac.places", "nablac.least_tokens"  # of the metadata


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
    return [name for name, _ in token_axes({name: value.type for name, value in graph.inputs.items()})]


def least_tokens(graph: Graph) -> dict[str, int]:
    """By the inputs of tokens `[batch, T]` the fewest that the model takes, where one is too few."""
    types = {name: value.type for name, value in graph.inputs.items()}
    least = least_widths(graph, types)
    return {name: least[str(dim)] for name, dim in token_axes(types) if str(dim) in least}


def place_metadata(graph: Graph) -> dict[str, str]:
    """What a compiled file says of them."""
    return {key: json.dumps(found) for key, found in ((KEY, places(graph)), (LEAST, least_tokens(graph))) if found}


def stored_places(metadata: Mapping[str, str], key: str = KEY) -> dict[str, int]:
    """What `place_metadata` said."""
    return stored(metadata, key, {}, sizes)
