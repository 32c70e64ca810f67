"""From syntax to a graph: small evaluators, one for each kind of expression, statement and callee."""

from __future__ import annotations

from compiler.elaborate import (
    attributes,
    calls,
    cells,
    conditions,
    declarations,
    expressions,
    indexing,
    instances,
    pipes,
    primitives,
    signs,
    statements,
)

EVALUATORS = (  # whose functions are in the session's tables
    attributes,
    calls,
    cells,
    conditions,
    declarations,
    expressions,
    indexing,
    instances,
    pipes,
    primitives,
    signs,
    statements,
)
