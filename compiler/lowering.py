"""The interface through which an operator writes ONNX nodes; the exporter implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from compiler.dims import Size
from compiler.graph import Graph, Operator
from compiler.targets import Target
from compiler.types import TensorType

if TYPE_CHECKING:
    from compiler.types import Array


class Emit(Protocol):
    """Writes ONNX nodes for one graph; values are names, arrays become initializers, None is an absent input."""

    opset: int
    target: Target

    def __call__(self, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> str:
        """Write a node of one result; returns its name."""

    def many(self, results: int, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> tuple[str, ...]:
        """Write a node of several results; returns their names. `domain`, if it is passed, is that of the operator."""

    def sizes(self, sizes: Sequence[Size]) -> str:
        """The name of an i64 vector of the sizes: an initializer, or computed from the inputs' shapes."""

    def body(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str], formal: int) -> object:
        """A nested graph with these names for its inputs and outputs, in order.

        The first `formal` inputs are the nested graph's own; the others are names of this graph.
        """

    def carry(self, body: Any, inputs: int, outputs: int, types: Mapping[str, TensorType]) -> tuple[str, ...]:
        """Make the values that a body reads from this graph states of it, after so many of its inputs and outputs.

        `types` are those of values inside a lowering. Returns the values' names, which are the states' initial values:
        empty where the target's bodies read them as they are.
        """

    def follows_from_sizes(self, name: str) -> bool:
        """Whether a value is computed from shapes and constants alone, and is not a constant."""

    def unique(self, base: str) -> str:
        """A name like `base` that is not yet taken in the model."""

    def type(self, name: str) -> TensorType:
        """The type of an operand."""

    def refuse_empty(self, sequence: str, sizes: Sequence[Size]) -> str:
        """`sequence`, whose first two axes have these `sizes`, behind a check: the runtime raises an error if one is 0.

        Only those of the sizes are checked that the model requires to be at least 1, and only once.
        """

    def keep(self, name: str) -> str:
        """`name`, the result of the node written last, which the clean-up of the written graph leaves as it is.

        For nodes that check something, or prevent a rewrite of the runtime's that would change a result.
        """

    def producer(self, name: str) -> Operator | None:
        """The operator that produces an operand; None for an input, and for a value of an outer graph."""

    def is_stored(self, name: str) -> bool:
        """Whether an operand is stored in the file, so that a runtime prepares it once."""

    def may_cast_transposed(self, name: str) -> bool:
        """Whether an operand may be the cast of a transpose once onnxruntime has dropped and moved nodes before it."""
