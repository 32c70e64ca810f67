"""Layer, RMS, instance and group normalisation, written out, become operators, with their scale and shift.

The mean may be a sum over a number, without `keep` and with its axes inserted again; the root may divide, or its
reciprocal multiply, after it was multiplied by the scale or not. A variance as `mean(x**2) - mean(x)**2`, of `n - 1`,
or an `eps` outside the root are other functions in rounding or in meaning, and left alone. So is a normalisation whose
mean or root is used elsewhere, as by its gradient, and one in f16, where the equations' squares overflow from 256 on:
the library computes in f32 (`widen`), and the casts become part of the operator.
"""

from __future__ import annotations

import math

from compiler.graph import Value
from compiler.operators.arithmetic import Add, Div, Mul, Neg, Reciprocal, Sub
from compiler.operators.casting import Cast
from compiler.operators.channel_normalization import GroupNormalization, InstanceNormalization
from compiler.operators.layer_normalization import LayerNormalization, RMSNormalization
from compiler.operators.making import number_of, reshape
from compiler.operators.powers import Pow, Sqrt
from compiler.operators.reductions import Mean, Sum
from compiler.operators.shaping import Reshape, Unsqueeze
from compiler.operators.standardization import Standardization
from compiler.passes.channels import is_by_channel
from compiler.passes.recognition import in_f32, recognition
from compiler.passes.rules import Application, Pattern, Rules, either, pattern_of, rule, variables
from compiler.types import DType

x, count, eps, g, b, y = variables("x count eps g b y")
add, sub, mul, div, neg, pow_ = (pattern_of(operator) for operator in (Add, Sub, Mul, Div, Neg, Pow))
sqrt, reciprocal, cast, mean, sum_ = (pattern_of(operator) for operator in (Sqrt, Reciprocal, Cast, Mean, Sum))
same_elements = pattern_of(Reshape, Unsqueeze)
layer_norm, rms_norm = pattern_of(LayerNormalization), pattern_of(RMSNormalization)
any_norm = pattern_of(LayerNormalization, RMSNormalization)


# Means


def _averages(count: Value, total: Value) -> bool:
    """Whether a number is, or is the reciprocal of, the number of items in each sum."""
    op, (summed,) = total.node.op, total.node.operands
    assert isinstance(op, Sum)
    sizes = [summed.shape[axis] for axis in op.folded_axes(summed.type.rank)]
    number = number_of(count)
    return number is not None and all(isinstance(size, int) for size in sizes) and number == math.prod(sizes)


MEANS: Rules = (
    rule(
        "sum(x) / n",
        div(sum_(x).named("total").only_use, count),
        lambda x, total: Mean(total.node.op.axes, total.node.op.keep)(x),
        when=lambda count, total: total.type.dtype in (DType.F32, DType.F64) and _averages(count, total),
        keeps="rounding",
    ),
    rule(
        "a mean whose axes come back",  # with a `keep` that gives another type, the rule does not apply
        same_elements(mean(x, keep=False).named("average").only_use),
        lambda x, average: Mean(average.node.op.axes, keep=True)(x),
    ),
)


# Normalisations


def _inverse_root(square: Pattern) -> tuple[Application, Pattern]:
    """The patterns of `sqrt(mean + eps)` and of its reciprocal."""
    inside = add(mean(square, keep=True).named("variance"), eps)
    root = sqrt(inside)
    return root, either(div(1, root), reciprocal(root), pow_(inside, -0.5), sqrt(div(1, inside)))


def _square(pattern: Pattern) -> Pattern:
    return either(mul(pattern, pattern), pow_(pattern, 2))


average = mean(x, keep=True).named("average")
centred = sub(x, average)
root, inverse = _inverse_root(either(_square(centred), mul(sub(average, x), sub(average, x))))
rms, inverse_rms = _inverse_root(_square(x))
_layer = either(div(centred, root), mul(centred, inverse))
_root_mean_square = either(div(x, rms), mul(x, inverse_rms))
slope = either(mul(inverse, g), div(g, root))


def _eps(value: Value) -> float:
    number = number_of(value)
    return math.nan if number is None else number


def _axis(variance: Value) -> int | None:
    """The first of the axes that a mean is over, if they are the last ones of its operand; None for others."""
    op, rank = variance.node.op, variance.type.rank
    assert isinstance(op, Mean)
    axes = sorted(op.folded_axes(rank))
    return axes[0] if axes and axes == list(range(axes[0], rank)) else None


def _fits(variance: Value, eps: Value) -> bool:
    return variance.type.dtype in (DType.F32, DType.F64) and _axis(variance) is not None and 0 <= _eps(eps) < math.inf


def _centred_fits(variance: Value, average: Value, eps: Value) -> bool:
    return _fits(variance, eps) and _axis(variance) == _axis(average)


def _attributes(variance: Value, eps: Value) -> tuple[int, float]:
    """The axis and the eps of a normalisation that fits."""
    axis = _axis(variance)
    assert axis is not None
    return axis, _eps(eps)


