"""Zeros around the input of a max pool stay zeros.

Run where a graph is exported: onnxruntime before 1.31 makes one MaxPool of a Pad and a MaxPool, and the padding of
MaxPool is never the largest, so that a window of negative elements and padding gives another number. A maximum with
-infinity, which is every number itself, keeps the two apart.
"""

from __future__ import annotations

from math import inf

from compiler.operators.arithmetic import Maximum
from compiler.operators.pooling import MaxPool, MaxPoolIndices
from compiler.operators.slicing import Pad
from compiler.operators.source import constant
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
