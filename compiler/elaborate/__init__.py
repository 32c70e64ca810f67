"""From syntax to a graph: an evaluator for each kind of expression, statement and callee."""

from __future__ import annotations

from compiler.elaborate import (  # noqa: F401 - they register their functions with the session
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
