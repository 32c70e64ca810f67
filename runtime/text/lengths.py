"""The maximal and minimal lengths of a model's texts, which the metadata of compiled files keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.operators.indexing import Take
from compiler.rewrite import reached
from compiler.types import TensorType
from runtime.metadata import read_entry, sizes
from runtime.size_limits import limits

KEY, LEAST = "nablac.places", "nablac.least_tokens"  # of the metadata
_MOST_NEEDED = 4096  # tokens that a model may need at least


def longest_texts(graph: Graph) -> dict[str, int]:
    """The maximal length of each input of tokens `[batch, T]`: the size of the smallest table of positions."""
    longest: dict[str, int] = {}
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
                    longest[name] = min(size, longest.get(name, size))
    return longest


def token_inputs(graph: Graph) -> list[str]:
    """The inputs that take rows of tokens of any length."""
    return [name for name, _ in token_axes({name: value.type for name, value in graph.inputs.items()})]


def shortest_texts(graph: Graph) -> dict[str, int]:
    """The minimal length of each input of tokens `[batch, T]`, where it is more than one."""
    types = {name: value.type for name, value in graph.inputs.items()}
    least = least_widths(graph, types)
    return {name: least[str(dim)] for name, dim in token_axes(types) if str(dim) in least}


def length_metadata(graph: Graph) -> dict[str, str]:
    """The metadata with both lengths."""
    return {
        key: json.dumps(sizes) for key, sizes in ((KEY, longest_texts(graph)), (LEAST, shortest_texts(graph))) if sizes
    }


def stored_lengths(metadata: Mapping[str, str], key: str = KEY) -> dict[str, int]:
    """One kind of lengths from the metadata that `length_metadata` made."""
    return read_entry(metadata, key, {}, sizes)


def token_axes(types: Mapping[str, TensorType]) -> Iterator[tuple[str, Dim]]:
    """The arrays that are rows of tokens of any length, with the dim of the length."""
    for name, type in types.items():
        if type.dtype.is_integer and type.rank == 2 and isinstance(type.shape[1], Dim):
            yield name, type.shape[1]


def least_widths(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, int]:
    """The minimal number of tokens for each dim, where it is more than one: a window of three needs three."""
    widths: dict[str, int] = {}
    bounds = limits(graph)
    for _, dim in token_axes(types):
        if dim != Dim.named(str(dim)):
            continue
        width = next((n for n in range(1, _MOST_NEEDED) if all(bound.holds({str(dim): n}) for bound in bounds)), 1)
        if width > 1:
            widths[str(dim)] = width
    return widths
