"""What an operator writes itself to ONNX with: the exporter is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from compiler.dims import Size
from compiler.graph import Graph, Operator
from compiler.types import TensorType

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array


class Emit(Protocol):
    """Writes ONNX nodes for one graph; values go by name, arrays become initializers, None is an absent input."""

    opset: int

    def __call__(self, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> str:
        """Write a node of one result; its name."""

    def many(self, results: int, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> tuple[str, ...]:
        """Write a node of several results; their names."""

    def sizes(self, sizes: Sequence[Size]) -> str:
        """A one-axis i64 tensor that holds the sizes: an initializer, or computed from the inputs' shapes."""

    def body(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str], formal: int) -> onnx.GraphProto:
        """A nested graph with these names for its inputs and outputs, in order.

        The first `formal` inputs are the nested graph's own; the others are names of this graph.
        """

    def unique(self, base: str) -> str:
        """A name like `base` that nothing in the model has."""

    def type(self, name: str) -> TensorType:
        """The type of an operand."""

    def refuse_empty(self, value: str, sequence: str, sizes: Sequence[Size]) -> str:
        """A value whose first axis is 1; the runtime stops with an error at it where the sequence holds nothing.

        Of the sequence's sizes those are looked at that may not be 0 by the text.
        """

    def producer(self, name: str) -> Operator | None:
        """The operator that an operand comes from; None for what is fed, and for what comes from around this graph."""

    def may_cast_transposed(self, name: str) -> bool:
        """Whether an operand may be the cast of a transpose once onnxruntime has dropped and moved nodes before it."""
