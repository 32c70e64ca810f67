"""Work that need not be done step by step leaves its Scan: one operation over all steps in place of many small ones.

Three kinds of it, each applied over a new leading axis by its operator's own rule (`Operator.batch`):

- what depends on the sequences alone, as the projection of the inputs, is computed before the walk;
- outputs that follow from the states, as a projection of them, are computed after it;
- a state that only adds up, as the gradient of a weight, becomes one sum (for a matrix product: one product).

Keeps rounding: products of many rows, and sums, are made in another order.
"""

from __future__ import annotations

from compiler.dims import Size
from compiler.graph import Graph, Value, origin
from compiler.operators.arithmetic import Add
from compiler.operators.control import Scan
from compiler.operators.linear import MatMul
from compiler.operators.making import swapped
from compiler.operators.reductions import Sum
from compiler.operators.shaping import DataMovement, Expand, Reshape
from compiler.operators.source import Constant, Input
from compiler.rewrite import rebuild, replace, with_ends, with_operands
from compiler.types import TensorType


def sink_results(graph: Graph) -> Graph:
    """`graph` with outputs that follow from next states computed after each walk, and those that nobody uses gone."""
    return _each_scan(graph, steps=False)


def hoist_steps(graph: Graph) -> Graph:
    """`graph` with all work that need not be done in steps outside of its walks."""
    return _each_scan(graph, steps=True)


def _each_scan(graph: Graph, steps: bool) -> Graph:
    if not any(isinstance(node.op, Scan) for node in graph):
        return graph
    used = {operand for node in graph for operand in node.operands} | set(graph.ends)
    new: dict[Value, Value] = {}
    for node in graph:
        if not isinstance(node.op, Scan):
            rebuild(node, new)
            continue
        with origin(node.origin.span, node.origin.path):
            operands = tuple(new[operand] for operand in node.operands)
            made = _Walk(node.op, operands, [result in used for result in node.results], steps).moved()
        new.update((result, each) for result, each in zip(node.results, made, strict=True) if each is not None)
    return with_ends(graph, new)


