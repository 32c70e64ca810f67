"""What the rules of the clean-up ask of the graph that they rewrite: producers, users, types, constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from compiler.dims import Dim, Size
from compiler.lazy import LazyModule
from compiler.onnx.lowered import LoweredNode
from compiler.onnx.onnx_operators import broadcasting
from compiler.targets import Target
from compiler.types import TensorType, TypeMismatch, broadcast_shapes

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.types import Array

    Shape = tuple[Size, ...]
else:
    np = LazyModule("numpy")
    onnx = LazyModule("onnx")


class Written(Protocol):
    """The writer of a graph, as far as its clean-up needs it."""

    opset: int
    target: Target

    def known_type(self, name: str) -> TensorType | None:
        """The type of a value, where the graph states it."""

    def array(self, name: str) -> Array | None:
        """A small constant; None for any other value."""

    def constant(self, array: Array) -> str:
        """The name of a constant, stored once in the whole model."""


class Scope:
    """One graph while it is cleaned up. Its nodes are visited in order, and only visited ones are known here."""

    def __init__(self, writer: Written, uses: Counter[str]) -> None:
        self.writer, self.uses = writer, uses
        self.producers: dict[str, LoweredNode] = {}
        self._shapes: dict[str, Shape] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}

    def behind(self, name: str, *kinds: str) -> LoweredNode | None:
        """The node of one of these kinds that computes a value; None where another does, or one that is kept."""
        node = self.producers.get(name)
        return node if node is not None and node.onnx_type in kinds and not node.kept else None

    def array(self, name: str) -> Array | None:
        """A small constant; None for any other value."""
        return self.writer.array(name)

    def integers(self, name: str) -> list[int] | None:
        """A small constant vector of integers."""
        array = self.writer.array(name)
        return array.tolist() if array is not None and array.ndim == 1 and array.dtype.kind == "i" else None

    def constant(self, array: Array) -> str:
        """The name of a constant."""
        return self.writer.constant(array)

    def vector(self, integers: Sequence[int]) -> str:
        """The name of a constant vector of i64."""
        return self.writer.constant(np.array(integers, np.int64))

    def shape(self, name: str) -> Shape | None:
        """The shape of a value, where it is known."""
        type = self.writer.known_type(name)
        if type is not None:
            return type.shape
        array = self.writer.array(name)
        return array.shape if array is not None else self._shapes.get(name)

    def dtype(self, name: str) -> np.dtype[Any] | None:
        """The element type of a value, where it is known: unsigned integers are not types of the language."""
        if name in self._dtypes:
            return self._dtypes[name]
        type = self.writer.known_type(name)
        if type is not None:
            return type.dtype.numpy
        array = self.writer.array(name)
        return array.dtype if array is not None else None

    def add(self, node: LoweredNode) -> None:
        """Make a visited node known."""
        for name in node.results:
            self.producers[name] = node
        if node.onnx_type == "Split":
            self._infer_parts(node)
        elif len(node.results) == 1 and self.writer.known_type(node.results[0]) is None:
            self._infer(node, node.results[0])

    def _infer(self, node: LoweredNode, result: str) -> None:
        """The type of a value inside the lowering of an operator, whose own results alone have types."""
        dtype = self._result_dtype(node)
        if dtype is not None:
            self._dtypes[result] = dtype
        if node.onnx_type == "Range":
            self._shapes[result] = (Dim.named(result),)  # a size of its own
        elif node.onnx_type == "Shape" and "end" in node.attributes:
            self._shapes[result] = (node.attributes["end"] - node.attributes.get("start", 0),)
        shapes = [self.shape(name) for name in node.operands]
        if not shapes or shapes[0] is None or result in self._shapes:
            return
        if node.onnx_type in ("Cast", "Identity", "Not"):
            self._shapes[result] = shapes[0]
        elif node.onnx_type in broadcasting():
            if (shape := broadcast_shape(shapes)) is not None:
                self._shapes[result] = shape
        elif node.onnx_type == "Unsqueeze" and (axes := self.integers(node.operands[1])) is not None:
            self._shapes[result] = unsqueezed(shapes[0], axes)
        elif node.onnx_type == "Squeeze" and (axes := self.integers(node.operands[1])) is not None:
            dropped = {axis % len(shapes[0]) for axis in axes}
            self._shapes[result] = tuple(size for axis, size in enumerate(shapes[0]) if axis not in dropped)
        elif node.onnx_type == "Transpose":
            self._shapes[result] = tuple(shapes[0][axis] for axis in node.attributes["perm"])

    def _infer_parts(self, node: LoweredNode) -> None:
        """The types of the parts that a Split makes, where their sizes are numbers."""
        shape, dtype, sizes = self.shape(node.operands[0]), self.dtype(node.operands[0]), None
        if len(node.operands) > 1:
            sizes = self.integers(node.operands[1])
        for result, size in zip(node.results, sizes or (), strict=False):
            if dtype is not None:
                self._dtypes.setdefault(result, dtype)
            if shape is not None:
                axis = node.attributes["axis"] % len(shape)
                self._shapes.setdefault(result, (*shape[:axis], size, *shape[axis + 1 :]))

    def _result_dtype(self, node: LoweredNode) -> np.dtype[Any] | None:
        if node.onnx_type == "Cast":
            dtype: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"])
            return dtype
        same_as, fixed = _schema_dtype(node.onnx_type, self.writer.opset)
        if same_as is not None and same_as < len(node.operands):
            return self.dtype(node.operands[same_as])
        return np.dtype(fixed) if fixed is not None else None


def uses_of(nodes: Iterable[LoweredNode], ends: Iterable[str]) -> Counter[str]:
    """How many nodes and ends read each value."""
    uses = Counter(ends)
    for node in nodes:
        uses.update(node.names_read())
    return uses


def unsqueezed(shape: Shape, axes: Sequence[int]) -> Shape:
    """A shape with new axes of length 1, which are `axes` of the result."""
    rank = len(shape) + len(axes)
    added = {axis % rank for axis in axes}
    sizes = iter(shape)
    return tuple(1 if axis in added else next(sizes) for axis in range(rank))


def broadcast_shape(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape that shapes broadcast to; None where one is not known, or they do not broadcast."""
    result: Shape = ()
    for shape in shapes:
        if shape is None:
            return None
        try:
            result = broadcast_shapes(result, shape)
        except TypeMismatch:
            return None
    return result


