"""The gradient of a product reduction, by multiplications alone.

`result / x` is the product of the other elements only where nothing is 0 or infinite, and replacing it there by a
`where` would give a second derivative of 0. So the product is written as multiplications, which are differentiated like
any others: correct for zeros and infinities, and to any order.
"""

from __future__ import annotations

from compiler.dims import product
from compiler.graph import Graph, Value
from compiler.operators.leaves import Input, constant
from compiler.operators.making import concat, expand, filled, reshape, scan, slice_, squeeze, transpose


def product_gradient(grad: Value, x: Value, folded: tuple[int, ...]) -> Value:
    """The gradient of the product of `x` over the axes `folded`; `grad` has the remaining axes."""
    from compiler.gradient import gradients

    shape = x.shape
    left = tuple(axis for axis in range(len(shape)) if axis not in folded)
    length = product(shape[axis] for axis in folded)
    if length == 0:
        return filled(0, x.type)
    rest = tuple(shape[axis] for axis in left)
    factors = reshape(transpose(x, (*folded, *left)), (length, *rest))
    total = _multiply_by_halves(factors, length) if isinstance(length, int) else _multiply_by_scan(factors)
    (gradient,) = gradients([total], [grad], [x])
    assert gradient is not None
    return gradient


def _multiply_by_halves(factors: Value, length: int) -> Value:
    """The product over axis 0: the first half times the second, until one is left."""
    while length > 1:
        half = length // 2
        pairs = slice_(factors, (0,), (0,), (half,)) * slice_(factors, (0,), (half,), (2 * half,))
        odd = length % 2
        factors = concat((pairs, slice_(factors, (0,), (2 * half,), (length,))), 0) if odd else pairs
        length = half + odd
    return squeeze(factors, (0,))


def _multiply_by_scan(factors: Value) -> Value:
    """The product over axis 0 by a scan, for a length that is known only when the model runs."""
    type = factors.type.with_shape(*factors.shape[1:])
    so_far, factor = Input("so_far", type)(), Input("factor", type)()
    step = Graph({"so_far": so_far, "factor": factor}, {"product": so_far * factor}, name="product")
    one = constant(1, type.dtype)
    factors = concat((expand(one, (1, *type.shape)), factors), 0)  # a scan has one step at least
    last, *_ = scan(step, [expand(one, type.shape)], [factors])
    return last
