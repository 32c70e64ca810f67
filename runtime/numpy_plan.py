"""Plans for running a graph with NumPy at one set of sizes: a flat list of steps over numbered slots.

Planning does the work that every run would repeat: it binds named dims, assigns a slot to each value, finds its last
use, and lets an elementwise step overwrite an operand that no later step reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import symbols
from compiler.graph import Graph, Node, Operator, Value
from compiler.numpy_kernels import kernel_of
from compiler.operators.leaves import Constant, Placeholder
from compiler.types import TensorType, TypeMismatch
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.chaining import ChainOperator, chain_elementwise, results_of
from runtime.memory import advice
from runtime.numpy_chains import PLAIN, LoopSettings
from runtime.observing import watched
from runtime.stopped import StoppedByData

if TYPE_CHECKING:
    from compiler.types import Array

Kernel = Callable[..., Any]
_NEVER = 2**62


@dataclass(frozen=True)
class Step:
    """A kernel with the slots of its arguments and results, and the slots that can be freed after it."""

    kernel: Kernel
    arguments: tuple[int, ...]
    results: tuple[int, ...]
    freed: tuple[int, ...]
    node: Node


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps in order; `feed_slots` are the slots that the caller fills, by the input's label or the parameter's path.

    `copied` are the indices of the ends that would alias the caller's arrays or constants. `peak_bytes` is the most
    memory that computed values hold at once, without inputs and weights.
    """

    steps: tuple[Step, ...]
    feed_slots: dict[str, int]
    fixed: tuple[tuple[int, Array], ...]
    ends: tuple[int, ...]
    copied: tuple[int, ...]
    slots: int
    peak_bytes: int

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """The graph's ends, in order; none shares memory with a feed or a constant."""
        slots = self._empty.copy()
        for name, slot in self.feed_slots.items():
            slots[slot] = feeds[name]
        ends = self._run(slots)
        try:
            for end in self.copied:
                ends[end] = np.array(ends[end])
        except MemoryError as error:
            raise _run_error(self.steps[-1].node if self.steps else None, error) from error
        return tuple(ends)

    def step(self, *inputs: Array) -> tuple[Array, ...]:
        """The ends of a nested graph, given its inputs in order: they have the first slots."""
        slots = self._empty.copy()
        slots[: len(inputs)] = inputs
        return tuple(self._run(slots))

    def _run(self, slots: list[Any]) -> list[Array]:
        node: Node | None = None
        try:
            for kernel, first, second, get, result, freed, node in self._code:  # noqa: B007 - `node` names the culprit
                if get is not None:
                    results = kernel(*get(slots))
                elif second >= 0:
                    results = kernel(slots[first], slots[second])
                else:
                    results = kernel(slots[first])
                if result.__class__ is int:
                    slots[result] = results
                else:
                    for slot, array in zip(result, results, strict=True):
                        slots[slot] = array
                for slot in freed:
                    slots[slot] = None
        except (ArithmeticError, IndexError, ValueError, TypeMismatch, MemoryError) as error:
            raise _run_error(node, error) from error
        return [slots[slot] for slot in self.ends]

    @cached_property
    def _empty(self) -> list[Any]:
        slots: list[Any] = [None] * self.slots
        for slot, array in self.fixed:
            slots[slot] = array
        return slots

    @cached_property
    def _code(self) -> list[tuple[Any, ...]]:
        """The steps as plain tuples, which the loop unpacks fastest. One or two arguments are fetched by index."""
        code: list[tuple[Any, ...]] = []
        for step in self.steps:
            arguments = step.arguments
            first = arguments[0] if arguments else -1
            second = arguments[1] if len(arguments) == 2 else -1
            get = None if 1 <= len(arguments) <= 2 else itemgetter(*arguments) if arguments else _nothing
            result = step.results[0] if len(step.results) == 1 else step.results
            code.append((step.kernel, first, second, get, result, step.freed, step.node))
        return code


