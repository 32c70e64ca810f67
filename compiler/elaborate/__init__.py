"""From syntax to a graph: small evaluators, one for each kind of expression, statement and callee."""

from __future__ import annotations

from compiler.elaborate import (  # noqa: F401 - their functions fill the session's tables
    attributes,
    calls,
    cells,
    conditions,
    declarations,
    expressions,
    index_expressions,
    instances,
    pipes,
    primitives,
    signs,
    statements,
)
