"""Recurrence: a step, as a graph of its own, repeated along an axis, and its gradient, which runs backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from compiler.attribute_kinds import INTERNAL, Flag, Integer
from compiler.derivation import BackwardStep, current_derivation
from compiler.dims import Size, positive
from compiler.gradient import gradients
from compiler.graph import Graph, Node, Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.leaves import Input
from compiler.operators.making import (
    cast,
    concat,
    equal,
    flip,
    iota,
    logical_or,
    mod,
    not_equal,
    slice_,
    unsqueeze,
    zeros,
)
from compiler.operators.orders import lower_backwards
from compiler.rewrite import reached, rebuild, replace
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


def pad_empty(emit: Emit, value: str, *sizes: Size, axis: int = 0) -> str:
    """`value`, padded with a zero along those of its axes from `axis` on, of these `sizes`, that may be empty and are.

    onnxruntime runs no Scan over an empty sequence, and its LSTM and GRU crash the process for an empty batch.
    """
    if all(map(positive, sizes)):
        return value
    rank = emit.type(value).rank
    empty = emit("Cast", emit("Equal", emit.sizes(sizes), np.array([0])), to=DType.I64.onnx)
    begin = np.zeros(rank + axis, np.int64)
    others = rank - axis - len(sizes)
    end = (empty, np.zeros(others, np.int64)) if others else (empty,)
    return emit("Pad", value, emit("Concat", begin, *end, axis=0))


def drop_padding(emit: Emit, value: str, *sizes: Size, axes: Sequence[int] = ()) -> str:
    """A result computed from values of `pad_empty`, whose `axes` have these sizes, without the padding."""
    if all(map(positive, sizes)):
        return value
    cut = np.array(axes or range(len(sizes)))
    return emit("Slice", value, np.zeros_like(cut), emit.sizes(sizes), cut)


def states_of_steps(emit: Emit, length: Size, first: Sequence[str | Array], final: Sequence[str]) -> Sequence[str]:
    """The states after the steps along sequences of `pad_empty`: the first ones where there was no step."""
    if positive(length):
        return final
    none = emit("Squeeze", emit("Equal", emit.sizes((length,)), np.array([0])), np.array([0]))  # a state may be scalar
    return [emit("Where", none, before, after) for before, after in zip(first, final, strict=True)]


class Scan(Operator):
    """A recurrence along axis 0.

    Operands are the initial states, the sequences, and values that every step sees whole. The body's inputs are the
    states, one item of each sequence, and the whole values; its outputs are the next states and what to stack.
    Results are the final states and the stacked outputs. With `reverse` the steps run from the last item to the first,
    and an output is stacked at the index of its item. `truncate` is of the gradient alone; what a step
    with `recompute` computes also stays inside of it.
    """

    name = "scan"
    public = False
    body: Annotated[Graph, INTERNAL]
    states: Integer
    slices: Integer
    reverse: Flag = False
    backward: Flag = False  # is the gradient of another
    truncate: Integer = 0  # steps in each segment of truncated back-propagation; 0 for all in one
    recompute: Flag = False  # whether the gradient computes each step again, and saves nothing but the states

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        return ((index, 0) for index in range(self.states, self.states + self.slices))

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        inputs = [value.type for value in self.body.inputs.values()]
        outputs = [value.type for value in self.body.outputs.values()]
        if len(operands) != len(inputs):
            raise TypeMismatch(f"the step takes {len(inputs)} operands, not {len(operands)}")
        length = self.length(*operands)
        for index, (operand, expected) in enumerate(zip(operands, inputs, strict=True)):
            item = operand.with_shape(*operand.shape[1:]) if self._is_sequence(index) else operand
            if item != expected:
                raise TypeMismatch(f"operand {index} of the step must be {expected}, not {item}")
        for index in range(self.states):
            if outputs[index] != inputs[index]:
                raise TypeMismatch(f"state {index} is {inputs[index]}, but its next value is {outputs[index]}")
        stacked = (output.with_shape(length, *output.shape) for output in outputs[self.states :])
        return (*outputs[: self.states], *stacked)

    def length(self, *operands: TensorType) -> Size:
        """The number of steps: the size of axis 0 of every sequence."""
        sequences = operands[self.states : self.states + self.slices]
        if not sequences or not sequences[0].rank:
            raise TypeMismatch("a scan needs at least one sequence of one axis or more")
        for other in sequences[1:]:
            if not other.rank or other.shape[0] != sequences[0].shape[0]:
                raise TypeMismatch(f"the sequences of a scan must have one length, not {sequences[0]} and {other}")
        return sequences[0].shape[0]

    def compute(self, *operands: Array, bodies: list[Callable[..., tuple[Array, ...]]]) -> tuple[Array, ...]:
        (step,) = bodies
        states = operands[: self.states]
        sequences = operands[self.states : self.states + self.slices]
        whole = operands[self.states + self.slices :]
        length = len(sequences[0])
        stacked: list[Array] = []
        for index in reversed(range(length)) if self.reverse else range(length):
            results = step(*states, *(sequence[index] for sequence in sequences), *whole)
            states, items = results[: self.states], results[self.states :]
            if not stacked:
                stacked = [np.empty((length, *item.shape), item.dtype) for item in items]
            for rows, item in zip(stacked, items, strict=True):
                rows[index] = item
        if length == 0:  # the states stay; one step on zeros shows the shapes of the items
            zeros = (np.zeros(sequence.shape[1:], sequence.dtype) for sequence in sequences)
            items = step(*states, *zeros, *whole)[self.states :]
            stacked = [np.empty((0, *item.shape), item.dtype) for item in items]
        return (*states, *stacked)

    def pullback(
        self, grad: tuple[Value | None, ...], *operands: Value, result: tuple[Value, ...]
    ) -> tuple[Value | None, ...]:
        node = (result[0] if isinstance(result, tuple) else result).node
        return through_time(node, grad if isinstance(grad, tuple) else (grad,))

    def lower(self, emit: Emit, *operands: str) -> tuple[str, ...]:
        if self.backward and not emit.target.differentiates_scans:
            hint = "choose another target, such as `ort-cpu`, or compile the model for inference"
            few = f"which few {emit.target.title} run"
            refused = f"`--target {emit.target.name}` writes no gradient of a recurrence of unknown length, {few}"
            raise TypeMismatch(refused, hint)
        formal = self.states + self.slices
        names = [f"{label}" for label in self.body.inputs]
        inner = [emit.unique(f"step/{name}") for name in names[:formal]]
        outputs = [emit.unique(f"step/{name}") for name in self.body.outputs]
        body = emit.body(self.body, [*inner, *operands[formal:]], outputs, formal)
        directions = {"scan_input_directions": [int(self.reverse)] * self.slices}
        if stacked := len(outputs) - self.states:
            directions["scan_output_directions"] = [int(self.reverse)] * stacked
        first, sequences = operands[: self.states], operands[self.states : formal]
        types = [emit.type(operand) for operand in operands]
        length = self.length(*types)
        if not emit.target.stacks_any_sizes and not _has_known_sizes(self.infer(*types)[self.states :]):
            return self._lower_loop(emit, body, inner[self.states :], first, sequences, length)
        steps = [pad_empty(emit, sequence, length) for sequence in sequences]
        captured = emit.carry(body, self.states, self.states, {})
        results = emit.many(
            len(outputs) + len(captured),
            "Scan",
            *first,
            *captured,
            *steps,
            body=body,
            num_scan_inputs=self.slices,
            **directions,
        )
        results = (*results[: self.states], *results[self.states + len(captured) :])
        final = states_of_steps(emit, length, first, results[: self.states])
        return (*final, *(drop_padding(emit, stacked, length) for stacked in results[self.states :]))

    def _lower_loop(
        self, emit: Emit, body: Any, items: Sequence[str], first: Sequence[str], sequences: Sequence[str], length: Size
    ) -> tuple[str, ...]:
        """The steps as a Loop, which has no sequences: they are states that stay, and each step takes its item."""
        along = {name: emit.type(name) for name in sequences}
        if self.reverse:
            flipped = {name: lower_backwards(emit, name, 0, length) for name in along}
            sequences = [flipped[name] for name in sequences]
            along = {flipped[name]: type for name, type in along.items()}
        counter, before, after = (emit.unique(f"step/{name}") for name in ("number", "goes_on", "goes_on_after"))
        truth = TensorType(DType.BOOL)
        body.count_steps(
            self.states,
            dict(zip(items, sequences, strict=True)),
            (counter, TensorType(DType.I64)),
            (before, after, truth),
        )
        captured = emit.carry(body, self.states + 2, self.states + 1, along)
        types = [value.type for value in self.body.outputs.values()]
        results = emit.many(
            len(types) + len(captured),
            "Loop",
            emit("Squeeze", emit.sizes((length,)), np.array([0])),
            np.array(True),
            *first,
            *captured,
            body=body,
        )
        final, stacks = results[: self.states], results[self.states + len(captured) :]
        shaped = []
        for stack, type in zip(stacks, types[self.states :], strict=True):
            # Some clients know no rank of what a Loop stacks, and none knows the sizes where there was no step.
            whole = emit("Reshape", stack, emit.sizes((length, *type.shape)), allowzero=0)
            shaped.append(lower_backwards(emit, whole, 0, length) if self.reverse else whole)
        return (*final, *shaped)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        return (self.body,)

    def flops(self, *operands: TensorType) -> Size:
        total: Size = 0
        for node in self.body:
            total = total + node.op.flops(*(operand.type for operand in node.operands))
        return total * self.length(*operands)

    def _is_sequence(self, index: int) -> bool:
        return self.states <= index < self.states + self.slices


def _has_known_sizes(types: Iterable[TensorType]) -> bool:
    """Whether all sizes of the types are numbers."""
    return all(isinstance(size, int) for type in types for size in type.shape)


# Back-propagation through time (Werbos, 1990): the gradient of a Scan is a Scan in the other direction


def through_time(node: Node, grads: tuple[Value | None, ...]) -> tuple[Value | None, ...]:
    """The gradients of the operands of a node of a Scan, from those of its results.

    The states, and what else of a step its gradient needs, are saved by a second forward Scan, which the pass
    `merge_scans` merges with the first. A backward step pulls the gradients back through the forward step, and computes
    only the cheap values of that again. The gradients of the whole values are summed over the steps.
    """
    scan, operands = node.op, node.operands
    assert isinstance(scan, Scan)
    formal = list(scan.body.inputs.values())
    n, last = scan.states, scan.states + scan.slices
    step = _backward_step(scan, grads)

    length = scan.length(*(operand.type for operand in operands))
    stacks = _saving_scan(scan, step.saved).apply(*operands).results[n:] if n else ()
    before = [
        states_before(first, states, length, scan.reverse)
        for first, states in zip(operands[:n], stacks[:n], strict=True)
    ]
    stacked_grads = [grad for index in step.to_stacked if (grad := grads[index]) is not None]
    first = [grad if (grad := grads[index]) is not None else zeros(formal[index].type) for index in step.to_next]
    initial = [*first, *(zeros(value.type) for value in step.sums)]
    kept = [_keep_flags(scan, length, keep.type.dtype) for keep in step.keeps]
    sequences = [*before, *operands[n:last], *stacks[n:], *stacked_grads, *kept]
    backward = Scan(step.body, len(initial), len(sequences), not scan.reverse, backward=True, recompute=scan.recompute)
    applied = backward.apply(*initial, *sequences, *operands[last:])
    derivation = current_derivation()
    if derivation is not None:
        derivation.steps.append(step.derived(applied, node, first, stacked_grads))
    results = iter(applied.results)
    gradient_of = {
        index: cast(next(results), formal[index].type.dtype)
        for index in (*range(n), *range(last, len(formal)), *range(n, last))
        if formal[index].type.dtype.is_float
    }
    return tuple(gradient_of.get(index) for index in range(len(formal)))


@dataclass(frozen=True, eq=False)
class _BackwardStep:
    """One step of back-propagation through time; dicts are by the index in the forward step."""

    body: Graph
    inputs: list[Value]  # of the forward step, as it is computed again
    ends: list[Value]  # the outputs of the forward step, as it is computed again
    to_next: dict[int, Value]  # the gradients of the states, from the step after
    to_stacked: dict[int, Value]  # the gradients of the stacked results
    sums: list[Value]  # of the gradients of the whole values, up to this step
    keeps: list[Value]  # truncation: 1 where the gradient flows on to the step before, 0 where it stops
    state_gradients: list[Value]
    saved: list[Value]  # the values of the forward step that are read, and not computed again

    def derived(self, applied: Node, node: Node, first: list[Value], stacked_grads: list[Value]) -> BackwardStep:
        """What a derivation says of this step, with the gradients that arrive from outside the recurrence."""
        return BackwardStep(
            applied,
            node,
            tuple(self.inputs),
            tuple(self.ends),
            dict(zip(self.to_next, zip(self.to_next.values(), first, strict=True), strict=True)),
            dict(zip(self.to_stacked, zip(self.to_stacked.values(), stacked_grads, strict=True), strict=True)),
            tuple(self.keeps),
            dict(zip(self.to_next, self.state_gradients, strict=True)),
        )


def _backward_step(scan: Scan, grads: tuple[Value | None, ...]) -> _BackwardStep:
    """The step of a Scan backwards, where `grads` says which results have a gradient."""
    formal = list(scan.body.inputs.values())
    n, last = scan.states, scan.states + scan.slices
    inputs = [Input(f"forward_{index}", value.type)() for index, value in enumerate(formal)]
    forward = dict(zip(formal, inputs, strict=True))
    for inner in scan.body:
        if inner.results[0] not in forward:
            rebuild(inner, forward)
    ends = [forward[end] for end in scan.body.outputs.values()]

    floats = [index for index, value in enumerate(formal) if value.type.dtype.is_float]
    to_next = {index: Input(f"grad_next_{index}", formal[index].type)() for index in floats if index < n}
    sums = [Input(f"sum_{index}", _sum_type(formal[index].type))() for index in floats if index >= last]
    to_stacked = {
        index: Input(f"grad_stacked_{index}", ends[index].type)()
        for index, grad in enumerate(grads[n:], n)
        if grad is not None and ends[index].type.dtype.is_float
    }
    seeds = to_next | to_stacked
    pulled = gradients([ends[index] for index in seeds], list(seeds.values()), [inputs[index] for index in floats])
    flowing = {
        index: grad if grad is not None else zeros(inputs[index].type)
        for index, grad in zip(floats, pulled, strict=True)
    }

    state_gradients = [flowing[index] for index in to_next]
    keeps: list[Value] = []
    if scan.truncate:
        state_gradients, keeps = _truncate(state_gradients)
    whole = [grad for index, grad in flowing.items() if index >= last]
    summed = [total + cast(grad, total.type.dtype) for total, grad in zip(sums, whole, strict=True)]
    results = [*state_gradients, *summed, *(grad for index, grad in flowing.items() if n <= index < last)]
    saved = _values_to_save(scan, forward, results) if n and not scan.recompute else []
    saved_inputs = {forward[value]: Input(f"saved_{index}", value.type)() for index, value in enumerate(saved)}
    body_inputs = [
        *to_next.values(), *sums, *inputs[:last], *saved_inputs.values(), *to_stacked.values(), *keeps, *inputs[last:]
    ]  # fmt: skip
    body = Graph(_named(body_inputs), _numbered(replace(results, saved_inputs)), name="step_back")
    return _BackwardStep(body, inputs, ends, to_next, to_stacked, sums, keeps, state_gradients, saved)


def _saving_scan(scan: Scan, saved: list[Value]) -> Scan:
    """The forward Scan, which stacks its states and the values that are `saved` of each step."""
    states = list(scan.body.outputs.values())[: scan.states]
    body = Graph(scan.body.inputs, _numbered([*states, *states, *saved]), name="step")
    return Scan(body, scan.states, scan.slices, scan.reverse, recompute=scan.recompute)


def _values_to_save(scan: Scan, forward: dict[Value, Value], results: list[Value]) -> list[Value]:
    """The values of the forward step from which the backward step's `results` are computed by cheap operators alone.

    `forward` maps the values of the step to those in the backward step. What does not depend on the states is never
    saved, since it can be computed for all steps at once.
    """
    formal = list(scan.body.inputs.values())
    moving = reached(scan.body.outputs.values(), formal[: scan.states])
    backward = Graph({}, _numbered(results)).nodes
    copies = {copy.node for copy in forward.values()}
    read = {operand for node in backward if node not in copies for operand in node.operands} | set(results)
    saved: list[Value] = []
    known = set(formal)  # values that a backward step has, or computes by cheap operators
    for node in scan.body:
        if node not in moving or (node.op.cheap and known.issuperset(node.operands)):
            known.update(node.results)
        for value in node.results:
            if value not in known and forward[value] in read:
                saved.append(value)
                known.add(value)
    return saved


def _truncate(state_gradients: list[Value]) -> tuple[list[Value], list[Value]]:
    """The states' gradients times 0 or 1, an input of each step, and these inputs, one for each dtype."""
    keeps: dict[DType, Value] = {}
    for value in state_gradients:
        dtype = value.type.dtype
        if dtype not in keeps:
            keeps[dtype] = Input(f"keep_{dtype}", TensorType(dtype))()
    return [value * keeps[value.type.dtype] for value in state_gradients], list(keeps.values())


def _keep_flags(scan: Scan, length: Size, dtype: DType) -> Value:
    """1 for each step, but 0 where a segment of `truncate` steps begins, except the first (Williams and Peng 1990)."""
    number = iota(length)
    if scan.reverse:
        number = flip(number, (0,))
    inside = not_equal(mod(number, scan.truncate), 0)
    return cast(logical_or(inside, equal(number, 0)), dtype)


def _sum_type(type: TensorType) -> TensorType:
    """The type of a running sum: f32 for 16-bit floats, in which it would soon stop growing."""
    return type.with_dtype(type.dtype.wide)


def states_before(first: Value, after: Value, length: Size, reverse: bool) -> Value:
    """The states before each step, `[length, ...]`, from those after it: the first state, then all but the last."""
    start = unsqueeze(first, (0,))
    if reverse:
        return slice_(concat((after, start), 0), (0,), (1,), (length + 1,))
    return slice_(concat((start, after), 0), (0,), (0,), (length,))


def _named(values: list[Value]) -> dict[str, Value]:
    return {str(getattr(value.node.op, "label", index)): value for index, value in enumerate(values)}


def _numbered(values: list[Value]) -> dict[str, Value]:
    return {f"result_{index}": value for index, value in enumerate(values)}
