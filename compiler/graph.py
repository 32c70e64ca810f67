"""The computation graph: immutable nodes, and whatever a set of outputs reaches.

A `Node` is an operator applied to values; a `Value` is one result of a node and has a type. A value that exists is
well typed: making a node runs its operator's type rule. Nothing here recurses to the graph's depth.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from compiler.dims import Dim, Size, substitute
from compiler.types import DType, TensorType
from grammar.record import Record
from grammar.source import Span

if TYPE_CHECKING:
    import networkx as nx

    from compiler.types import Array


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: the text that asked for it, and the path of the layer that made it."""

    span: Span | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as it was first applied: the definition's name and docstring, and what that application gave."""

    definition: str
    doc: str | None = None
    outputs: tuple[TensorType, ...] = ()


_origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - Origin is immutable


class origin:
    """Nodes made inside the block come from here."""

    __slots__ = ("here", "token")

    def __init__(self, span: Span | None, path: str) -> None:
        self.here = Origin(span, path)

    def __enter__(self) -> None:
        self.token = _origin.set(self.here)

    def __exit__(self, *error: object) -> None:
        _origin.reset(self.token)


class Value:
    """One result of a node. Arithmetic signs make nodes; numbers beside them become constants of the same dtype."""

    __slots__ = ("index", "node", "type")

    def __init__(self, node: Node, index: int, type: TensorType) -> None:
        self.node = node
        self.index = index
        self.type = type

    @property
    def shape(self) -> tuple[Size, ...]:
        return self.type.shape

    def __repr__(self) -> str:
        return f"<{self.node.op.name}.{self.index}: {self.type}>"

    def __add__(self, other: Operand) -> Value:
        return apply("add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return apply("add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return apply("sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return apply("sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return apply("mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return apply("mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return apply("div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return apply("div", other, self)

    def __pow__(self, other: Operand) -> Value:
        return apply("pow", self, other)

    def __matmul__(self, other: Value) -> Value:
        return apply("matmul", self, other)

    def __neg__(self) -> Value:
        return apply("neg", self)


Operand = Value | int | float | bool


class Node:
    """An operator applied to values: immutable, and compared by identity."""

    __slots__ = ("op", "operands", "origin", "results")

    def __init__(self, op: Operator, operands: tuple[Value, ...], types: Sequence[TensorType]) -> None:
        self.op = op
        self.operands = operands
        self.origin = _origin.get()
        self.results = tuple(Value(self, index, type) for index, type in enumerate(types))

    @property
    def result(self) -> Value:
        """The only result."""
        (result,) = self.results
        return result

    def __repr__(self) -> str:
        return f"<{self.op} of {len(self.operands)}>"


class Operator(Record, ABC):
    """One operator, and everything the system knows about it.

    A subclass with a `name` is one: its fields are the operator's attributes, its docstring is its page in the
    reference. Operators with equal attributes are equal. Being defined registers it; nothing lists
    operators a second time. Methods name their operands (`infer(self, x, y)`), so the signatures here are open:
    `*Any, **Any` is what a type checker lets them narrow. Attributes may hold symbolic sizes; `bind` makes them
    numbers, and `compute` sees numbers only.
    """

    name: ClassVar[str]
    opset: ClassVar[int] = 17  # the lowest ONNX opset that `lower` needs
    public: ClassVar[bool] = True  # may be called by its name in the language
    sums: ClassVar[bool] = False  # rounds a sum within to 16 bits, as the text does, and a runtime's kernel may not
    wide: ClassVar[bool] = False  # rounds more than once: 16-bit floats are computed in f32, and rounded at the end
    safe_sums: ClassVar[bool] = False  # is `wide`, and made so that no sum in it is beyond the largest number
    rounds: ClassVar[bool] = True  # computes with floats, and does not only move, choose or count them
    sign: ClassVar[str] = ""  # between two operands in the language
    commutative: ClassVar[bool] = False  # of two operands, and the same with them exchanged
    number_function: ClassVar[Callable[..., float] | None] = None  # the same of numbers, which the language folds
    index_operands: ClassVar[tuple[str, ...]] = ()  # that hold positions: numbers given for them are i64
    positions: ClassVar[Literal["all", "some"] | None] = None  # of its operands, that the result holds too
    same_unit: ClassVar[tuple[int, ...]] = ()  # operands that only mean something as numbers of one unit
    counts_from_zero: ClassVar[tuple[int, ...]] = ()  # operands whose zero is the unit's own
    states_axes: ClassVar[bool] = False  # says by itself which axes the result has, as no broadcast does
    views_operand: ClassVar[bool] = False  # NumPy's result lies in the first operand's memory
    allocates: ClassVar[bool] = False  # NumPy's result is an array of its own, that no operand lies in
    edges: ClassVar[tuple[str, ...]] = ()  # where onnxruntime's kernel gives something else, and what
    registry: ClassVar[dict[str, type[Operator]]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" in vars(cls):
            known = Operator.registry.setdefault(cls.name, cls)
            assert known.__qualname__ == cls.__qualname__, f"two operators are called {cls.name}"
            Operator.registry[cls.name] = cls

    @cached_property
    def attributes(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operator) or type(self) is not type(other):
            return False
        return self.attributes == other.attributes and self._negative_zeros == other._negative_zeros

    @cached_property
    def _negative_zeros(self) -> tuple[str, ...]:
        """The attributes that are -0.0, which Python finds equal to 0.0."""
        return tuple(name for name in self.fields if _is_negative_zero(getattr(self, name)))

    def __hash__(self) -> int:
        return hash((type(self), self.attributes))

    @abstractmethod
    def infer(self, *operands: Any, **none: Any) -> TensorType | tuple[TensorType, ...]:
        """The type of the result (or of each), from the operands' types; raises TypeMismatch."""

    @abstractmethod
    def compute(self, *operands: Any, **bodies: Any) -> Array | tuple[Array, ...]:
        """The result itself, by NumPy. Operators with nested graphs get `bodies`, one callable for each graph."""

    def pullback(self, grad: Any, *operands: Any, **result: Any) -> tuple[Value | None, ...]:
        """Each operand's gradient as new graph, None where nothing flows back.

        `grad` is the gradient of the result and `result` the result itself; tuples for operators of many results,
        where an absent gradient is None.
        """
        raise NotDifferentiable(self.name)

    @abstractmethod
    def lower(self, emit: Any, *operands: Any, **none: Any) -> str | tuple[str, ...]:
        """Write ONNX nodes that mean the same by an `Emit`; the name of the result (or of each)."""

    @property
    def universal_function(self) -> str | None:
        """The name of NumPy's universal function that is all of `compute`, where one is."""
        return None

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        """The operands whose numbers the results hold, each unchanged and others none; empty where it computes."""
        return ()

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        """Operands and their axes whose items meet, or change their place, although the result has such an axis."""
        return ()

    def looked_up(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        """The positions that it looks up, and the size of the axis that they are on; None where it looks up none.

        Of positions on several axes, whose own last axis has one for each, the sizes of these.
        """
        return None

    def keeps_last_axis(self, x: TensorType) -> bool:
        """Whether the result's last axis is that of its one operand, item for item."""
        return False

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        """Operands with what they were for the result to be this one, where nothing is lost."""
        return ()

    @property
    def jumps(self) -> bool:
        """Whether the smallest difference of an operand may change the result by much, as in a comparison."""
        return False

    def least_sizes(self, *operands: Any) -> Iterable[tuple[Size, int]]:
        """Sizes of the operands below which there is no result, each with the least that it may be."""
        return ()

    def native_opset(self, *operands: Any) -> int:
        """The opset from which one ONNX operator takes the place of several for these types; 0 where none does."""
        return 0

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        """The operator at each index of a new leading axis of this length, which the `mapped` operands have.

        None where the operator does not say how: then it is applied step by step.
        """
        return None

    def incremental(self, window: Any, axis: int, *operands: Value) -> Value | None:
        """The result in a `Window` on one of its axes, made of no more of the operands than that takes.

        `operands` are those of the whole result; None where it takes all of them, or the operator does not say how.
        """
        return None

    def flops(self, *operands: Any, **none: Any) -> Size:
        """Floating-point operations of one application, a multiply-add counted as two."""
        inferred = self.infer(*operands)
        first = inferred if isinstance(inferred, TensorType) else inferred[0]
        return first.elements

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Nested graphs, as the body of a Scan."""
        return ()

    def bind(self, sizes: Mapping[str, Size]) -> Operator:
        """This operator with named dims in its attributes replaced by sizes."""
        if not self.has_sizes:
            return self
        return self.replace(**{name: _bind(getattr(self, name), sizes) for name in self.fields})

    @cached_property
    def has_sizes(self) -> bool:
        """Whether an attribute holds a size known only when the model runs."""
        return any(_holds_dim(attribute) for attribute in self.attributes)

    def apply(self, *operands: Value) -> Node:
        """A node of this operator on values."""
        inferred = self.infer(*(operand.type for operand in operands))
        return Node(self, operands, (inferred,) if isinstance(inferred, TensorType) else inferred)

    def __call__(self, *operands: Value) -> Value:
        """The result on values, of an operator that has one; of the others, `apply` has `results`."""
        return self.apply(*operands).result


def kernel_of(node: Node, op: Operator) -> Callable[..., Any]:
    """What computes a node by its operator, sizes bound; one that is `wide` rounds 16-bit floats at its end alone."""
    halves = [value.type.dtype.is_half for value in node.operands]
    if not op.wide or not any(halves):
        return op.compute

    def rounded(*operands: Array) -> Array | tuple[Array, ...]:
        import numpy as np

        wide = (operand.astype(np.float32) if half else operand for operand, half in zip(operands, halves, strict=True))
        computed = op.compute(*wide)
        several = computed if isinstance(computed, tuple) else (computed,)
        narrow = tuple(
            np.asarray(array, value.type.dtype.numpy) if value.type.dtype.is_half else array
            for array, value in zip(several, node.results, strict=True)
        )
        return narrow if isinstance(computed, tuple) else narrow[0]

    return rounded


class NotDifferentiable(Exception):
    """No gradient flows through this operator; the argument is its name, and `node` where it was met."""

    node: Node | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """Named inputs and outputs, and everything that the outputs reach.

    `updates` are the next values of buffers, by the buffer's path: outputs that the next step starts from. `layers` are
    the layers and cells of its text by path, in the order of their first application.
    """

    inputs: dict[str, Value]
    outputs: dict[str, Value]
    updates: dict[str, Value] = field(default_factory=dict)
    name: str = "model"
    doc: str | None = None
    layers: Mapping[str, Layer] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Everything that the graph is for: outputs, then updates."""
        return (*self.outputs.values(), *self.updates.values())

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that an end needs, producers before their users, in the order they are first needed.

        Inputs that nothing uses are not among them.
        """
        order: list[Node] = []
        state: dict[Node, int] = {}  # how many operands are done
        for end in self.ends:
            stack = [end.node]
            while stack:
                node = stack[-1]
                done = state.get(node, 0)
                if done > len(node.operands):
                    stack.pop()
                elif done == len(node.operands):
                    order.append(node)
                    state[node] = done + 1
                    stack.pop()
                else:
                    state[node] = done + 1
                    if node.operands[done].node not in state:
                        stack.append(node.operands[done].node)
        return tuple(order)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def dag(self) -> nx.MultiDiGraph[Node]:
        """The structure as networkx has it: edges run from a producer to its users, keyed by the operand's place."""
        import networkx as nx

        dag: nx.MultiDiGraph[Node] = nx.MultiDiGraph()
        dag.add_nodes_from(self.nodes)
        dag.add_edges_from(
            (operand.node, node, index) for node in self.nodes for index, operand in enumerate(node.operands)
        )
        return dag


def apply(name: str, *operands: Operand) -> Value:
    """Apply the attribute-less operator `name`; numbers become constants of the first value's dtype."""
    dtype = next(operand.type.dtype for operand in operands if isinstance(operand, Value))
    return Operator.registry[name]()(
        *(operand if isinstance(operand, Value) else _constant(operand, dtype) for operand in operands)
    )


def _constant(number: float | bool, dtype: DType) -> Value:
    arguments: tuple[Any, ...] = (TensorType(dtype), dtype.pack(number))
    return Operator.registry["constant"](*arguments)()


def _is_negative_zero(attribute: Any) -> bool:
    return isinstance(attribute, float) and attribute == 0 and math.copysign(1, attribute) < 0


def _holds_dim(attribute: Any) -> bool:
    if isinstance(attribute, tuple):
        return any(map(_holds_dim, attribute))
    if isinstance(attribute, TensorType):
        return _holds_dim(attribute.shape)
    if isinstance(attribute, Graph):
        return any(_holds_dim(value.shape) for node in attribute for value in node.results)
    return isinstance(attribute, Dim)


def _bind(attribute: Any, sizes: Mapping[str, Size]) -> Any:
    if isinstance(attribute, tuple):
        return tuple(_bind(item, sizes) for item in attribute)
    if isinstance(attribute, Dim):
        return substitute(attribute, sizes)
    return attribute.bind(sizes) if isinstance(attribute, TensorType) else attribute
