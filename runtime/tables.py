"""Numbers fed to a model that its tables have no entry for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Graph
from compiler.lookups import looked_up, table_limits
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.types import Array


def below_table(
    graph: Graph, names: Iterable[str], feeds: Mapping[str, Array], sizes: Mapping[str, int]
) -> NablacError:
    """Numbers below 0 of inputs that are looked up: a table would count them from its end."""
    tables = looked_up(graph, sizes)
    return NablacError(
        *(_not_in_table(name, feeds[name].min(), tables[name].size, tables[name].node.origin.span) for name in names)
    )


def outside_of_table(
    graph: Graph, feeds: Mapping[str, Any], sizes: Mapping[str, int], stopped: NablacError
) -> NablacError | None:
    """What was fed that no table has, where that is why a graph stopped; it is told at the same line."""
    wrong: list[Diagnostic] = []
    for name, limit in table_limits(graph, sizes).items():
        given = np.asarray(feeds[name]) if name in feeds else np.zeros(0)
        outside = given[(given >= limit) | (given < -limit)]
        if outside.size:
            (span, *_) = (each.span for each in stopped.diagnostics)
            wrong.append(_not_in_table(name, outside[0], limit, span))
    return NablacError(*wrong) if wrong else None


def _not_in_table(name: str, number: Any, entries: int, span: Span | None) -> Diagnostic:
    """A number of an input that the table has no entry for."""
    message = f"`{name}` holds {number}, and the table that it looks up has {entries} entries"
    hint = f"its numbers are from 0 to {entries - 1}"
    return Diagnostic("E806", message, span, place=f"input `{name}`", hint=hint)
