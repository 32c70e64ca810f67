"""Gradients limited in size, each by itself or all together."""

from __future__ import annotations

from functools import reduce

from compiler.graph import Value
from compiler.model_spec import TrainingSettings
from compiler.operators.arithmetic import Abs, Add, Maximum, Minimum
from compiler.operators.powers import Sqrt
from compiler.operators.reductions import Max, Sum
from compiler.operators.source import constant

_LEAST_PEAK = 1e-30  # what gradients are divided by at the least: all may be 0


def clip_gradients(gradients: dict[str, Value], settings: TrainingSettings) -> dict[str, Value]:
    """Gradients clipped by value, then by their common norm (Pascanu et al. 2013), as the settings ask for."""
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
    """Gradients times limit / norm, where their norm is larger, as PyTorch's clip_grad_norm_ has it.

    The norm is taken of gradients over the largest number among them, so that no square overflows or is lost.
    """
    nonempty = {path: gradient for path, gradient in gradients.items() if gradient.type.elements != 0}
    if not nonempty:
        return gradients
    dtype = next(iter(nonempty.values())).type.dtype
    peaks: list[Value] = [Max(None)(Abs()(gradient)) for gradient in nonempty.values()]
    peak: Value = reduce(Maximum(), peaks, constant(_LEAST_PEAK, dtype))
    squares: list[Value] = [Sum(None)((gradient / peak) * (gradient / peak)) for gradient in nonempty.values()]
    norm = Sqrt()(reduce(Add(), squares))
    scale = Minimum()(constant(limit, dtype) / peak / (norm + constant(1e-6, dtype) / peak), constant(1.0, dtype))
    return gradients | {path: gradient * scale for path, gradient in nonempty.items()}
