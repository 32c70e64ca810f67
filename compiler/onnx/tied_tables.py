"""Which stored tables a runtime would hold twice: those that are looked up, and multiplied as they lie, transposed.

onnxruntime packs the weights of a product when it loads a file, and keeps the original beside the copy where another
node reads it. An input of the model that has its value beside it is not a constant to it, so that it multiplies by the
table itself: for many rows in the same time, for a single row in a fifth more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence

from compiler.onnx.lowered import LoweredNode
from compiler.types import DType, TensorType

_LARGE = 4 << 20  # bytes: a second copy of less is not worth another input


def tied_tables(
    nodes: Sequence[LoweredNode], stored: Collection[str], type_of: Callable[[str], TensorType | None]
) -> list[str]:
    """The names of those tables among the `stored` tensors that `nodes` read."""
    readers: dict[str, list[LoweredNode]] = {}
    for node in nodes:
        for name in set(node.names_read()):
            readers.setdefault(name, []).append(node)
    return [
        name
        for name in stored
        if len(readers.get(name, ())) > 1 and _is_large(type_of(name)) and _is_multiplied(name, readers, type_of)
    ]


def _is_large(type: TensorType | None) -> bool:
    if type is None or type.dtype is not DType.F32 or type.rank != 2:
        return False
    return math.prod(type.numeric_shape) * type.dtype.bytes >= _LARGE


def _is_multiplied(
    name: str, readers: dict[str, list[LoweredNode]], type_of: Callable[[str], TensorType | None]
) -> bool:
    """Whether it is the right side of products, all of more than one row, as it lies and transposed."""
    lefts = [_rows(node, name, readers, type_of) for node in readers[name] if node.onnx_type in ("Transpose", "Gemm")]
    rows = [number for numbers in lefts for number in numbers]
    return bool(rows) and not any(number in (1, None) for number in rows)


def _rows(
    node: LoweredNode,
    name: str,
    readers: dict[str, list[LoweredNode]],
    type_of: Callable[[str], TensorType | None],
) -> Iterator[object]:
    """The rows of the products with a table that a node makes or prepares; None for another use."""
    products, right = [node], name
    if node.onnx_type == "Transpose":
        (right,) = node.results
        products = readers.get(right, [])
    for product in products:
        transposed = product.onnx_type == "Gemm" and bool(product.attributes.get("transB"))
        fits = transposed if product is node else product.onnx_type == "MatMul"
        left = type_of(product.operands[0])
        usable = fits and product.operands[1] == right and left is not None and left.rank > 1
        yield left.shape[-2] if usable and left is not None else None
