"""Rows that are taken in order are counted in i32.

Run where a graph is exported: onnxruntime makes a slice of `Gather(x, Range(n))` in i64, and a slice forgets that a row
beyond the last is an error.
"""

from __future__ import annotations

from compiler.operators.indexing import Iota, Take
from compiler.passes.rules import Rules, pattern_of, rule, variables
from compiler.types import DType

(x,) = variables("x")

RANGES: Rules = (
    rule(
        "take(x, iota(n))",
        pattern_of(Take)(x, pattern_of(Iota)().named("indices")).named("rows"),
        lambda x, indices, rows: rows.node.op(x, indices.node.op.replace(dtype=DType.I32)()),
        when=lambda indices: indices.node.op.dtype != DType.I32,
    ),
)
