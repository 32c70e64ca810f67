"""Scales and shifts by known values join the weights of the convolution or product beside them, or each other.

So a batch norm that follows a convolution is nothing but other weights and a bias, in whatever way it is written. The
rules apply to f32 and f64: of 16-bit floats the scaled weights would be rounded once more. A shift before a convolution
stays where it is, since the zeros of the padding are not shifted, and so does one before a product, where it may cancel
large numbers.
"""

from __future__ import annotations

from functools import partial

from compiler.dims import Size
from compiler.graph import Graph, Value
from compiler.operators.arithmetic import Add, Div, Mul, Sub
from compiler.operators.convolution import Conv, ConvTranspose
from compiler.operators.leaves import Constant, Stored
from compiler.operators.linear import MatMul
from compiler.operators.making import expand, reshape, transpose
from compiler.operators.shaping import Transpose
from compiler.passes.fold_constants import SMALL
from compiler.passes.known import behind_inputs, bytes_of, is_known, is_weight, updated
from compiler.passes.rules import Rules, apply_rules, pattern_of, rule, variables
from compiler.types import DType

x, w, b, k, m, n, axes = variables("x w b k m n axes")
add, sub, mul, div = pattern_of(Add), pattern_of(Sub), pattern_of(Mul), pattern_of(Div)
conv, conv_transpose, matmul = pattern_of(Conv), pattern_of(ConvTranspose), pattern_of(MatMul)


# Conditions


def _is_affine(x: Value, *known: Value) -> bool:
    """Whether `x` is not known, the others are, one of them from weights, and all are of a float type that is wide."""
    return (
        x.type.dtype in (DType.F32, DType.F64)
        and all(map(is_known, known))
        and any(map(is_weight, known))
        and not is_known(x)
    )


def _lies_along(factor: Value, axis: int, whole: Value) -> bool:
    """Whether a value that broadcasts to `whole` has one number, or one for each index of this axis of it."""
    rank = whole.type.rank
    axis %= rank
    own = (1,) * (rank - factor.type.rank) + factor.shape
    expected: list[Size] = [1] * rank
    expected[axis] = own[axis] if own[axis] == whole.shape[axis] else 1
    return own == tuple(expected)


def _is_small(*parts: Value) -> bool:
    """Whether the result of a broadcast of known values takes no more than they do."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return (bytes_of(result) or 0) <= max(SMALL, sum(bytes_of(part) or 0 for part in parts))


# The known operands, as the shapes of weights


def _column(factor: Value, after: int) -> Value:
    """The numbers of a factor along one axis, with `after` axes of length 1 behind it."""
    return reshape(factor, (factor.type.elements, *([1] * after)))


def _vector(shift: Value, length: int) -> Value:
    """A shift of each channel as the bias of a convolution."""
    return expand(reshape(shift, (shift.type.elements,)), (length,))


def _with_groups_scaled(w: Value, factor: Value, groups: int) -> Value:
    """Weights [rows, columns / groups, ...] times a factor for each of the columns of all groups."""
    rows, columns, *kernel = w.shape
    spatial = [1] * len(kernel)
    if factor.type.elements == 1 or groups == 1:
        return w * _column(factor, len(kernel))
    assert isinstance(rows, int)
    by_group = reshape(w, (groups, rows // groups, columns, *kernel))
    return reshape(by_group * reshape(factor, (groups, 1, columns, *spatial)), w.shape)


# The rules

_conv, _biased = conv(x, w).only_use.named("y"), conv(x, w, b).only_use.named("y")
_scaled = mul(x, k).only_use.named("scaled")
_product = matmul(x, w).only_use.named("y")
_product_from_left = matmul(w, x).only_use.named("y")
_summed = add(_product, b).only_use
_moved = pattern_of(Transpose)(pattern_of(Conv, ConvTranspose)(x, w).named("y"), permutation=axes).only_use
_moved_biased = pattern_of(Transpose)(conv(x, w, b).named("y"), permutation=axes).only_use


def _fits_channels(y: Value, x: Value, w: Value, k: Value) -> bool:
    return _lies_along(k, 1, y) and _is_affine(x, w, k)


def _fits_input_channels(scaled: Value, x: Value, w: Value, k: Value) -> bool:
    return scaled.shape == x.shape and _lies_along(k, 1, x) and _is_affine(x, w, k)


def _fits_columns(y: Value, x: Value, w: Value, k: Value) -> bool:
    return w.type.rank > 1 and _lies_along(k, -1, y) and _is_affine(x, w, k)


def _last_but_one(value: Value) -> int:
    """The axis of a product's right side, and of the result where the weights are on the left, that is multiplied."""
    return -min(2, value.type.rank)


