"""Short recurrences of a known length are written step by step, for targets of which few clients run Scan or Loop.

Run on export, where nothing else looks for recurrences. Keeps the bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.making import concat, split, squeeze, unsqueeze
from compiler.rewrite import replace, rewrite

MOST_STEPS = 64
MOST_NODES = 4096  # of all steps of a recurrence


def unroll_scans(graph: Graph) -> Graph:
    """`graph` without short recurrences."""
    return rewrite(graph, _steps) if graph.has(Scan) else graph


def _steps(node: Node) -> Sequence[Value] | None:
    """The results of a recurrence from its steps, one after the other."""
    scan = node.op
    if not isinstance(scan, Scan):
        return None
    length = scan.length(*(operand.type for operand in node.operands))
    if not isinstance(length, int) or not 0 < length <= MOST_STEPS or length * len(list(scan.body)) > MOST_NODES:
        return None
    states = list(node.operands[: scan.states])
    sequences = node.operands[scan.states : scan.states + scan.slices]
    whole = node.operands[scan.states + scan.slices :]
    items = [[squeeze(item, (0,)) for item in split(sequence, (1,) * length, 0)] for sequence in sequences]
    inputs, outputs = list(scan.body.inputs.values()), list(scan.body.outputs.values())
    stacks: list[list[Value]] = [[] for _ in outputs[scan.states :]]
    for step in reversed(range(length)) if scan.reverse else range(length):
        operands = (*states, *(item[step] for item in items), *whole)
        results = replace(outputs, dict(zip(inputs, operands, strict=True)))
        states = results[: scan.states]
        for stack, result in zip(stacks, results[scan.states :], strict=True):
            stack.append(unsqueeze(result, (0,)))
    return [*states, *(concat(stack[::-1] if scan.reverse else stack, 0) for stack in stacks)]
