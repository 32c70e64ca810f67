"""Where a recurrence's arithmetic on its sequences is done: before its steps, or inside each.

Before the steps it is one operator over all of them, which reads and writes main memory; inside it is one for each
step, on items that the processor's cache holds.
"""

from __future__ import annotations

from functools import partial

from benchmarks.forms import Case, Choice
from compiler.graph import Graph
from compiler.operators.leaves import Input
from compiler.operators.making import scan
from compiler.passes.code_motion import hoist_steps
from compiler.targets import NUMPY, ORT_CPU
from compiler.types import DType, TensorType

ELEMENTS = (128, 512, 2048, 4096, 8192, 32768, 131072)  # of an item
GATES, STEPS = 4, 64


def gradient_like(elements: int) -> Graph:
    """Steps like those of an LSTM's gradient: h' = y (h + sum of h x (1 - x x) of all gates x)."""
    item = TensorType(DType.F32, (1, elements))
    labels = ("y", *(f"x{gate}" for gate in range(GATES)))
    h, y, *gates = (Input(name, item)() for name in ("h", *labels))
    total = h
    for x in gates:
        total = total + h * (x * (1 - x * x))
    following = total * y
    step = Graph({"h": h, **dict(zip(labels, (y, *gates), strict=True))}, {"next": following, "h": following})
    first = Input("first", item)()
    sequences = [Input(name, item.with_shape(STEPS, 1, elements))() for name in labels]
    results = scan(step, [first], sequences)
    return Graph({"first": first, **dict(zip(labels, sequences, strict=True))}, {"hs": results[1]})


CHOICES = (
    Choice(
        "arithmetic_of_steps",
        ("before", "inside"),
        tuple(Case({"elements": elements}, partial(gradient_like, elements)) for elements in ELEMENTS),
        targets=(NUMPY, ORT_CPU),
        prepare=hoist_steps,
    ),
)