def _before_transpose(factor: Value, axes: tuple[int, ...]) -> Value:
    """A factor of a transposed value as a factor of the value before the transpose."""
    aligned = reshape(factor, (*([1] * (len(axes) - factor.type.rank)), *factor.shape))
    return transpose(aligned, tuple(axes.index(axis) for axis in range(len(axes))))


CHAINS: Rules = (
    rule("x - k", sub(x, k), lambda x, k: x + -k, when=lambda x, k: _is_affine(x, k), keeps="rounding"),
    rule("x / k", div(x, k), lambda x, k: x * (1 / k), when=lambda x, k: _is_affine(x, k), keeps="rounding"),
    rule(
        "(x + k) + m",
        add(add(x, k).only_use, m),
        lambda x, k, m: x + (k + m),
        when=lambda x, k, m: _is_affine(x, k, m) and _is_small(k, m),
        keeps="rounding",
    ),
    rule(
        "(x * k) * m",
        mul(mul(x, k).only_use, m),
        lambda x, k, m: x * (k * m),
        when=lambda x, k, m: _is_affine(x, k, m) and _is_small(k, m),
        keeps="rounding",
    ),
    rule(
        "(x + k) * m + n",
        add(mul(add(x, k).only_use, m).only_use, n),
        lambda x, k, m, n: x * m + (k * m + n),
        when=lambda x, k, m, n: _is_affine(x, k, m, n) and _is_small(k, m, n),
        keeps="rounding",
    ),
)
CONVOLUTIONS: Rules = (
    rule(
        "conv(x, w) + k",
        add(_conv, k),
        lambda y, x, w, k: y.node.op(x, w, _vector(k, w.shape[0])),
        when=_fits_channels,
        keeps="rounding",
    ),
    rule(
        "conv(x, w, b) + k",
        add(_biased, k),
        lambda y, x, w, b, k: y.node.op(x, w, b + _vector(k, w.shape[0])),
        when=lambda y, x, w, b, k: _fits_channels(y, x, w, k) and is_known(b),
        keeps="rounding",
    ),
    rule(
        "conv(x, w) * k",
        mul(_conv, k),
        lambda y, x, w, k: y.node.op(x, w * _column(k, w.type.rank - 1)),
        when=_fits_channels,
        keeps="rounding",
    ),
    rule(
        "conv(x, w, b) * k",
        mul(_biased, k),
        lambda y, x, w, b, k: y.node.op(x, w * _column(k, w.type.rank - 1), b * _column(k, 0)),
        when=lambda y, x, w, b, k: _fits_channels(y, x, w, k) and is_known(b),
        keeps="rounding",
    ),
    rule(
        "conv(x * k, w)",
        conv(_scaled, w).named("y"),
        lambda y, x, w, k: y.node.op(x, _with_groups_scaled(w, k, y.node.op.groups)),
        when=_fits_input_channels,
        keeps="rounding",
    ),
    rule(
        "conv(x * k, w, b)",
        conv(_scaled, w, b).named("y"),
        lambda y, x, w, b, k: y.node.op(x, _with_groups_scaled(w, k, y.node.op.groups), b),
        when=_fits_input_channels,
        keeps="rounding",
    ),
    rule(
        "conv_transpose(x, w) * k",
        mul(conv_transpose(x, w).only_use.named("y"), k),
        lambda y, x, w, k: y.node.op(x, _with_groups_scaled(w, k, y.node.op.groups)),
        when=_fits_channels,
        keeps="rounding",
    ),
    rule(
        "conv_transpose(x * k, w)",
        conv_transpose(_scaled, w).named("y"),
        lambda y, x, w, k: y.node.op(x, w * _column(k, w.type.rank - 1)),
        when=_fits_input_channels,
        keeps="rounding",
    ),
    rule(
        "transpose(conv(x, w)) + k or * k",
        pattern_of(Add, Mul)(_moved, k).named("z"),
        lambda z, y, axes, k: transpose(z.node.op(y, _before_transpose(k, axes)), axes),
        when=lambda x, w, k: _is_affine(x, w, k),
        keeps="rounding",
    ),
    rule(
        "transpose(conv(x, w, b)) + k or * k",
        pattern_of(Add, Mul)(_moved_biased, k).named("z"),
        lambda z, y, axes, k: transpose(z.node.op(y, _before_transpose(k, axes)), axes),
        when=lambda x, w, b, k: _is_affine(x, w, b, k),
        keeps="rounding",
    ),
)
PRODUCTS: Rules = (
    rule(
        "(x @ w) * k", mul(_product, k), lambda x, w, k: x @ (w * _column(k, 0)), when=_fits_columns, keeps="rounding"
    ),
    rule(
        "(x @ w + b) * k",
        mul(_summed, k),
        lambda x, w, b, k: x @ (w * _column(k, 0)) + b * k,
        when=lambda y, x, w, b, k: _fits_columns(y, x, w, k) and is_known(b) and _is_small(b, k),
        keeps="rounding",
    ),
    rule(
        "(w @ x) * k",
        mul(_product_from_left, k),
        lambda x, w, k: (w * _column(k, 1)) @ x,
        when=lambda y, x, w, k: w.type.rank > 1 and _lies_along(k, _last_but_one(x), y) and _is_affine(x, w, k),
        keeps="rounding",
    ),
    rule(
        "(x * k) @ w",
        matmul(_scaled, w),
        lambda x, w, k: x @ (_column(k, 1) * w),
        when=lambda scaled, x, w, k: (
            scaled.shape == x.shape and w.type.rank > 1 and _lies_along(k, -1, x) and _is_affine(x, w, k)
        ),
        keeps="rounding",
    ),
    rule(
        "w @ (x * k)",
        matmul(w, _scaled),
        lambda x, w, k: (w * _column(k, 0)) @ x,
        when=lambda scaled, x, w, k: (
            scaled.shape == x.shape and w.type.rank > 1 and _lies_along(k, _last_but_one(x), x) and _is_affine(x, w, k)
        ),
        keeps="rounding",
    ),
)
AFFINE: Rules = (*CHAINS, *CONVOLUTIONS, *PRODUCTS)