def _layer_norm(x: Value, variance: Value, eps: Value) -> Value:
    return LayerNormalization(*_attributes(variance, eps))(x)


def _rms_norm(x: Value, variance: Value, eps: Value) -> Value:
    return RMSNormalization(*_attributes(variance, eps))(x)


# Scales and shifts


def _is_affine(norm: Value, g: Value) -> bool:
    """Whether a vector has the shape of the normalised axes."""
    op = norm.node.op
    assert isinstance(op, (LayerNormalization, RMSNormalization))
    return g.shape == norm.shape[norm.type.axis(op.axis) :]


def _normalizes_channels(norm: Value) -> bool:
    op = norm.node.op
    assert isinstance(op, LayerNormalization)
    return norm.type.axis(op.axis) == 2 and len(norm.node.operands) == 1


def _flat(vector: Value, channels: Value) -> Value:
    return reshape(vector, (channels.shape[1],))


def _groups(norm: Value, y: Value) -> int | None:
    """The number of groups of channels of `y` that are the rows of a layer normalisation; None where they are not."""
    op, shape = norm.node.op, norm.shape
    assert isinstance(op, LayerNormalization)
    fits = _normalizes_channels(norm) and y.type.rank > 2 and shape[0] == y.shape[0]
    channels, groups = y.shape[1] if y.type.rank > 2 else 0, shape[1] if len(shape) > 1 else 0
    if not fits or not isinstance(channels, int) or not isinstance(groups, int) or groups < 1 or channels % groups:
        return None
    return groups


def _group_norm(x: Value, norm: Value, y: Value, g: Value, b: Value) -> Value:
    groups, eps = _groups(norm, y), norm.node.op.eps  # type: ignore[attr-defined]
    assert groups is not None
    op = InstanceNormalization(eps) if groups == y.shape[1] else GroupNormalization(eps, groups)
    return op(x, _flat(g, y), _flat(b, y))


grouped = pattern_of(Reshape)(layer_norm(pattern_of(Reshape)(x)).named("norm")).named("y")
channelwise = layer_norm(x).named("norm")

# On the loss of a training step, before it is differentiated: scales and shifts stay operators of their own.
STANDARDIZATIONS: Rules = (
    recognition(
        "layer norm",
        _layer,
        lambda x, variance, eps: Standardization(*_attributes(variance, eps), centred=True).apply(x).results[0],
        when=_centred_fits,
    ),
    recognition(
        "rms norm",
        _root_mean_square,
        lambda x, variance, eps: Standardization(*_attributes(variance, eps), centred=False).apply(x).results[0],
        when=_fits,
    ),
)
NORMALIZATIONS: Rules = (
    recognition(
        "layer norm",
        _layer,
        _layer_norm,
        when=_centred_fits,
    ),
    recognition(
        "layer norm with the scale inside",
        either(mul(centred, slope), div(mul(centred, g), root)),
        lambda x, variance, eps, g: _layer_norm(x, variance, eps) * g,
        when=_centred_fits,
    ),
    recognition(
        "layer norm as a line",
        either(add(mul(x, slope), sub(b, mul(average, slope))), add(mul(x, slope), add(mul(neg(average), slope), b))),
        lambda x, variance, eps, g, b: _layer_norm(x, variance, eps) * g + b,
        when=_centred_fits,
    ),
    recognition(
        "rms norm",
        _root_mean_square,
        _rms_norm,
        when=_fits,
    ),
    recognition(
        "rms norm with the scale inside",
        either(mul(x, either(mul(inverse_rms, g), div(g, rms))), div(mul(x, g), rms)),
        lambda x, variance, eps, g: _rms_norm(x, variance, eps) * g,
        when=_fits,
    ),
    in_f32("a norm of 16 bits in f32", LayerNormalization, RMSNormalization),
    rule(
        "norm * g",
        mul(any_norm(x).named("norm").only_use, g),
        lambda x, norm, g: norm.node.op(x, g),
        when=_is_affine,
        keeps="rounding",
    ),
    rule(
        "norm + b",
        add(layer_norm(x, g).named("norm").only_use, b),
        lambda x, g, norm, b: norm.node.op(x, g, b),
        when=lambda norm, b: _is_affine(norm, b),
        keeps="rounding",
    ),
    recognition(
        "instance norm",
        add(mul(channelwise, g), b),
        lambda x, norm, g, b: InstanceNormalization(norm.node.op.eps)(x, _flat(g, norm), _flat(b, norm)),
        when=lambda norm, g, b: _normalizes_channels(norm) and is_by_channel(g, norm) and is_by_channel(b, norm),
    ),
    recognition(
        "group norm",
        add(mul(grouped, g), b),
        _group_norm,
        when=lambda x, norm, y, g, b: (
            x.type == y.type and _groups(norm, y) is not None and is_by_channel(g, y) and is_by_channel(b, y)
        ),
    ),
)
