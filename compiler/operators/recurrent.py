"""Whole recurrences as one operator, in ONNX's layout; a pass creates them from a Scan whose step is such a cell.

Operands: x [time, batch, in], input weights [directions, gates * hidden, in], recurrent weights [directions,
gates * hidden, hidden], biases [directions, 2 * gates * hidden] (those beside the input, then those beside the state),
and the initial states [directions, batch, hidden], which are 0 where they are left out. Results: the states of all
steps [time, directions, batch, hidden], then the final states [directions, batch, hidden].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from compiler.attribute_kinds import INTERNAL, Flag, Integer, Text
from compiler.dims import Size, positive
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.cell_activations import SIGMOID, TANH, Activation
from compiler.operators.control import drop_padding, pad_empty, states_of_steps
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
        wanted = {"w": (rows, features), "r": (rows, self.hidden), "b": (2 * rows,)}
        for (name, shape), operand in zip(wanted.items(), (w, r, b), strict=True):
            if operand.shape != (directions, *shape):
                raise TypeMismatch(f"`{name}` must be {TensorType(dtype, (directions, *shape))}, not {operand}")
        if any(state_type != state for state_type in first):
            raise TypeMismatch(f"an initial state must be {state}, not {first[0]}")
        return (TensorType(dtype, (time, directions, batch, self.hidden)), *([state] * self.states))

    def compute(self, x: Array, w: Array, r: Array, b: Array, *rest: Array) -> tuple[Array, ...]:
        first, others = self.parts(rest)
        states = (len(self.backwards), x.shape[1], self.hidden)
        outputs = np.empty((len(x), *states), x.dtype)
        finals = tuple(np.empty(states, x.dtype) for _ in range(self.states))
        for direction, backward in enumerate(self.backwards):
            zeros = np.zeros(states[1:], x.dtype)
            initial = [state[direction] for state in first] or [zeros] * self.states
            weights = [operand[direction] for operand in (w, r, b, *others)]
            order = range(len(x) - 1, -1, -1) if backward else range(len(x))
            last = self.run(order, outputs[:, direction], x, *weights, *initial)
            for final, state in zip(finals, last, strict=True):
                final[direction] = state
        return outputs, *finals

    def run(
        self, order: range, outputs: Array, x: Array, w: Array, r: Array, b: Array, *rest: Array
    ) -> Sequence[Array]:
        """One direction: fills `outputs` [time, batch, hidden] in this order of steps; returns the final states."""
        raise NotImplementedError

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

    def memory_order(self, operand: int, rank: int) -> tuple[int, ...] | None:
        return (*range(rank - 2), rank - 1, rank - 2) if operand == 2 else None  # the step's product is `h @ r.T`

    def flops(self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *first: TensorType) -> Size:
        steps = len(self.backwards) * x.shape[0] * x.shape[1]
        return 2 * steps * self.gates * self.hidden * (x.shape[2] + self.hidden)

    def project_inputs(self, x: Array, w: Array, bias: Array) -> Array:
        """The inputs of all steps times the input weights: [time, batch, gates * hidden]."""
        time, batch, features = x.shape
        products = (x.reshape(time * batch, features) @ w.T).reshape(time, batch, len(w))
        products += bias
        return np.asarray(products)


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

    def run(
        self, order: range, outputs: Array, x: Array, w: Array, r: Array, b: Array, *rest: Array
    ) -> Sequence[Array]:
        (h,) = rest
        steps = self.project_inputs(x, w, b[: self.hidden] + b[self.hidden :])
        turned = np.ascontiguousarray(r.T)
        (activation,) = self.activations
        for time in order:
            step = steps[time]
            step += h @ turned
            h = outputs[time]
            activation.compute(step, h)
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

    def run(
        self, order: range, outputs: Array, x: Array, w: Array, r: Array, b: Array, *rest: Array
    ) -> Sequence[Array]:
        n = self.hidden
        *peephole, h, c = rest
        gate, squash, show = self.activations
        steps = self.project_inputs(x, w, b[: 4 * n] + b[4 * n :])
        turned = np.ascontiguousarray(r.T)
        products, gates = np.empty_like(steps, shape=steps.shape[1:]), np.empty_like(c, shape=(4, *c.shape))
        i, o, f, candidate = gates
        c = c.copy()
        for time in order:
            np.matmul(h, turned, out=products)
            np.add(_by_gate(steps[time], 4), _by_gate(products, 4), out=gates)
            if peephole:
                i += peephole[0][:n] * c
                f += peephole[0][2 * n :] * c
                gate.compute(i, i)
                gate.compute(f, f)
            else:
                gate.compute(gates[:3], gates[:3])
            squash.compute(candidate, candidate)
            c *= f
            candidate *= i
            c += candidate
            if peephole:
                o += peephole[0][n : 2 * n] * c
                gate.compute(o, o)
            h = outputs[time]
            show.compute(c, h)
            h *= o
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

    def run(
        self, order: range, outputs: Array, x: Array, w: Array, r: Array, b: Array, *rest: Array
    ) -> Sequence[Array]:
        n = self.hidden
        (h,) = rest
        gate, squash = self.activations
        beside_state = b[3 * n :].copy()
        bias = b[: 3 * n].copy()
        bias[: 2 * n] += beside_state[: 2 * n]
        if not self.linear_before_reset:
            bias[2 * n :] += beside_state[2 * n :]
        steps = self.project_inputs(x, w, bias)
        turned, candidate = np.ascontiguousarray(r[: 2 * n].T), np.ascontiguousarray(r[2 * n :].T)
        products, gates = np.empty_like(h, shape=(len(h), 2 * n)), np.empty_like(h, shape=(2, *h.shape))
        z, reset = gates
        for time in order:
            np.matmul(h, turned, out=products)
            np.add(_by_gate(steps[time, :, : 2 * n], 2), _by_gate(products, 2), out=gates)
            gate.compute(gates, gates)
            if self.linear_before_reset:
                new = h @ candidate
                new += beside_state[2 * n :]
                new *= reset
            else:
                new = (reset * h) @ candidate
            new += steps[time, :, 2 * n :]
            squash.compute(new, new)
            output = outputs[time]
            np.subtract(h, new, out=output)
            output *= z
            output += new
            h = output
        return (h,)

    def onnx_attributes(self) -> dict[str, Any]:
        return {**super().onnx_attributes(), "linear_before_reset": int(self.linear_before_reset)}


def _by_gate(gates: Array, number: int) -> Array:
    """[batch, gates * hidden] as a view [gates, batch, hidden].

    Each gate of a sum of such views is contiguous, for which NumPy's functions take down to half of the time.
    """
    batch, width = gates.shape
    return gates.reshape(batch, number, width // number).transpose(1, 0, 2)
