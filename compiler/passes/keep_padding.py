"""Zeros around the input of a max pool stay zeros.

Run on export: onnxruntime before 1.31 fuses a Pad into the MaxPool after it, whose own padding is never the largest
item, so that a window of negative elements and padding has another maximum. A maximum with -infinity, which changes
nothing, keeps the two apart.
"""

from __future__ import annotations

from math import inf

from compiler.operators.arithmetic import Maximum
from compiler.operators.leaves import constant
from compiler.operators.pooling import MaxPool, MaxPoolIndices
from compiler.operators.slicing import Pad
from compiler.passes.rules import Rules, pattern_of, rule, variables

(x,) = variables("x")

PADDING: Rules = (
    rule(
        "max_pool(pad(x))",
        pattern_of(MaxPool, MaxPoolIndices)(pattern_of(Pad)(x, mode="constant", value=0.0).named("padded")).named(
            "pool"
        ),
        lambda padded, pool: pool.node.op.apply(Maximum()(padded, constant(-inf, padded.type.dtype))).results,
    ),
)
