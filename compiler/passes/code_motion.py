"""Loop-invariant code motion: computations that need not run step by step leave their Scan, as one over all steps.

Three kinds, each applied over a new leading axis by its operator's batching rule (`Operator.batch`):

- what depends on the sequences alone, such as a projection of the inputs, is computed before the steps;
- outputs that are computed from the states, such as a projection of them, are computed after the steps;
- a state that only accumulates, such as the gradient of a weight, becomes one sum (of matrix products: one product).

Keeps results to within rounding: large products and sums are computed in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.dims import Size
from compiler.graph import Graph, Value, origin
from compiler.operators.arithmetic import Add
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Input
from compiler.operators.linear import MatMul
from compiler.operators.making import swapped
from compiler.operators.reductions import Sum
from compiler.operators.shaping import DataMovement, Expand, Reshape
from compiler.rewrite import rebuild, replace, with_ends, with_operands
from compiler.types import TensorType


def sink_results(graph: Graph) -> Graph:
    """`graph` with outputs that follow from next states computed after each Scan, and unused ones removed."""
    return _change_scans(graph, hoists=False)


def hoist_steps(graph: Graph) -> Graph:
    """`graph` with everything moved out of its Scans that need not be computed step by step."""
    return _change_scans(graph, hoists=True)


def _change_scans(graph: Graph, hoists: bool) -> Graph:
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
            results = _Motion(node.op, operands, [result in used for result in node.results], hoists).results()
        if results is None:
            rebuild(node, new)
        else:
            new.update(
                (old, replacement)
                for old, replacement in zip(node.results, results, strict=True)
                if replacement is not None
            )
    return with_ends(graph, new)


class _Motion:
    """The transformation of one Scan: which values the new one stacks, and what values of the body are outside of it.

    With `hoists` work also moves to before the steps, and states that only accumulate are removed.
    """

    def __init__(self, scan: Scan, operands: tuple[Value, ...], used: list[bool], hoists: bool) -> None:
        self.scan, self.hoists = scan, hoists
        self.length: Size = scan.length(*(operand.type for operand in operands))
        inputs, ends = list(scan.body.inputs.values()), list(scan.body.outputs.values())
        n, last = scan.states, scan.states + scan.slices
        self.states = dict(zip(inputs[:n], operands[:n], strict=True))
        self.slices = dict(zip(inputs[n:last], operands[n:last], strict=True))
        self.whole = dict(zip(inputs[last:], operands[last:], strict=True))
        self.nexts = dict(zip(inputs[:n], ends[:n], strict=True))
        self.outputs = [end if is_used else None for end, is_used in zip(ends[n:], used[n:], strict=True)]
        self.stacked: dict[Value, Value] = {}  # values that the new Scan stacks, and the stacked results
        self.sums: dict[Value, Value] = {}  # states that only accumulate, and what is added to them
        self.outside = self._values_outside()

    def results(self) -> Sequence[Value | None] | None:
        """The replacement of each result, None for a stacked one without users; None if nothing moves."""
        stacked: dict[Value, None] = {}
        nexts = set(self.nexts.values())
        for value in self.outputs:
            if value is not None:
                bases = self._bases(value, everything=True)
                stacked.update(dict.fromkeys(bases if nexts.issuperset(bases) else [value]))
        if self.hoists:
            self._find_sums(stacked)
        kept = [state for state in self.states if state not in self.sums]
        ends = [*(self.nexts[state] for state in kept), *stacked]
        whole, sequences = self._needed(ends)
        if ends == list(self.scan.body.outputs.values()):
            if list(whole) == list(self.whole) and list(sequences) == list(self.slices):
                return None
        finals = self._new_scan(kept, list(stacked), whole, sequences) if ends else {}
        self.outside = self._values_outside()
        results = [finals[state] if state in finals else self._total(state) for state in self.states]
        return [*results, *(None if value is None else self._expand_over_steps(value) for value in self.outputs)]

    def _values_outside(self) -> dict[Value, tuple[Value, bool]]:
        """The values of the body that exist outside: one for all steps, or (True) one for each along axis 0."""
        outside = {value: (outer, False) for value, outer in self.whole.items()}
        outside |= {value: (outer, True) for value, outer in (*self.slices.items(), *self.stacked.items())}
        for node in self.scan.body:
            if any(result in outside for result in node.results) or isinstance(node.op, Input):
                continue
            operands = [outside.get(operand) for operand in node.operands]
            known = [pair for pair in operands if pair is not None]
            if len(known) < len(operands):
                continue
            values, mapped = tuple(value for value, _ in known), [along_axis for _, along_axis in known]
            with origin(node.origin.span, node.origin.path):
                if not any(mapped):
                    outer = with_operands(node, values)
                    outside.update((old, (new, False)) for old, new in zip(node.results, outer.results, strict=True))
                elif len(node.results) == 1:
                    over = node.op.batch(self.length, mapped, *values)
                    if over is not None:
                        outside[node.result] = over, True
        return outside

    def _bases(self, value: Value, everything: bool) -> list[Value]:
        """The values to stack so that `value` can be computed outside, through `everything` or cheap operators."""
        nexts = set(self.nexts.values())
        bases: dict[Value, None] = {}
        waiting = [value]
        while waiting:
            current = waiting.pop()
            if current in self.outside:
                continue
            apart = everything or isinstance(current.node.op, (MatMul, DataMovement, Sum))
            if current in nexts or not apart or not self._maps(current):
                bases[current] = None
            else:
                waiting.extend(current.node.operands)
        return list(bases)

    def _maps(self, value: Value) -> bool:
        """Whether a value of the body could be computed outside, given its operands there.

        The operator is asked for these very operands, since its batching rule may cover only some.
        """
        if len(value.node.results) > 1 or not value.node.operands:
            return False
        known = [self.outside.get(operand) for operand in value.node.operands]
        mapped = [pair is None or pair[1] for pair in known]
        operands = [
            pair[0]
            if pair is not None
            else Input("stacked", TensorType(operand.type.dtype, (self.length, *operand.shape)))()
            for pair, operand in zip(known, value.node.operands, strict=True)
        ]
        return value.node.op.batch(self.length, mapped, *operands) is not None

    def _find_sums(self, stacked: dict[Value, None]) -> None:
        """Record the states that nothing reads but the addition that gives their next value."""
        ends = list(self.scan.body.outputs.values())
        for state, end in self.nexts.items():
            node = end.node
            if not isinstance(node.op, Add) or state not in node.operands or ends.count(end) > 1 or state in ends:
                continue
            addend = node.operands[1] if node.operands[0] is state else node.operands[0]
            readers = [reader for reader in self.scan.body if state in reader.operands or end in reader.operands]
            if readers == [node] and addend is not state and addend.type == state.type:
                stacked.update(dict.fromkeys(self._bases(addend, everything=False)))
                self.sums[state] = addend

    def _new_scan(
        self, kept: list[Value], stacked: list[Value], whole: dict[Value, Value], sequences: dict[Value, Value]
    ) -> dict[Value, Value]:
        """Build the new Scan and record what it stacks; the final values of the `kept` states."""
        if not sequences:  # a Scan is as long as its sequences
            sequences = dict([next(iter(self.slices.items()))])
        types = {
            **{f"state_{index}": state.type for index, state in enumerate(kept)},
            **{f"item_{index}": value.type for index, value in enumerate(sequences)},
            **{f"whole_{index}": value.type for index, value in enumerate(whole)},
        }
        inputs = {label: Input(label, type)() for label, type in types.items()}
        formal = dict(zip((*kept, *sequences, *whole), inputs.values(), strict=True))
        ends = replace([*(self.nexts[state] for state in kept), *stacked], formal)
        body = Graph(
            inputs,
            {f"result_{index}": end for index, end in enumerate(ends)},
            name=self.scan.body.name,
        )
        first = (self.states[state] for state in kept)
        scan = Scan(body, len(kept), len(sequences), self.scan.reverse, backward=self.scan.backward)
        results = scan.apply(*first, *sequences.values(), *whole.values()).results
        self.stacked = dict(zip(stacked, results[len(kept) :], strict=True))
        return dict(zip(kept, results[: len(kept)], strict=True))

    def _needed(self, ends: list[Value]) -> tuple[dict[Value, Value], dict[Value, Value]]:
        """The inputs of the new body from outside: values that are the same at every step, and sequences."""
        whole: dict[Value, Value] = {}
        sequences: dict[Value, Value] = {}
        seen: set[Value] = set()
        waiting = list(reversed(ends))
        while waiting:
            value = waiting.pop()
            if value in seen or value in self.states or isinstance(value.node.op, Constant):
                continue
            seen.add(value)
            if value in self.outside and (self.hoists or isinstance(value.node.op, Input)):
                outside, mapped = self.outside[value]
                (sequences if mapped else whole)[value] = outside
            else:
                waiting.extend(reversed(value.node.operands))
        return whole, sequences

    def _expand_over_steps(self, value: Value) -> Value:
        """A value outside with an axis of steps in front, even where it is the same at every step."""
        outside, mapped = self.outside[value]
        if mapped:
            return outside
        return Expand((self.length, *outside.shape))(outside)

    def _total(self, state: Value) -> Value:
        """The final value of a state that only accumulates."""
        addend = self.sums[state]
        if isinstance(addend.node.op, MatMul) and [operand.type.rank for operand in addend.node.operands] == [2, 2]:
            (left, left_mapped), (right, right_mapped) = (self.outside[operand] for operand in addend.node.operands)
            if left_mapped and right_mapped:
                return self.states[state] + swapped(_rows(swapped(left))) @ _rows(right)
        return self.states[state] + Sum((0,))(self._expand_over_steps(addend))


def _rows(x: Value) -> Value:
    """[steps, n, m] as [steps * n, m]."""
    steps, n, m = x.shape
    return Reshape((steps * n, m))(x)
