"""Dynamic loss scaling: gradients in f16, whose smallest number is 6e-8, are those of the loss times a large number.

The scale begins at 2**16. A step whose gradients are not all finite is skipped, and halves it; 2,000 steps in a row
that are not skipped double it (Micikevicius et al. 2018, section 3.2; the numbers are those of PyTorch's GradScaler).
A scale is a power of two, by which gradients are divided without rounding.
"""

from __future__ import annotations

from functools import reduce

from compiler.graph import Value
from compiler.operators.arithmetic import Abs, Maximum, Minimum
from compiler.operators.comparison import GreaterEqual, Less, LogicalAnd, Where
from compiler.operators.leaves import constant
from compiler.operators.making import filled
from compiler.operators.reductions import Max
from compiler.training.own_state import OwnState, buffer_of
from compiler.types import DType, TensorType

FIRST_SCALE = 2.0**16
LARGEST_SCALE = 2.0**126  # whose reciprocal is not subnormal
SMALLEST_SCALE = 2.0**-126
GROWTH_INTERVAL = 2000  # steps

_SCALE = OwnState("loss_scale")
_GOOD = OwnState("loss_scale", name="good_steps")  # since the scale last changed
_SKIPPED = OwnState("loss_scale", name="skipped_steps")
_FINITE = OwnState("loss_scale", name="finite")  # whether the gradients of all batches of an update are, so far

_TYPE = TensorType(DType.F32)


class LossScaling:
    """The scale of a loss, and whether the optimizer takes a step.

    `keep_finite` sets `apply`, which is true where it does, and `following`, the next values of the states.
    """

    apply: Value
    following: dict[OwnState, Value]

    def __init__(self) -> None:
        self.scale = buffer_of(_SCALE, _TYPE, FIRST_SCALE)
        self.skipped = buffer_of(_SKIPPED, _TYPE, 0.0)

    def scale_loss(self, loss: Value) -> Value:
        """The loss times the scale."""
        return loss * self.scale

    def unscale(self, gradients: dict[str, Value]) -> dict[str, Value]:
        """The gradients of the loss from those of the scaled loss."""
        inverse = 1.0 / self.scale
        return {path: gradient * inverse for path, gradient in gradients.items()}

    def keep_finite(self, gradients: dict[str, Value], update: Value | None) -> dict[str, Value]:
        """A gradient transform: where gradients are accumulated, those of a batch are 0 if one of them is not finite.

        `update` is then whether the batch is the last of an update, which is skipped for any such batch.
        """
        finite = _all_finite(gradients)
        if update is None:
            self._set_following(finite, None)
            return gradients
        before, zero = buffer_of(_FINITE, _TYPE, 1.0), constant(0.0, DType.F32)
        so_far = Where()(finite, before, zero)
        self._set_following(Less()(zero, so_far), update)
        self.following[_FINITE] = Where()(update, constant(1.0, DType.F32), so_far)
        return {path: Where()(finite, gradient, filled(0, gradient.type)) for path, gradient in gradients.items()}

    def _set_following(self, finite: Value, update: Value | None) -> None:
        """Set whether the optimizer takes a step, and the next values of the states."""
        self.following = {}
        good = buffer_of(_GOOD, _TYPE, 0.0)
        self.apply = finite if update is None else LogicalAnd()(update, finite)
        zero, one = constant(0.0, DType.F32), constant(1.0, DType.F32)
        grows = GreaterEqual()(good + one, constant(float(GROWTH_INTERVAL), DType.F32))
        larger = Minimum()(self.scale * 2.0, constant(LARGEST_SCALE, DType.F32))
        smaller = Maximum()(self.scale * 0.5, constant(SMALLEST_SCALE, DType.F32))
        following = {
            _SCALE: Where()(finite, Where()(grows, larger, self.scale), smaller),
            _GOOD: Where()(finite, Where()(grows, zero, good + one), zero),
            _SKIPPED: Where()(finite, self.skipped, self.skipped + one),
        }
        now = {_SCALE: self.scale, _GOOD: good, _SKIPPED: self.skipped}
        for state, value in following.items():
            self.following[state] = value if update is None else Where()(update, value, now[state])


def _all_finite(gradients: dict[str, Value]) -> Value:
    """Whether no gradient is infinite or NaN, which counts as the largest number in a maximum."""
    peaks = [Max(None)(Abs()(gradient)) for gradient in gradients.values() if gradient.type.elements != 0]
    return Less()(reduce(Maximum(), peaks, constant(0.0, DType.F32)), constant(float("inf"), DType.F32))
