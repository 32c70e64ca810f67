"""Numbers fed to a model that its tables have no entry for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compiler.graph import Graph
from compiler.lookups import table_limits
from grammar.diagnostics import Diagnostic, NablacError


def outside_of_table(
    graph: Graph, feeds: Mapping[str, Any], sizes: Mapping[str, int], stopped: NablacError
) -> NablacError | None:
    """What was fed that no table has, where that is why a graph stopped; it is told at the same line."""
    wrong: list[Diagnostic] = []
    for name, limit in table_limits(graph, sizes).items():
        given = np.asarray(feeds[name]) if name in feeds else np.zeros(0)
        outside = given[(given >= limit) | (given < -limit)]
        if outside.size:
            message = f"`{name}` holds {outside[0]}, and the table that it looks up has {limit} entries"
            (span, *_) = (each.span for each in stopped.diagnostics)
            hint = f"its numbers are from 0 to {limit - 1}"
            wrong.append(Diagnostic("E806", message, span, place=f"input `{name}`", hint=hint))
    return NablacError(*wrong) if wrong else None