def broadcasts_to(shapes: Sequence[Shape | None], result: Shape | None) -> bool:
    """Whether shapes are known to broadcast to the one of a result."""
    return result is not None and broadcast_shape(shapes) == result


@cache
def _schema_dtype(kind: str, opset: int) -> tuple[int | None, str | None]:
    """Which operand has the element type of an ONNX operator's first result; or the type that it always has."""
    schema = onnx.defs.get_schema(kind, opset, "")
    result = schema.outputs[0].type_str
    for index, operand in enumerate(schema.inputs):
        if operand.type_str == result:
            return index, None
    allowed = next(
        (constraint.allowed_type_strs for constraint in schema.type_constraints if constraint.type_param_str == result),
        [result],
    )
    names = {"tensor(bool)": "bool", "tensor(int64)": "int64"}
    return None, names.get(allowed[0]) if len(allowed) == 1 else None


Rewrite = Callable[[LoweredNode, Scope], "Replacement | str | None"]


class Replacement:
    """The node that takes the place of another, with its results."""

    def __init__(self, onnx_type: str, *operands: str, **attributes: Any) -> None:
        self.onnx_type, self.operands, self.attributes = onnx_type, operands, attributes


class CleanUpRule:
    """A rewrite of nodes of some kinds, with a name by which it is tested.

    It returns the node to write instead, or the name of an equal value, or None to leave the node alone.
    """

    def __init__(self, name: str, kinds: frozenset[str], rewrite: Rewrite) -> None:
        self.name, self.kinds, self.rewrite = name, kinds, rewrite


def rule(name: str, *kinds: str) -> Callable[[Rewrite], CleanUpRule]:
    """Make a rule of a function, for nodes of these kinds."""
    return lambda rewrite: CleanUpRule(name, frozenset(kinds), rewrite)