class _Walk:
    """A Scan in pieces: which values the new walk stacks, and what each value of the body is outside of it."""

    def __init__(self, scan: Scan, operands: tuple[Value, ...], used: list[bool], steps: bool) -> None:
        self.scan, self.steps = scan, steps
        self.length: Size = scan.length(*(operand.type for operand in operands))
        inputs, ends = list(scan.body.inputs.values()), list(scan.body.outputs.values())
        n, last = scan.states, scan.states + scan.slices
        self.states = dict(zip(inputs[:n], operands[:n], strict=True))
        self.slices = dict(zip(inputs[n:last], operands[n:last], strict=True))
        self.whole = dict(zip(inputs[last:], operands[last:], strict=True))
        self.nexts = dict(zip(inputs[:n], ends[:n], strict=True))
        self.outputs = [end if asked else None for end, asked in zip(ends[n:], used[n:], strict=True)]
        self.stacked: dict[Value, Value] = {}  # what the new walk stacks, and where it lies outside
        self.sums: dict[Value, Value] = {}  # a state that adds up: what is added
        self.dependent = {state.node for state in self.states}
        for node in scan.body:
            if any(operand.node in self.dependent for operand in node.operands):
                self.dependent.add(node)
        self.outside = self._outside()

    def moved(self) -> list[Value | None]:
        """Each result of the walk, made anew; None for a stacked one that nobody uses."""
        stacked: dict[Value, None] = {}
        nexts = set(self.nexts.values())
        for value in self.outputs:
            if value is not None:
                bases = self._bases(value, everything=True)
                stacked.update(dict.fromkeys(bases if nexts.issuperset(bases) else [value]))
        if self.steps:
            self._find_sums(stacked)
        kept = [state for state in self.states if state not in self.sums]
        finals = self._walk(kept, list(stacked)) if kept or stacked else {}
        self.outside = self._outside()
        results = [finals[state] if state in finals else self._total(state) for state in self.states]
        return [*results, *(None if value is None else self._spread(value) for value in self.outputs)]

    def _outside(self) -> dict[Value, tuple[Value, bool]]:
        """What values of the body are outside of the walk: the same at each step, or (True) along axis 0."""
        found = {value: (made, False) for value, made in self.whole.items()}
        found |= {value: (made, True) for value, made in (*self.slices.items(), *self.stacked.items())}
        for node in self.scan.body:
            if any(result in found for result in node.results) or isinstance(node.op, Input):
                continue
            operands = [found.get(operand) for operand in node.operands]
            known = [each for each in operands if each is not None]
            if len(known) < len(operands):
                continue
            values, mapped = tuple(each for each, _ in known), [axis for _, axis in known]
            with origin(node.origin.span, node.origin.path):
                if not any(mapped):
                    made = with_operands(node, values)
                    found.update((old, (new, False)) for old, new in zip(node.results, made.results, strict=True))
                elif len(node.results) == 1:
                    over = node.op.batch(self.length, mapped, *values)
                    if over is not None:
                        found[node.result] = over, True
        return found

    def _bases(self, value: Value, everything: bool) -> list[Value]:
        """What has to be stacked for a value to be made outside; `everything` is taken apart, or only what moves."""
        nexts = set(self.nexts.values())
        found: dict[Value, None] = {}
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if each in self.outside:
                continue
            apart = everything or isinstance(each.node.op, (MatMul, DataMovement, Sum))
            if each in nexts or not apart or not self._maps(each):
                found[each] = None
            else:
                waiting.extend(each.node.operands)
        return list(found)

    def _maps(self, value: Value) -> bool:
        """Whether a value of the body could be computed outside, once what its operator takes is there.

        Asked of the operator itself, for these operands: `over` of an operator may have an answer for some only.
        """
        if len(value.node.results) > 1 or not value.node.operands:
            return False
        known = [self.outside.get(operand) for operand in value.node.operands]
        mapped = [each is None or each[1] for each in known]
        operands = [
            each[0]
            if each is not None
            else Input("stacked", TensorType(operand.type.dtype, (self.length, *operand.shape)))()
            for each, operand in zip(known, value.node.operands, strict=True)
        ]
        return value.node.op.batch(self.length, mapped, *operands) is not None

    def _find_sums(self, stacked: dict[Value, None]) -> None:
        """States that nothing reads but the addition that makes their next value."""
        ends = list(self.scan.body.outputs.values())
        for state, end in self.nexts.items():
            node = end.node
            if not isinstance(node.op, Add) or state not in node.operands or ends.count(end) > 1 or state in ends:
                continue
            addend = node.operands[1] if node.operands[0] is state else node.operands[0]
            readers = [each for each in self.scan.body if state in each.operands or end in each.operands]
            if readers == [node] and addend is not state and addend.type == state.type:
                stacked.update(dict.fromkeys(self._bases(addend, everything=False)))
                self.sums[state] = addend

    def _walk(self, kept: list[Value], stacked: list[Value]) -> dict[Value, Value]:
        """Make the new walk; the last values of the states kept."""
        whole, sequences = self._needed([*(self.nexts[state] for state in kept), *stacked])
        if not sequences:  # a walk is as long as its sequences
            sequences = dict([next(iter(self.slices.items()))])
        types = {
            **{f"state_{place}": state.type for place, state in enumerate(kept)},
            **{f"item_{place}": value.type for place, value in enumerate(sequences)},
            **{f"whole_{place}": value.type for place, value in enumerate(whole)},
        }
        inputs = {label: Input(label, type)() for label, type in types.items()}
        formal = dict(zip((*kept, *sequences, *whole), inputs.values(), strict=True))
        ends = replace([*(self.nexts[state] for state in kept), *stacked], formal)
        body = Graph(
            inputs,
            {f"result_{place}": end for place, end in enumerate(ends)},
            name=self.scan.body.name,
        )
        first = (self.states[state] for state in kept)
        scan = Scan(body, len(kept), len(sequences), self.scan.reverse)
        made = scan.apply(*first, *sequences.values(), *whole.values()).results
        self.stacked = dict(zip(stacked, made[len(kept) :], strict=True))
        return dict(zip(kept, made[: len(kept)], strict=True))

    def _needed(self, ends: list[Value]) -> tuple[dict[Value, Value], dict[Value, Value]]:
        """What the new body takes from outside: what is the same at every step, and what has an item for each."""
        whole: dict[Value, Value] = {}
        sequences: dict[Value, Value] = {}
        seen: set[Value] = set()
        waiting = list(reversed(ends))
        while waiting:
            value = waiting.pop()
            if value in seen or value in self.states or isinstance(value.node.op, Constant):
                continue
            seen.add(value)
            if value in self.outside and (self.steps or isinstance(value.node.op, Input)):
                outside, mapped = self.outside[value]
                (sequences if mapped else whole)[value] = outside
            else:
                waiting.extend(reversed(value.node.operands))
        return whole, sequences

    def _spread(self, value: Value) -> Value:
        """A value outside, one for each step even where all are the same."""
        outside, mapped = self.outside[value]
        if mapped:
            return outside
        result: Value = Expand((self.length, *outside.shape))(outside)
        return result

    def _total(self, state: Value) -> Value:
        """The last value of a state that adds up."""
        addend = self.sums[state]
        if isinstance(addend.node.op, MatMul) and [each.type.rank for each in addend.node.operands] == [2, 2]:
            (left, each_left), (right, each_right) = (self.outside[operand] for operand in addend.node.operands)
            if each_left and each_right:
                return self.states[state] + swapped(_rows(swapped(left))) @ _rows(right)
        total: Value = Sum((0,))(self._spread(addend))
        return self.states[state] + total


def _rows(x: Value) -> Value:
    """[steps, n, m] as [steps * n, m]."""
    steps, n, m = x.shape
    result: Value = Reshape((steps * n, m))(x)
    return result