class Sizes:
    """The types of values at one set of sizes."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self._bound: dict[TensorType, TensorType] = {}

    def type(self, value: Value) -> TensorType:
        """The type of a value with its named dims bound."""
        type = value.type
        if type not in self._bound:
            self._bound[type] = type.bind(self.sizes)
        return self._bound[type]


def plan(graph: Graph, sizes: Mapping[str, int], settings: LoopSettings = PLAIN) -> Plan:
    """Bind every named dim, assign slots to the values, and find when each is last used.

    Large elementwise operators run as chains, by the settings.
    """
    slot_of: dict[Value, int] = {}
    feed_slots: dict[str, int] = {}
    fixed: list[tuple[int, Array]] = []
    computed: list[tuple[Node, Operator]] = []
    for label, value in graph.inputs.items():
        slot_of[value] = feed_slots.setdefault(label, len(feed_slots))
    slots = len(feed_slots)
    for node in graph:
        for result in node.results:
            if result not in slot_of:
                slot_of[result] = slots
                slots += 1
        if isinstance(node.op, Constant):
            fixed.append((slot_of[node.result], node.op.compute()))
        elif isinstance(node.op, Placeholder):
            slot_of[node.result] = feed_slots.setdefault(feed_name(node), slot_of[node.result])
        else:
            computed.append((node, _bind(node, sizes)))
    types = Sizes(sizes)
    ordered = chain_elementwise(computed, set(graph.ends), types.type, settings)
    slot_of |= {result: slot_of[value] for result, value in results_of(ordered).items()}
    computed = [(node, op) for node, op, _ in ordered]
    last: dict[int, int] = {}
    for number, (node, _) in enumerate(computed):
        last.update((slot_of[value], number) for value in (*node.operands, *node.results))
    ends = tuple(slot_of[value] for value in graph.ends)
    for slot in (*ends, *(slot for slot, _ in fixed)):
        last[slot] = _NEVER
    memory = _Memory(computed, slot_of, last, types, settings)
    steps = memory.steps()
    copied = tuple(end for end, slot in enumerate(ends) if memory.is_lent(slot) or slot in ends[:end])
    return Plan(steps, feed_slots, tuple(fixed), ends, copied, slots, memory.peak)


class _Memory:
    """Which values own memory, which are views of others, and when memory is last used."""

    def __init__(
        self,
        computed: Sequence[tuple[Node, Operator]],
        slot_of: Mapping[Value, int],
        last: Mapping[int, int],
        sizes: Sizes,
        settings: LoopSettings,
    ) -> None:
        self.computed, self.slot_of, self.last, self.sizes, self.settings = computed, slot_of, last, sizes, settings
        self.overwriting: set[int] = set()  # slots whose values are written over an operand
        self.owned: set[int] = set()  # slots that certainly own their memory
        self.viewed: dict[int, int] = {}  # the slot of a view: the slot that it is a view of
        self.aliases: dict[int, frozenset[int]] = {}  # owned slots whose memory a slot may share
        self.dies: dict[int, int] = {}  # an owned slot: the last step that may read its memory
        self.bodies: dict[int, int] = {}
        self.peak = 0
        for node, op in computed:
            self._record_memory(node, op)

    def _record_memory(self, node: Node, op: Operator) -> None:
        operands = [self.slot_of[operand] for operand in node.operands]
        results = [self.slot_of[result] for result in node.results]
        if op.universal_function or op.allocates:
            self.owned.update(results)
            for slot in results:
                self.aliases[slot] = frozenset((slot,))
                self.dies[slot] = self.last[slot]
            return
        owners = frozenset().union(*(self.aliases.get(slot, ()) for slot in operands))
        for slot in results:
            if owners:
                self.aliases[slot] = owners
                for owner in owners:
                    self.dies[owner] = max(self.dies[owner], self.last[slot])
            if op.views_operand:
                self.viewed[slot] = self.viewed.get(operands[0], operands[0])

    def steps(self) -> tuple[Step, ...]:
        freed: dict[int, list[int]] = {}
        for slot, step in self.last.items():
            freed.setdefault(step, []).append(slot)
        steps: list[Step] = []
        for number, (node, op) in enumerate(self.computed):
            operands = tuple(self.slot_of[operand] for operand in node.operands)
            results = tuple(self.slot_of[result] for result in node.results)
            kernel, arguments, extra = self._kernel(op, node, operands, number)
            self.bodies[number] = extra
            nodes = op.nodes if isinstance(op, ChainOperator) else (node,)
            steps.append(Step(watched(kernel, nodes), arguments, results, tuple(freed.get(number, ())), node))
        self.peak = self._peak()
        return tuple(steps)

    def _kernel(
        self, op: Operator, node: Node, operands: tuple[int, ...], number: int
    ) -> tuple[Kernel, tuple[int, ...], int]:
        """The kernel, the slots of its arguments, and the memory that nested plans need."""
        if op.graphs:
            plans = [plan(body, self.sizes.sizes, self.settings) for body in op.graphs]
            bodies = [body.step for body in plans]
            kernel = partial(op.compute, bodies=bodies)
            peak = sum(body.peak_bytes for body in plans)
            return (kernel if len(node.results) > 1 else partial(_single_result, kernel)), operands, peak
        if isinstance(op, ChainOperator):
            return op.overwriting(self._chain_overwrites(node, operands, number)).compute, operands, 0
        ufunc = _ufunc(op)
        writer = _WRITING.get(ufunc, ufunc) if ufunc is not None else op.writer
        if writer is None or not node.result.type.rank:  # universal functions return no arrays for scalars
            used = [self.last[self.slot_of[result]] > number for result in node.results]
            return kernel_of(node, op, used), operands, 0
        for operand, slot in zip(node.operands, operands, strict=True):
            if self._may_overwrite(operand, slot, node.result, number):
                self.overwriting.add(self.slot_of[node.result])
                return writer, (*operands, slot), 0  # the last argument is `out`
        return ufunc or op.compute, operands, 0

    def _may_overwrite(self, operand: Value, slot: int, result: Value, number: int) -> bool:
        """Whether a step may write its result to the memory of an operand that nothing reads after it."""
        unread = slot in self.owned and self.dies[slot] <= number
        return unread and self.sizes.type(operand) == self.sizes.type(result)

    def _chain_overwrites(self, node: Node, operands: tuple[int, ...], number: int) -> dict[int, int]:
        """The operands of a chain, by index, that its results overwrite.

        Blocks are written one by one, so that no other operand may share the memory.
        """
        overwritten: dict[int, int] = {}
        for index, result in enumerate(node.results):
            for position, (operand, slot) in enumerate(zip(node.operands, operands, strict=True)):
                shared = any(slot in self.aliases.get(other, ()) for other in operands if other != slot)
                if shared or position in overwritten.values():
                    continue
                if self._may_overwrite(operand, slot, result, number):
                    overwritten[index] = position
                    self.overwriting.add(self.slot_of[result])
                    break
        return overwritten

    def is_lent(self, slot: int) -> bool:
        """Whether a slot holds, or is a view of, a value that was not computed: a feed or a constant."""
        source = self.viewed.get(slot, slot)
        return source not in self._computed_slots

    @cached_property
    def _computed_slots(self) -> set[int]:
        return {self.slot_of[result] for node, _ in self.computed for result in node.results} - self.viewed.keys()

    def _peak(self) -> int:
        """The most bytes alive at once; a view keeps its base alive."""
        death = {slot: self.last[slot] for slot in self._computed_slots}
        for view, source in self.viewed.items():
            if source in death:
                death[source] = max(death[source], self.last[view])
        alive = peak = 0
        dead: dict[int, int] = {}
        for number, (node, _) in enumerate(self.computed):
            for result in node.results:
                slot = self.slot_of[result]
                if slot in death:
                    count = self.sizes.type(result).elements
                    size = count * result.type.dtype.bytes if isinstance(count, int) else 0
                    alive += size
                    dead[death[slot]] = dead.get(death[slot], 0) + size
                    if slot in self.overwriting:  # it takes over the memory of an operand
                        alive -= size
                        dead[number] = dead.get(number, 0) - size
            peak = max(peak, alive + self.bodies[number])
            alive -= dead.pop(number, 0)
        return peak


def _maximum_into(x: Array, y: Array, out: Array) -> Array:
    return np.maximum(x, y, out=out)


def _minimum_into(x: Array, y: Array, out: Array) -> Array:
    return np.minimum(x, y, out=out)


# Two functions for which NumPy no longer accepts a positional `out`.
_WRITING: dict[Kernel, Kernel] = {np.maximum: _maximum_into, np.minimum: _minimum_into}


def feed_name(node: Node) -> str:
    """The name that a source is fed by: an input's label, a parameter's path."""
    op: Any = node.op
    return str(op.label if hasattr(op, "label") else op.path)


def errstate() -> Any:
    """No warnings for divisions by zero and overflows: they give infinities and NaN."""
    return np.errstate(all="ignore")


def _bind(node: Node, sizes: Mapping[str, int]) -> Operator:
    op = node.op.bind(sizes)
    if op is not node.op and not op.graphs and op.has_sizes:  # a nested graph is bound where it is planned
        free = sorted(set().union(*(symbols(size) for result in node.results for size in result.shape)) - sizes.keys())
        listed = ", ".join(f"`{name}`" for name in free) or "a size"
        hint = "make it an axis of an input by itself"
        raise NablacError(Diagnostic(codes.E908, f"no input determines {listed}", node.origin.span, hint=hint))
    return op


def _ufunc(op: Operator) -> Kernel | None:
    """NumPy's universal function that is the operator's whole kernel, if there is one."""
    return getattr(np, op.universal_function) if op.universal_function else None


def _single_result(kernel: Kernel, *operands: Array) -> Array:
    """The single result of an operator that in general has several."""
    results: tuple[Array] = kernel(*operands)
    return results[0]


def _nothing(slots: list[Any]) -> tuple[()]:
    return ()


def _run_error(node: Node | None, error: Exception) -> NablacError:
    """The error of an operator that cannot run on the data, at its line of the model."""
    if node is not None and isinstance(node.op, ChainOperator):
        node = node.op.first
    name = node.op.name if node is not None else "a step"
    span = node.origin.span if node is not None else None
    location = None if span is not None else (node.origin.path if node is not None else None) or None
    hint: str | None
    if isinstance(error, MemoryError):
        type = ", ".join(str(result.type) for result in node.results) if node is not None else ""
        message = f"not enough memory for `{name}`: {type}"
        hint = advice(node.results if node is not None else ())
        return NablacError(Diagnostic(codes.E810, message, span, place=location, hint=hint))
    hint = getattr(error, "hint", None)
    return StoppedByData(
        Diagnostic(codes.E806, f"`{name}` cannot run on this data: {error}", span, place=location, hint=hint)
    )
