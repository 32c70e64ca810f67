"""Loop-invariant code motion: computations that need not run step by step leave their Scan, as one over all steps.

Three kinds, each applied over a new leading axis by its operator's batching rule (`Operator.batch`):

- what depends on the sequences alone, such as a projection of the inputs, is computed before the steps;
- outputs that are computed from the states, such as a projection of them, are computed after the steps;
- a state that only accumulates, such as the gradient of a weight, becomes one sum (of matrix products: one product).

Outputs that a step concatenates are stacked as the concatenation, so that what is computed from each of them, as the
gradients of the weights of several gates, is computed once for all.

Arithmetic of large items stays in the steps, where the items are in the processor's cache: the table of costs decides.

Keeps results to within rounding: large products and sums are computed in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.costs import cheapest
from compiler.dims import Size
from compiler.graph import Graph, Node, Value
from compiler.operators.arithmetic import Add, Elementwise
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Input
from compiler.operators.linear import MatMul
from compiler.operators.making import split, swapped
from compiler.operators.reductions import Sum
from compiler.operators.shaping import Concat, DataMovement, Expand, Reshape
from compiler.origins import origin
from compiler.passes.rules import is_everywhere
from compiler.rewrite import reached, rebuild, replace, with_ends, with_operands
from compiler.targets import ORT_CPU, Target
from compiler.types import TensorType


def sink_results(graph: Graph) -> Graph:
    """`graph` with outputs that follow from next states computed after each Scan, and unused ones removed."""
    return _change_scans(graph, None)


def hoist_steps(graph: Graph, target: Target = ORT_CPU) -> Graph:
    """`graph` with everything moved out of its Scans that need not be computed step by step."""
    return _change_scans(graph, target)


def _change_scans(graph: Graph, target: Target | None) -> Graph:
    if not graph.has(Scan):
        return graph
    used = {operand for node in graph for operand in node.operands} | set(graph.ends)
    new: dict[Value, Value] = {}
    for node in graph:
        if not isinstance(node.op, Scan):
            rebuild(node, new)
            continue
        with origin(node.origin.span, node.origin.path):
            operands = tuple(new[operand] for operand in node.operands)
            used_results = [result in used for result in node.results]
            # What a step computes again must not be computed for all steps before: its values would be in memory.
            results = _Motion(node.op, operands, used_results, None if node.op.recompute else target).results()
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

    With a target work also moves to before the steps, and states that only accumulate are removed.
    """

    def __init__(self, scan: Scan, operands: tuple[Value, ...], used: list[bool], target: Target | None) -> None:
        self.scan, self.target, self.hoists = scan, target, target is not None
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
        self.packed: dict[Value, Node] = {}  # values that are stacked as a part of a concatenation, and its node
        self.totals: dict[tuple[Node, Value | None], dict[Value, Value]] = {}  # of the parts of a concatenation
        self.outside = self._values_outside()

    def results(self) -> Sequence[Value | None] | None:
        """The replacement of each result, None for a stacked one without users; None if nothing moves."""
        stacked: dict[Value, None] = {}
        nexts = set(self.nexts.values())
        computed = reached(nexts, self.states)  # in any case
        for value in self.outputs:
            if value is not None:
                bases = [value] if value.node in computed else self._bases(value, everything=True)
                stacked.update(dict.fromkeys(bases if nexts.issuperset(bases) else [value]))
        if self.hoists:
            self._find_sums(stacked)
            self._pack(stacked)
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
        for node in dict.fromkeys(self.packed.values()) if self.stacked else ():
            whole = self.stacked[node.result]
            parts = split(whole, tuple(operand.shape[-1] for operand in node.operands), whole.type.rank - 1)
            outside.update((operand, (part, True)) for operand, part in zip(node.operands, parts, strict=True))
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

    def _pack(self, stacked: dict[Value, None]) -> None:
        """Stack a concatenation that the steps compute in place of all its parts."""
        needed = reached(
            [*(self.nexts[state] for state in self.nexts if state not in self.sums), *stacked], self.states
        )
        for node in self.scan.body:
            parts, rank = set(node.operands), node.results[0].type.rank
            if not isinstance(node.op, Concat) or node not in needed or rank < 2 or node.op.axis not in (-1, rank - 1):
                continue
            if len(parts) == len(node.operands) > 1 and stacked.keys() >= parts:
                for part in parts:
                    del stacked[part]
                stacked[node.result] = None
                self.packed.update(dict.fromkeys(node.operands, node))

    def _new_scan(
        self, kept: list[Value], stacked: list[Value], whole: dict[Value, Value], sequences: dict[Value, Value]
    ) -> dict[Value, Value]:
        """Build the new Scan and record what it stacks; the final values of the `kept` states."""
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
        scan = self.scan.replace(body=body, states=len(kept), slices=len(sequences), truncate=0)
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
            if value in self.outside and (isinstance(value.node.op, Input) or (self.hoists and not self._stays(value))):
                outside, mapped = self.outside[value]
                (sequences if mapped else whole)[value] = outside
            else:
                waiting.extend(reversed(value.node.operands))
        return whole, sequences or dict([next(iter(self.slices.items()))])  # a Scan is as long as its sequences

    def _stays(self, value: Value) -> bool:
        """Whether arithmetic that could be done for all steps at once is done faster step by step."""
        if self.target is None or not self.outside[value][1] or not isinstance(value.node.op, Elementwise):
            return False
        return cheapest(self.target, "arithmetic of steps", "before", elements=value.type.elements) == "inside"

    def _expand_over_steps(self, value: Value) -> Value:
        """A value outside with an axis of steps in front, even where it is the same at every step."""
        outside, mapped = self.outside[value]
        if mapped:
            return outside
        return Expand((self.length, *outside.shape))(outside)

    def _total(self, state: Value) -> Value:
        """The final value of a state that only accumulates."""
        first, addend = self.states[state], self.sums[state]
        total = self._sum_of_products(addend) or self._sum_of_rows(addend) or Sum((0,))(self._expand_over_steps(addend))
        # the total itself where the state starts at 0, as that of a gradient does
        return total if is_everywhere(first, 0) and first.type == total.type else first + total

    def _sum_of_products(self, addend: Value) -> Value | None:
        """The sum over the steps of products of two matrices that differ from step to step, as one product."""
        left, right = addend.node.operands if isinstance(addend.node.op, MatMul) else (addend, addend)
        if left is right or left.type.rank != 2 or right.type.rank != 2:
            return None
        (outer, left_mapped), (_, right_mapped) = self.outside[left], self.outside[right]
        if not left_mapped or not right_mapped:
            return None
        rows = _rows(swapped(outer))
        return swapped(self._of_part(right, left, lambda value: swapped(_rows(value)) @ rows))

    def _sum_of_rows(self, addend: Value) -> Value | None:
        """The sum over the steps of sums over all axes but the last."""
        op, operands = addend.node.op, addend.node.operands
        if (
            not isinstance(op, Sum)
            or addend.type.rank != 1
            or operands[0].type.rank != 2
            or not self.outside[addend][1]
        ):
            return None
        if operands[0].shape[-1:] != addend.shape or operands[0].type.distinct_axes(op.axes or ()) != (0,):
            return None
        return self._of_part(operands[0], None, lambda value: Sum((0,))(_rows(value)))

    def _of_part(self, value: Value, other: Value | None, compute: Callable[[Value], Value]) -> Value:
        """`compute` of a stacked value and an `other`: of a part of a concatenation, the part of that of the whole.

        The last axis of what is stacked becomes axis 0 of what is computed.
        """
        node = self.packed.get(value)
        if node is None:
            return compute(self.outside[value][0])
        key = node, other
        if key not in self.totals:
            sizes = tuple(operand.shape[-1] for operand in node.operands)
            parts = split(compute(self.stacked[node.result]), sizes, 0)
            self.totals[key] = dict(zip(node.operands, parts, strict=True))
        return self.totals[key][value]


def _rows(x: Value) -> Value:
    """[steps, n, m] as [steps * n, m]."""
    steps, n, m = x.shape
    return Reshape((steps * n, m))(x)
