"""Gradient clipping, by value or by the common norm."""

from __future__ import annotations

from functools import reduce

from compiler.graph import Value
from compiler.model_spec import TrainingSettings
from compiler.operators.arithmetic import Abs, Add, Maximum, Minimum
from compiler.operators.leaves import constant
from compiler.operators.powers import Sqrt
from compiler.operators.reductions import Max, Sum

_LEAST_PEAK = 1e-30  # a lower bound of the divisor, since all gradients may be 0


def clip_gradients(gradients: dict[str, Value], settings: TrainingSettings) -> dict[str, Value]:
    """The gradients clipped by value, then by their common norm (Pascanu et al. 2013), as the settings say."""
    limit = settings.clip_value
    if limit is not None:
        gradients = {
            path: Maximum()(
                Minimum()(gradient, constant(limit, gradient.type.dtype)), constant(-limit, gradient.type.dtype)
            )
            for path, gradient in gradients.items()
        }
    return gradients if settings.clip_norm is None else _clip_by_norm(gradients, settings.clip_norm)


def _clip_by_norm(gradients: dict[str, Value], limit: float) -> dict[str, Value]:
    """The gradients times limit / norm where the norm is larger, as in PyTorch's clip_grad_norm_.

    The norm is computed of the gradients divided by their largest magnitude, so that no square overflows or underflows.
    """
    nonempty = {path: gradient for path, gradient in gradients.items() if gradient.type.elements != 0}
    if not nonempty:
        return gradients
    dtype = next(iter(nonempty.values())).type.dtype
    peaks = [Max(None)(Abs()(gradient)) for gradient in nonempty.values()]
    peak = reduce(Maximum(), peaks, constant(_LEAST_PEAK, dtype))
    squares = [Sum(None)((gradient / peak) * (gradient / peak)) for gradient in nonempty.values()]
    norm = Sqrt()(reduce(Add(), squares))
    scale = Minimum()(constant(limit, dtype) / peak / (norm + constant(1e-6, dtype) / peak), constant(1.0, dtype))
    return gradients | {path: gradient * scale for path, gradient in nonempty.items()}
