"""The indices of rows taken in order become i32.

Run on export: onnxruntime turns `Gather(x, Range(n))` in i64 into a slice, which does not fail beyond the last row.
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
