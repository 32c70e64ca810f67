"""The loss and the metrics of a batch in parts that add up over batches.

The mean over some of a batch's items, as a loss that masks padding, is a quotient; over many batches it is the quotient
of the sums, or a batch of few items would count as much as one of many. What is computed of a mean, as a perplexity or
the root of a mean square, is computed of the whole one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.graph import Graph, Value
from compiler.operators.arithmetic import Div, Elementwise, Maximum
from compiler.operators.source import Constant, Input
from compiler.rewrite import reached, replace

OVER, UNDER = ".over", ".under"  # behind the name of a measure: the outputs that it is made of


@dataclass(frozen=True, eq=False)
class Measure:
    """`over` adds up over batches, and so does `under`, or the number of examples where it is None.

    The measure is `after` their quotient, `mean` in and `value` out; `under` counts as `least` at the least.
    """

    over: Value
    under: Value | None = None
    least: float = 0.0
    after: Graph | None = None


def measure(value: Value) -> Measure:
    """The parts of a scalar that the inputs decide."""
    graph = Graph({}, {"value": value})
    moving = reached([value], [node.result for node in graph if isinstance(node.op, Input)])
    core = value
    while isinstance(core.node.op, Elementwise) and not core.type.rank:
        operands = core.node.operands
        moved = [each for each in operands if each.node in moving]
        if len(moved) == 2 and isinstance(core.node.op, Div):
            over, (under, least) = operands[0], _floored(operands[1])
            return Measure(over, under, least, _after(value, core))
        if len(moved) != 1 or moved[0].type.rank:
            break
        if any(each not in moved and not isinstance(each.node.op, Constant) for each in operands):
            break
        (core,) = moved
    return Measure(core, after=_after(value, core))


def measured(graph: Graph, names: Iterable[str]) -> tuple[Graph, dict[str, Measure]]:
    """`graph` with what its named outputs are made of as outputs too."""
    measures = {name: measure(graph.outputs[name]) for name in names}
    outputs = dict(graph.outputs)
    for name, each in measures.items():
        outputs[name + OVER] = each.over
        if each.under is not None:
            outputs[name + UNDER] = each.under
    return Graph(graph.inputs, outputs, graph.updates, graph.name, graph.doc), measures


def unmeasured(graph: Graph) -> Graph:
    """`graph` without the outputs that `measured` gave it."""
    outputs = {name: value for name, value in graph.outputs.items() if not name.endswith((OVER, UNDER))}
    return Graph(graph.inputs, outputs, graph.updates, graph.name, graph.doc)


def _floored(under: Value) -> tuple[Value, float]:
    """A count that is kept from 0, as in `maximum(count, 1)`, and from where on."""
    if isinstance(under.node.op, Maximum):
        for value, least in (under.node.operands, under.node.operands[::-1]):
            if isinstance(least.node.op, Constant) and not value.type.rank:
                return value, float(least.node.op.compute())
    return under, 0.0


def _after(value: Value, core: Value) -> Graph | None:
    if value is core:
        return None
    mean = Input("mean", core.type)()
    return Graph({"mean": mean}, {"value": replace([value], {core: mean})[0]})
