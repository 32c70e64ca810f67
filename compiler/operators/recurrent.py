"""Whole recurrences as one operator, in ONNX's layout; a pass creates them from a Scan whose step is such a cell.

Operands: x [time, batch, in], input weights [gates * hidden, in], recurrent weights [gates * hidden, hidden], biases
[2 * gates * hidden] (those beside the input, then those beside the state), and the initial states [batch, hidden].
Results: the states of all steps [time, batch, hidden], then the final states. `reverse` runs from the last step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from compiler.attribute_kinds import Flag, Integer, Text
from compiler.dims import Size
from compiler.graph import Operator
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.operators.activations import logistic
from compiler.operators.control import drop_padding, pad_empty, states_of_steps
from compiler.operators.orders import lower_flip
from compiler.types import TensorType, TypeMismatch, same_dtype

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")


_NAN = "NaN: onnxruntime's kernel replaces it by a number, where NumPy gives NaN from there on"


class Recurrent(Operator):
    """One direction of a recurrence over axis 0."""

    public = False
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    onnx: ClassVar[str]
    kernels: ClassVar[tuple[str, ...]] = ("f32",)  # dtypes of onnxruntime's kernels
    hidden: Integer
    reverse: Flag

    def infer(
        self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *first: TensorType
    ) -> tuple[TensorType, ...]:
        dtype = same_dtype(x, w, r, b, *first)
        if not dtype.is_float:
            raise TypeMismatch(f"expected float tensors, got {x}")
        if x.rank != 3 or len(first) != self.states:
            raise TypeMismatch(
                f"expected x [time, batch, in] and {self.states} initial states, got {x} and {len(first)}"
            )
        time, batch, features = x.shape
        rows = self.gates * self.hidden
        state = TensorType(dtype, (batch, self.hidden))
        wanted = {"w": (rows, features), "r": (rows, self.hidden), "b": (2 * rows,)}
        for (name, shape), operand in zip(wanted.items(), (w, r, b), strict=True):
            if operand.shape != shape:
                raise TypeMismatch(f"`{name}` must be {TensorType(dtype, shape)}, not {operand}")
        if any(state_type != state for state_type in first):
            raise TypeMismatch(f"an initial state must be {state}, not {first[0]}")
        return (TensorType(dtype, (time, batch, self.hidden)), *([state] * self.states))

    def lower(self, emit: Emit, x: str, w: str, r: str, b: str, *first: str) -> tuple[str, ...]:
        length, batch, _ = emit.type(x).shape
        turned = self.reverse and not emit.target.has_lone_reverse  # run forward along the reversed sequence
        ahead = np.array([0])
        w, r, b = (emit("Unsqueeze", operand, ahead) for operand in (w, r, b))
        begun = [emit("Unsqueeze", pad_empty(emit, operand, batch), ahead) for operand in first]
        steps = pad_empty(emit, x, length, batch)
        steps = lower_flip(emit, steps, (0,)) if turned else steps
        begun[0] = emit.refuse_empty(begun[0], steps, (length, batch))  # on empty inputs the kernels crash the process
        results = emit.many(
            1 + self.states,
            self.onnx,
            steps,
            w,
            r,
            b,
            None,
            *begun,
            hidden_size=self.hidden,
            direction="reverse" if self.reverse and not turned else "forward",
            **self.onnx_attributes(),
        )
        final = [drop_padding(emit, emit("Squeeze", state, ahead), batch) for state in results[1:]]
        stacked = drop_padding(emit, emit("Squeeze", results[0], np.array([1])), length, batch)
        stacked = lower_flip(emit, stacked, (0,)) if turned else stacked
        return (stacked, *states_of_steps(emit, length, first, final))

    def onnx_attributes(self) -> dict[str, Any]:
        """The attributes of the ONNX operator besides size and direction."""
        return {}

    def flops(self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *first: TensorType) -> Size:
        return 2 * x.shape[0] * x.shape[1] * self.gates * self.hidden * (x.shape[2] + self.hidden)

    def project_inputs(self, x: Array, w: Array, bias: Array) -> Array:
        """The inputs of all steps times the input weights: [time, batch, gates * hidden]."""
        time, batch, features = x.shape
        products = (x.reshape(time * batch, features) @ w.T).reshape(time, batch, len(w))
        products += bias
        return np.asarray(products)

    def time_steps(self, time: int) -> range:
        return range(time - 1, -1, -1) if self.reverse else range(time)


class RNN(Recurrent):
    """h' = activation(W x + R h + b) (Elman 1990); `activation` is tanh or relu."""

    name, onnx = "rnn", "RNN"
    edges = (_NAN,)  # of relu
    wide = True
    gates = 1
    hidden: Integer
    reverse: Flag = False
    activation: Text = "tanh"

    def compute(self, x: Array, w: Array, r: Array, b: Array, h: Array) -> tuple[Array, ...]:
        steps = self.project_inputs(x, w, b[: self.hidden] + b[self.hidden :])
        turned = np.ascontiguousarray(r.T)
        for time in self.time_steps(len(x)):
            step = steps[time]
            step += h @ turned
            np.tanh(step, out=step) if self.activation == "tanh" else np.maximum(step, 0, out=step)
            h = step
        return steps, h.copy()

    def onnx_attributes(self) -> dict[str, Any]:
        return {"activations": [self.activation.capitalize()]}


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997); gates stacked as input, output, forget, candidate.

    i, o, f = sigmoid(W x + R h + b), c' = f c + i tanh(W_c x + R_c h + b_c), h' = o tanh(c').
    """

    name, onnx = "lstm", "LSTM"
    edges = (_NAN,)
    wide = True
    gates = 4
    states = 2
    hidden: Integer
    reverse: Flag = False

    def compute(self, x: Array, w: Array, r: Array, b: Array, h: Array, c: Array) -> tuple[Array, ...]:
        n = self.hidden
        steps = self.project_inputs(x, w, b[: 4 * n] + b[4 * n :])
        turned = np.ascontiguousarray(r.T)
        outputs = np.empty((*x.shape[:2], n), x.dtype)
        c = c.copy()
        for time in self.time_steps(len(x)):
            step = steps[time]
            step += h @ turned
            logistic(step[:, : 3 * n], step[:, : 3 * n])
            candidate = step[:, 3 * n :]
            np.tanh(candidate, out=candidate)
            c *= step[:, 2 * n : 3 * n]
            candidate *= step[:, :n]
            c += candidate
            h = outputs[time]
            np.tanh(c, out=h)
            h *= step[:, n : 2 * n]
        return outputs, h.copy(), c


class GRU(Recurrent):
    """Gated recurrent unit (Cho et al. 2014); gates stacked as update z, reset r, candidate.

    h' = (1 - z) n + z h, with n = tanh(W x + b + R (r h)), or, with `linear_before_reset`,
    n = tanh(W x + b + r (R h + c)).
    """

    name, onnx = "gru", "GRU"
    edges = (_NAN,)
    wide = True
    gates = 3
    hidden: Integer
    reverse: Flag = False
    linear_before_reset: Flag = False

    def compute(self, x: Array, w: Array, r: Array, b: Array, h: Array) -> tuple[Array, ...]:
        n = self.hidden
        beside_state = b[3 * n :].copy()
        bias = b[: 3 * n].copy()
        bias[: 2 * n] += beside_state[: 2 * n]
        if not self.linear_before_reset:
            bias[2 * n :] += beside_state[2 * n :]
        steps = self.project_inputs(x, w, bias)
        gates, candidate = np.ascontiguousarray(r[: 2 * n].T), np.ascontiguousarray(r[2 * n :].T)
        outputs = np.empty((*x.shape[:2], n), x.dtype)
        for time in self.time_steps(len(x)):
            step = steps[time]
            both = step[:, : 2 * n]
            both += h @ gates
            logistic(both, both)
            z, reset, new = both[:, :n], both[:, n:], step[:, 2 * n :]
            if self.linear_before_reset:
                new += reset * (h @ candidate + beside_state[2 * n :])
            else:
                new += (reset * h) @ candidate
            np.tanh(new, out=new)
            output = outputs[time]
            np.subtract(h, new, out=output)
            output *= z
            output += new
            h = output
        return outputs, h.copy()

    def onnx_attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": int(self.linear_before_reset)}
