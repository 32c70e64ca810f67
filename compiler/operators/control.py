"""Repetition: one step, as a graph of its own, run along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compiler.dims import Size, positive
from compiler.graph import Emit, Graph, Operator, Value
from compiler.lazy import LazyModule
from compiler.operators.arithmetic import onnx_dtype
from compiler.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


def filled(emit: Emit, value: str, *sizes: Size) -> str:
    """A value of which none of the first axes, of these sizes, is empty: zeros stand where the text lets one be so.

    onnxruntime walks along no empty sequence, and its LSTM and GRU end the process for an empty batch.
    """
    if all(map(positive, sizes)):
        return value
    others = emit.type(value).rank - len(sizes)
    empty = emit("Cast", emit("Equal", emit.sizes(sizes), np.array([0])), to=onnx_dtype(DType.I64))
    begin = np.zeros(len(sizes) + others, np.int64)
    end = (empty, np.zeros(others, np.int64)) if others else (empty,)
    return emit("Pad", value, emit("Concat", begin, *end, axis=0))


def unfilled(emit: Emit, value: str, *sizes: Size) -> str:
    """What was computed of `filled` values, as if nothing had been filled in."""
    if all(map(positive, sizes)):
        return value
    axes = np.arange(len(sizes))
    return emit("Slice", value, np.zeros_like(axes), emit.sizes(sizes), axes)


def states_of_steps(emit: Emit, length: Size, first: Sequence[str], final: Sequence[str]) -> Sequence[str]:
    """The states after steps along `filled` sequences: after none, the first ones."""
    if positive(length):
        return final
    none = emit("Squeeze", emit("Equal", emit.sizes((length,)), np.array([0])), np.array([0]))  # a state may be scalar
    return [emit("Where", none, before, after) for before, after in zip(first, final, strict=True)]


class Scan(Operator):
    """A recurrence along axis 0.

    Operands are the initial states, the sequences, and values that every step sees whole. The body's inputs are the
    states, one item of each sequence, and the whole values; its outputs are the next states and what to stack.
    Results are the final states and the stacked outputs. With `reverse` the walk begins at the end, and what a step
    gives lies where its item lay. `truncate` is for the gradient alone.
    """

    name = "scan"
    public = False
    opset = 17
    body: Graph
    states: int
    slices: int
    reverse: bool = False
    truncate: int = 0  # how many steps back a gradient flows, in stretches; 0 is all

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        inputs = [value.type for value in self.body.inputs.values()]
        outputs = [value.type for value in self.body.outputs.values()]
        if len(operands) != len(inputs):
            raise TypeMismatch(f"the step takes {len(inputs)} operands, and {len(operands)} are given")
        length = self.length(*operands)
        for place, (operand, wanted) in enumerate(zip(operands, inputs, strict=True)):
            item = operand.with_shape(*operand.shape[1:]) if self._is_sequence(place) else operand
            if item != wanted:
                raise TypeMismatch(f"operand {place} of the step is {wanted}, and {item} is given")
        for place in range(self.states):
            if outputs[place] != inputs[place]:
                raise TypeMismatch(f"state {place} is {inputs[place]}, and its next value {outputs[place]}")
        stacked = (each.with_shape(length, *each.shape) for each in outputs[self.states :])
        return (*outputs[: self.states], *stacked)

    def length(self, *operands: TensorType) -> Size:
        """The number of steps: the size of axis 0 of every sequence."""
        sequences = operands[self.states : self.states + self.slices]
        if not sequences or not sequences[0].rank:
            raise TypeMismatch("a scan walks along at least one sequence")
        for other in sequences[1:]:
            if not other.rank or other.shape[0] != sequences[0].shape[0]:
                raise TypeMismatch(f"sequences of one length are walked together, not {sequences[0]} and {other}")
        return sequences[0].shape[0]

    def compute(self, *operands: Array, bodies: list[Callable[..., tuple[Array, ...]]]) -> tuple[Array, ...]:
        (step,) = bodies
        states = operands[: self.states]
        sequences = operands[self.states : self.states + self.slices]
        whole = operands[self.states + self.slices :]
        length = len(sequences[0])
        stacked: list[Array] = []
        for place in reversed(range(length)) if self.reverse else range(length):
            results = step(*states, *(sequence[place] for sequence in sequences), *whole)
            states, given = results[: self.states], results[self.states :]
            if not stacked:
                stacked = [np.empty((length, *each.shape), each.dtype) for each in given]
            for rows, each in zip(stacked, given, strict=True):
                rows[place] = each
        if length == 0:  # the states stay; one step of zeros tells how large the items would be
            zeros = (np.zeros(sequence.shape[1:], sequence.dtype) for sequence in sequences)
            given = step(*states, *zeros, *whole)[self.states :]
            stacked = [np.empty((0, *each.shape), each.dtype) for each in given]
        return (*states, *stacked)

    def pullback(
        self, grad: tuple[Value | None, ...], *operands: Value, result: tuple[Value, ...]
    ) -> tuple[Value | None, ...]:
        from compiler.operators.backpropagation import through_time

        return through_time(self, grad if isinstance(grad, tuple) else (grad,), operands)

    def lower(self, emit: Emit, *operands: str) -> tuple[str, ...]:
        formal = self.states + self.slices
        names = [f"{label}" for label in self.body.inputs]
        inner = [emit.unique(f"step/{name}") for name in names[:formal]]
        outputs = [emit.unique(f"step/{name}") for name in self.body.outputs]
        body = emit.body(self.body, [*inner, *operands[formal:]], outputs, formal)
        directions = {"scan_input_directions": [int(self.reverse)] * self.slices}
        if stacked := len(outputs) - self.states:
            directions["scan_output_directions"] = [int(self.reverse)] * stacked
        first, sequences = operands[: self.states], operands[self.states : formal]
        length = self.length(*(emit.type(operand) for operand in operands))
        steps = [filled(emit, each, length) for each in sequences]
        made = emit.many(len(outputs), "Scan", *first, *steps, body=body, num_scan_inputs=self.slices, **directions)
        final = states_of_steps(emit, length, first, made[: self.states])
        return (*final, *(unfilled(emit, each, length) for each in made[self.states :]))

    @property
    def graphs(self) -> tuple[Graph, ...]:
        return (self.body,)

    def flops(self, *operands: TensorType) -> Size:
        total: Size = 0
        for node in self.body:
            total = total + node.op.flops(*(operand.type for operand in node.operands))
        return total * self.length(*operands)

    def _is_sequence(self, place: int) -> bool:
        return self.states <= place < self.states + self.slices
