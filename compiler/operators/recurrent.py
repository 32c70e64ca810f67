"""Whole recurrences as one operator, in ONNX's layout; a pass creates them from a Scan whose step is such a cell.

Operands: x [time, batch, in], input weights [directions, gates * hidden, in], recurrent weights [directions,
gates * hidden, hidden], biases [directions, 2 * gates * hidden] (those beside the input, then those beside the state),
and the initial states [directions, batch, hidden], which are 0 where they are left out. Results: the states of all
steps [time, directions, batch, hidden], then the final states [directions, batch, hidden].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from compiler.attribute_kinds import INTERNAL, Flag, Integer, Text
from compiler.dims import Size, positive
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.cell_activations import SIGMOID, TANH, Activation
from compiler.operators.control import drop_padding, pad_empty, states_of_steps
from compiler.operators.divided_products import matmul
from compiler.operators.recurrent_steps import Steps, column
from compiler.types import TensorType, TypeMismatch, same_dtype

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


_NAN = "NaN: onnxruntime's kernel replaces it by a number, where NumPy gives NaN from there on"
# Whether each of an operator's directions runs from the last step to the first.
_BACKWARDS: Mapping[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}

Activations = Annotated[tuple[Activation, ...], INTERNAL]


class Recurrent(Operator):
    """A recurrence over axis 0, in one direction or in both at once.

    `activations` are those of one direction, in the order of the ONNX operator.
    """

    public = False
    recognised = True
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    onnx: ClassVar[str]
    kernels: ClassVar[tuple[str, ...]] = ("f32",)  # dtypes of onnxruntime's kernels
    usual: ClassVar[tuple[Activation, ...]]  # ONNX's default activations
    crashes_on_empty: ClassVar[bool] = True  # whether onnxruntime's kernel ends the process for no steps or no examples
    hidden: Integer
    direction: Text
    activations: Activations

    @property
    def backwards(self) -> tuple[bool, ...]:
        """Whether each direction runs from the last step to the first."""
        return _BACKWARDS[self.direction]

    def parts(self, rest: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """What follows the biases among the operands: the initial states, and other weights."""
        return rest, ()

    def infer(
        self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *rest: TensorType
    ) -> tuple[TensorType, ...]:
        dtype = same_dtype(x, w, r, b, *rest)
        first, _ = self.parts(rest)
        if not dtype.is_float:
            raise TypeMismatch(f"expected float tensors, got {x}")
        if x.rank != 3 or len(first) not in (0, self.states):
            raise TypeMismatch(
                f"expected x [time, batch, in] and {self.states} initial states or none, got {x} and {len(first)}"
            )
        time, batch, features = x.shape
        rows, directions = self.gates * self.hidden, len(self.backwards)
        state = TensorType(dtype, (directions, batch, self.hidden))
        expected = {"w": (rows, features), "r": (rows, self.hidden), "b": (2 * rows,)}
        for (name, shape), operand in zip(expected.items(), (w, r, b), strict=True):
            if operand.shape != (directions, *shape):
                raise TypeMismatch(f"`{name}` must be {TensorType(dtype, (directions, *shape))}, not {operand}")
        if any(state_type != state for state_type in first):
            raise TypeMismatch(f"an initial state must be {state}, not {first[0]}")
        return (TensorType(dtype, (time, directions, batch, self.hidden)), *([state] * self.states))

    def compute(self, x: Array, w: Array, r: Array, b: Array, *rest: Array) -> tuple[Array, ...]:
        return self._compute(True, x, w, r, b, *rest)

    def kernel_for(self, used: Sequence[bool]) -> Callable[..., Any]:
        return partial(self._compute, used[0])

    def _compute(self, stacked: bool, x: Array, w: Array, r: Array, b: Array, *rest: Array) -> tuple[Array, ...]:
        """The results; None for the states of all steps if they are not `stacked`."""
        first, others = self.parts(rest)
        states = (len(self.backwards), x.shape[1], self.hidden)
        outputs: Any = np.empty((len(x), *states), x.dtype) if stacked else None
        finals = tuple(np.empty(states, x.dtype) for _ in range(self.states))
        for direction, backward in enumerate(self.backwards):
            zeros = np.zeros(states[1:], x.dtype)
            initial = [state[direction] for state in first] or [zeros] * self.states
            steps = Steps(x, initial[0], outputs[:, direction] if stacked else None, backward)
            weights = [operand[direction] for operand in (w, r, b, *others)]
            last = self.run(steps, *weights, *initial[1:])
            for final, state in zip(finals, last, strict=True):
                final[direction] = state.T
        return outputs, *finals

    def run(self, steps: Steps, w: Array, r: Array, b: Array, *rest: Array) -> Sequence[Array]:
        """Take all steps of one direction; returns the final states, [hidden, batch].

        `rest` are other weights, then the initial states after the first.
        """
        raise NotImplementedError

    def signs(self, *activations: Activation) -> Array:
        """The signs of the rows of gates with these activations, [rows, 1]."""
        return column(np.repeat(np.array([activation.sign for activation in activations]), self.hidden))

    def lower(self, emit: Emit, x: str, w: str, r: str, b: str, *rest: str) -> tuple[str, ...]:
        length, batch, _ = emit.type(x).shape
        first, others = self.parts(rest)
        steps = pad_empty(emit, x, length, batch)
        if self.crashes_on_empty or first:  # onnxruntime's RNN gives zeros for no steps, whatever the first state is
            steps = emit.refuse_empty(steps, (length, batch))
        initial: list[str | None] = [pad_empty(emit, state, batch, axis=1) for state in first]
        zero = np.zeros((), emit.type(x).dtype.numpy)
        if not initial and not emit.target.reads_defaults:
            shape = emit.sizes((len(self.backwards), batch, self.hidden))
            shape = shape if positive(batch) else emit("Max", shape, np.array(1))
            initial = [emit("Expand", zero, shape)] * self.states
        inputs = (steps, w, r, b, None, *(initial or (None,) * self.states), *others)
        names = self.onnx_attributes()
        results = emit.many(
            1 + self.states, self.onnx, *inputs, hidden_size=self.hidden, direction=self.direction, **names
        )
        final = [drop_padding(emit, state, batch, axes=(1,)) for state in results[1:]]
        stacked = drop_padding(emit, results[0], length, batch, axes=(0, 2))
        return (stacked, *states_of_steps(emit, length, first or [zero] * self.states, final))

    def onnx_attributes(self) -> dict[str, Any]:
        """The attributes of the ONNX operator besides size and direction."""
        if self.activations == self.usual:
            return {}
        functions = self.activations * len(self.backwards)
        attributes: dict[str, Any] = {"activations": [function.name for function in functions]}
        for index, name in enumerate(("activation_alpha", "activation_beta")):
            if numbers := [function.numbers[index] for function in functions if len(function.numbers) > index]:
                attributes[name] = numbers
        return attributes

    def flops(self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *first: TensorType) -> Size:
        steps = len(self.backwards) * x.shape[0] * x.shape[1]
        return 2 * steps * self.gates * self.hidden * (x.shape[2] + self.hidden)


class RNN(Recurrent):
    """h' = activation(W x + R h + b) (Elman 1990)."""

    name, onnx = "rnn", "RNN"
    edges = (_NAN,)  # of relu
    wide = True
    gates = 1
    usual = (TANH,)
    crashes_on_empty = False
    hidden: Integer
    direction: Text = "forward"
    activations: Activations = usual

    def run(self, steps: Steps, w: Array, r: Array, b: Array, *rest: Array) -> Sequence[Array]:
        (activation,) = self.activations
        h = steps.state
        write_product = steps.product(column(b[: self.hidden] + b[self.hidden :]), self.signs(activation), w, r)
        step = np.empty_like(h)
        for _ in steps:
            write_product(step)
            activation.of_signed(step, h)
        return (h,)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997); gates stacked as input, output, forget, candidate.

    i, o, f = sigmoid(W x + R h + b), c' = f c + i tanh(W_c x + R_c h + b_c), h' = o tanh(c'). `activations` are the
    gates', the candidate's and that of c'. With `peepholes` the last operand [directions, 3 * hidden] scales what i and
    f see of c, and o of c', in the order i, o, f (Gers, Schraudolph and Schmidhuber 2002).
    """

    name, onnx = "lstm", "LSTM"
    edges = (_NAN,)
    wide = True
    gates = 4
    states = 2
    usual = (SIGMOID, TANH, TANH)
    hidden: Integer
    direction: Text = "forward"
    activations: Activations = usual
    peepholes: Flag = False

    def parts(self, rest: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        end = len(rest) - int(self.peepholes)
        return rest[:end], rest[end:]

    def infer(
        self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *rest: TensorType
    ) -> tuple[TensorType, ...]:
        for peephole in self.parts(rest)[1]:
            if peephole.shape != (len(self.backwards), 3 * self.hidden):
                raise TypeMismatch(f"`p` must be [{len(self.backwards)}, {3 * self.hidden}], not {peephole}")
        return super().infer(x, w, r, b, *rest)

    def run(self, steps: Steps, w: Array, r: Array, b: Array, *rest: Array) -> Sequence[Array]:
        n = self.hidden
        *peepholes, first = rest
        gate, squash, show = self.activations
        signs = self.signs(gate, gate, gate, squash)
        write_products = steps.product(column(b[: 4 * n] + b[4 * n :]), signs, w, r)
        h, c = steps.state, first.T.copy()
        gates = np.empty_like(h, shape=(4 * n, h.shape[1]))
        sigmoids, (i, o, f, candidate) = gates[: 3 * n], gates.reshape(4, *h.shape)
        seen = [column(part * gate.sign) for vector in peepholes for part in vector.reshape(3, n)]
        for _ in steps:
            write_products(gates)
            if seen:
                i += seen[0] * c
                f += seen[2] * c
                gate.of_signed(i, i)
                gate.of_signed(f, f)
            else:
                gate.of_signed(sigmoids, sigmoids)
            squash.of_signed(candidate, candidate)
            c *= f
            candidate *= i
            c += candidate
            if seen:
                o += seen[1] * c
                gate.of_signed(o, o)
            show.compute(c, h)
            np.multiply(h, o, h)
        return h, c


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014); gates stacked as update z, reset r, candidate.

    h' = (1 - z) n + z h, with n = tanh(W x + b + R (r h)), or, with `linear_before_reset`,
    n = tanh(W x + b + r (R h + c)). `activations` are the gates' and the candidate's.
    """

    name, onnx = "gru", "GRU"
    edges = (_NAN,)
    wide = True
    gates = 3
    usual = (SIGMOID, TANH)
    hidden: Integer
    direction: Text = "forward"
    activations: Activations = usual
    linear_before_reset: Flag = False

    def run(self, steps: Steps, w: Array, r: Array, b: Array, *rest: Array) -> Sequence[Array]:
        n, h = self.hidden, steps.state
        gate, squash = self.activations
        beside_state = b[3 * n :]
        bias = b[: 3 * n].copy()
        bias[: 2 * n] += beside_state[: 2 * n]
        if not self.linear_before_reset:
            bias[2 * n :] += beside_state[2 * n :]
        signs = self.signs(squash)
        write_gates = steps.product(column(bias[: 2 * n]), self.signs(gate, gate), w[: 2 * n], r[: 2 * n])
        write_inputs = steps.product(column(bias[2 * n :]), signs, w[2 * n :])
        gates, new, inputs = np.empty_like(h, shape=(2 * n, h.shape[1])), np.empty_like(h), np.empty_like(h)
        z, reset = gates.reshape(2, *h.shape)
        if self.linear_before_reset:
            write_state = steps.product(column(beside_state[2 * n :]), signs, r=r[2 * n :])
        else:
            candidate = r[2 * n :] * signs.astype(r.dtype)
        for _ in steps:
            write_gates(gates)
            write_inputs(inputs)
            gate.of_signed(gates, gates)
            if self.linear_before_reset:
                write_state(new)
                new *= reset
            else:
                reset *= h
                matmul(candidate, reset, new)
            new += inputs
            squash.of_signed(new, new)
            np.subtract(h, new, h)
            np.multiply(h, z, h)
            np.add(h, new, h)
        return (h,)

    def onnx_attributes(self) -> dict[str, Any]:
        return {**super().onnx_attributes(), "linear_before_reset": int(self.linear_before_reset)}