# The pass


def fold_affine(graph: Graph) -> Graph:
    """`graph` with the rules applied to all tensors but those that it updates, and large ones that have several users.

    A second, scaled copy of a large tensor would be read in addition to the first.
    """
    return behind_inputs(graph, {*updated(graph), *_shared(graph)}, partial(apply_rules, rules=AFFINE))


def _shared(graph: Graph) -> set[Value]:
    """The stored tensors on which a large value depends that has several users."""
    users: dict[Value, int] = {}
    for operand in (*(operand for node in graph for operand in node.operands), *graph.ends):
        users[operand] = users.get(operand, 0) + 1
    sources: dict[Value, frozenset[Value]] = {}  # of each known value
    shared: set[Value] = set()
    for node in graph:
        if isinstance(node.op, (Stored, Constant)):
            sources[node.result] = frozenset((node.result,))
        elif node.operands and all(operand in sources for operand in node.operands):
            leaves = frozenset().union(*(sources[operand] for operand in node.operands))
            sources.update(dict.fromkeys(node.results, leaves))
        else:
            continue
        for result in node.results:
            if users.get(result, 0) > 1 and (bytes_of(result) or SMALL + 1) > SMALL:
                shared |= sources[result]
    return {value for value in shared if isinstance(value.node.op, Stored)}
