"""An LSTM whose weights are integers of 8 bits, and whose inputs and states become such at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compiler.dims import Size
from compiler.lazy import LazyModule
from compiler.operators.integer_products import whole_product
from compiler.operators.quantization import UNSPECIFIED, is_byte, quantize_to_range
from compiler.operators.recurrent import LSTM, Activations
from compiler.types import TensorType, TypeMismatch

if TYPE_CHECKING:
    import numpy as np

    from compiler.types import Array
else:
    np = LazyModule("numpy")

_SCALES = 4  # the operands after all others: scales and zero points of both kinds of weights


class DynamicQuantizeLstm(LSTM):
    """The recurrence of `lstm` with products of integers of 8 bits.

    Weights are all i8 or all u8, transposed: w [directions, in, 4 * hidden] and r [directions, hidden, 4 * hidden].
    The scales and the zero points of `w`, then of `r`, are the last operands, each [directions, 4 * hidden]. All of x
    has one scale, and the states of each step have one: those of their ranges, as in `dynamic_quantize_linear`.
    """

    name, onnx = "dynamic_quantize_lstm", "DynamicQuantizeLSTM"
    edges = (UNSPECIFIED,)
    activations: Activations = LSTM.usual

    def parts(self, rest: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        end = len(rest) - _SCALES - int(self.peepholes)
        peepholes = rest[end:-_SCALES] or (None,)
        return rest[:end], (*peepholes, *rest[-_SCALES:])

    def infer(
        self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *rest: TensorType
    ) -> tuple[TensorType, ...]:
        first, (peephole, *scales) = self.parts(rest)
        directions, rows = len(self.backwards), 4 * self.hidden
        both = (scales[0], scales[2])
        if not is_byte(w.dtype) or r.dtype != w.dtype or w.rank != 3 or r.rank != 3:
            raise TypeMismatch(f"the weights must be both i8 or both u8, of three axes, not {w} and {r}")
        if any(scale != TensorType(x.dtype, (directions, rows)) for scale in both):
            raise TypeMismatch(f"scales must be {TensorType(x.dtype, (directions, rows))}, not {both[0]} and {both[1]}")
        if any(zero != TensorType(w.dtype, (directions, rows)) for zero in (scales[1], scales[3])):
            raise TypeMismatch(f"zero points must be {TensorType(w.dtype, (directions, rows))}")
        wide = (TensorType(x.dtype, (weight.shape[0], weight.shape[2], weight.shape[1])) for weight in (w, r))
        return LSTM(*self.attributes).infer(x, *wide, b, *first, *(() if peephole is None else (peephole,)))

    def _compute(self, stacked: bool, x: Array, w: Array, r: Array, b: Array, *rest: Array) -> tuple[Array, ...]:
        first, (peephole, w_scale, w_zero, r_scale, r_zero) = self.parts(rest)
        q, scale, zero = quantize_to_range(x)
        weights = []  # of each direction: what the inputs add to the gates of each step, the weights of the states
        for direction in range(len(self.backwards)):
            product = whole_product(q, zero, w[direction], w_zero[direction]).astype(x.dtype)
            inputs = product * (scale * w_scale[direction])
            weights.append((inputs + b[direction, : 4 * self.hidden] + b[direction, 4 * self.hidden :], direction))
        states = (len(self.backwards), x.shape[1], self.hidden)
        outputs: Any = np.empty((len(x), *states), x.dtype) if stacked else None
        finals = (np.zeros(states, x.dtype), np.zeros(states, x.dtype))
        for (inputs, direction), backward in zip(weights, self.backwards, strict=True):
            h, c = (state[direction].copy() for state in (first or finals))
            for step in reversed(range(len(x))) if backward else range(len(x)):
                q, scale, zero = quantize_to_range(h)
                product = whole_product(q, zero, r[direction], r_zero[direction]).astype(x.dtype)
                gates = inputs[step] + product * (scale * r_scale[direction])
                h, c = self._step(gates, c, None if peephole is None else peephole[direction])
                if stacked:
                    outputs[step, direction] = h
            finals[0][direction], finals[1][direction] = h, c
        return outputs, *finals

    def _step(self, gates: Array, c: Array, peephole: Array | None) -> tuple[Array, Array]:
        """The next states of all examples [batch, hidden]."""
        gate, squash, show = self.activations
        i, o, f, candidate = (part.copy() for part in np.split(gates, 4, axis=1))
        seen = np.zeros((3, self.hidden), c.dtype) if peephole is None else peephole.reshape(3, self.hidden)
        i += seen[0] * c
        f += seen[2] * c
        gate.compute(i, i)
        gate.compute(f, f)
        squash.compute(candidate, candidate)
        c = f * c + i * candidate
        o += seen[1] * c
        gate.compute(o, o)
        shown = np.empty_like(c)
        show.compute(c, shown)
        return o * shown, c

    def onnx_attributes(self) -> dict[str, Any]:
        return {**super().onnx_attributes(), "domain": "com.microsoft"}

    def flops(self, x: TensorType, w: TensorType, r: TensorType, b: TensorType, *rest: TensorType) -> Size:
        steps = len(self.backwards) * x.shape[0] * x.shape[1]
        return 2 * steps * 4 * self.hidden * (x.shape[2] + self.hidden)
