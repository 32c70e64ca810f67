"""The computation graph: immutable nodes, and whatever a set of outputs reaches.

A `Node` is an operator applied to values; a `Value` is one result of a node and has a type. Every value is well typed:
creating a node runs its operator's type rule. Nothing here recurses to the depth of the graph.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from compiler.dims import Dim, Size, substitute
from compiler.origins import Layer, Origin, ResultName, current_origin
from compiler.types import DType, TensorType
from grammar.record import Record

if TYPE_CHECKING:
    import networkx as nx

    from compiler.targets import Target
    from compiler.types import Array


class Value:
    """One result of a node. Arithmetic operators create nodes; Python numbers become constants of the same dtype."""

    __slots__ = ("index", "node", "type")

    def __init__(self, node: Node, index: int, type: TensorType) -> None:
        self.node = node
        self.index = index
        self.type = type

    @property
    def shape(self) -> tuple[Size, ...]:
        """The shape of its type."""
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
MixedPrecision = Literal["short", "f32", "operands"]


class Node:
    """An operator applied to values: immutable but for the names that its text gives it, and compared by identity."""

    __slots__ = ("op", "operands", "origin", "results")

    def __init__(
        self, op: Operator, operands: tuple[Value, ...], types: Sequence[TensorType], origin: Origin | None = None
    ) -> None:
        self.op = op
        self.operands = operands
        self.origin = current_origin() if origin is None else origin
        if len(types) == 1:
            self.results: tuple[Value, ...] = (Value(self, 0, types[0]),)
        else:
            self.results = tuple([Value(self, index, type) for index, type in enumerate(types)])

    @property
    def result(self) -> Value:
        """The only result."""
        (result,) = self.results
        return result

    def add_name(self, name: ResultName) -> None:
        """Record a name of a result, unless the result has one that is at least as near to the model's own names."""
        origin = self.origin
        if all(name.depth < other.depth for other in origin.names if other.result == name.result):
            self.origin = Origin(origin.span, origin.path, (*origin.names, name))

    def __repr__(self) -> str:
        return f"<{self.op} of {len(self.operands)}>"


class Operator(Record):
    """One operator, and everything the system knows about it.

    A subclass with a `name` is an operator: its fields are the attributes, its docstring is its page in the reference.
    Defining the class registers it; no other module lists operators. Operators of one class with equal attributes are
    equal. Methods name their operands (`infer(self, x, y)`), so the signatures here are open: `*Any, **Any` is what a
    type checker lets them narrow. Attributes may hold symbolic sizes; `bind` replaces them by numbers, and `compute`
    sees numbers only.
    """

    name: ClassVar[str]
    opset: ClassVar[int] = 17  # the lowest ONNX opset that `lower` needs
    public: ClassVar[bool] = True  # may be called by its name in the language
    recognised: ClassVar[bool] = False  # passes create it, from equations of a model
    sums: ClassVar[bool] = (
        False  # rounds an inner sum to 16 bits, as the equations do; a runtime's fused kernel may not
    )
    wide: ClassVar[bool] = False  # rounds more than once: 16-bit floats are computed in f32 and rounded at the end
    safe_sums: ClassVar[bool] = False  # no sum inside it exceeds the largest number of the dtype
    rounds: ClassVar[bool] = True  # does arithmetic on floats, not only moving, choosing or counting them
    # What it computes in where products are in 16 bits: 16 bits, f32, or as its operands (see `mixed_precision`).
    mixed: ClassVar[MixedPrecision] = "f32"
    sign: ClassVar[str] = ""  # its infix operator in the language
    commutative: ClassVar[bool] = False  # has two operands that may be exchanged
    number_function: ClassVar[Callable[..., float] | None] = None  # the same function of Python numbers, for folding
    index_operands: ClassVar[tuple[str, ...]] = ()  # operands that hold indices: numbers passed for them become i64
    positions: ClassVar[Literal["all", "some"] | None] = (
        None  # of its operands' elements, that are elements of the result
    )
    cheap: ClassVar[bool] = False  # costs no more to compute again than to read from memory
    same_unit: ClassVar[tuple[int, ...]] = ()  # operands that must be in one unit to be meaningful
    counts_from_zero: ClassVar[tuple[int, ...]] = ()  # operands for which the zero of their unit matters
    states_axes: ClassVar[bool] = False  # states the axes of the result itself, unlike a broadcast
    views_operand: ClassVar[bool] = False  # NumPy's result is a view of the first operand
    allocates: ClassVar[bool] = False  # NumPy's result is a new array, never a view of an operand
    elementwise: ClassVar[bool] = False  # an element of the result depends on the operands' at its own index alone
    latex: ClassVar[str] = ""  # its name as a function in LaTeX, where that is not its own name
    reads_as_operand: ClassVar[bool] = False  # changes type, shape or sign alone, and is not read as an operation
    adjoint: ClassVar[str] = ""  # the name of its gradient, where that is read as one function
    by_index: ClassVar[bool] = False  # an element depends on its index and on scalars alone: see `fill`
    edges: ClassVar[tuple[str, ...]] = ()  # where onnxruntime's kernel deviates, and what it gives there
    registry: ClassVar[dict[str, type[Operator]]] = {}
    _bare: ClassVar[Any]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" in vars(cls):
            known = Operator.registry.setdefault(cls.name, cls)
            assert known.__qualname__ == cls.__qualname__, f"two operators are called {cls.name}"
            Operator.registry[cls.name] = cls

    @classmethod
    def bare(cls) -> Self:
        """The operator with no attributes but defaults: one object for all nodes, of which there may be very many."""
        known = vars(cls).get("_bare")
        if known is None:
            known = cls._bare = cls()
        return known

    @cached_property
    def attributes(self) -> tuple[Any, ...]:
        """The values of its fields, in order."""
        return tuple(getattr(self, name) for name in self.fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operator) or type(self) is not type(other):
            return False
        return self.attributes == other.attributes and self._negative_zeros == other._negative_zeros

    @cached_property
    def _negative_zeros(self) -> tuple[str, ...]:
        """The names of the attributes that are -0.0, which Python treats as equal to 0.0."""
        return tuple(name for name in self.fields if _is_negative_zero(getattr(self, name)))

    def __hash__(self) -> int:
        return hash((type(self), self.attributes))

    @abstractmethod
    def infer(self, *operands: Any, **none: Any) -> TensorType | tuple[TensorType, ...]:
        """The type of the result (a tuple for several), from the operands' types; raises TypeMismatch."""

    @abstractmethod
    def compute(self, *operands: Any, **bodies: Any) -> Array | tuple[Array, ...]:
        """The result as NumPy arrays. Operators with nested graphs get `bodies`, one callable per graph."""

    def kernel_for(self, used: Sequence[bool]) -> Callable[..., Any]:
        """`compute` where only some results are `used`; the others may be None."""
        return self.compute

    def fill(self, indices: range | Array, part: Array, *operands: Any) -> None:
        """Write the elements of the result at these indices, flattened, to `part`; for operators `by_index`."""
        raise NotImplementedError

    def pullback(self, grad: Any, *operands: Any, **result: Any) -> tuple[Value | None, ...]:
        """The gradient of each operand as new nodes, None where none flows back; raises NotDifferentiable.

        `grad` is the gradient of the result and `result` the result itself; both are tuples for operators of several
        results, where an absent gradient is None.
        """
        raise NotDifferentiable(self.name)

    @abstractmethod
    def lower(self, emit: Any, *operands: Any, **none: Any) -> str | tuple[str, ...]:
        """Write equivalent ONNX nodes with an `Emit`; returns the name of the result (a tuple for several)."""

    @property
    def universal_function(self) -> str | None:
        """The name of the NumPy ufunc that does all of `compute`; None where there is none."""
        return None

    @property
    def writer(self) -> Callable[..., Any] | None:
        """`compute` with the result's array as last argument, which may be an operand itself; None where there is none.

        For elementwise operators that are no universal function.
        """
        return None

    def element_code(self, *operands: str) -> str | None:
        """The result's element as a Python expression of its operands' elements, for compiled loops.

        None where there is none, or where NumPy's function is faster than a compiled loop.
        """
        return None

    def moved_operands(self, *operands: Value) -> tuple[Value, ...]:
        """The operands whose elements, unchanged, make up the results; empty for an operator that computes."""
        return ()

    def related_axes(self, *operands: TensorType) -> Iterable[tuple[int, int]]:
        """(operand index, axis) pairs along which items are mixed or moved although the result keeps such an axis."""
        return ()

    def lookup(self, *operands: Value) -> tuple[Value, Size | tuple[Size, ...]] | None:
        """The indices that it looks up, and the size of the axis that they index; None for any other operator.

        For indices into several axes, one for each along their own last axis, the sizes of these axes.
        """
        return None

    def keeps_last_axis(self, x: TensorType) -> bool:
        """Whether the result's last axis is that of its one operand, item for item."""
        return False

    def inverse(self, result: Value, *operands: Value) -> Iterable[tuple[Value, Value]]:
        """(operand, its value) pairs recovered from the result, for operands that it determines exactly."""
        return ()

    @property
    def discontinuous(self) -> bool:
        """Whether a rounding error in an operand may change the result by much, as in a comparison."""
        return False

    def least_sizes(self, *operands: Any) -> Iterable[tuple[Size, int]]:
        """(size, minimum) pairs: the operator is undefined where a size of its operands is below its minimum."""
        return ()

    def lowest_opset(self, target: Target) -> int:
        """The lowest ONNX opset that `lower` needs for a target."""
        return self.opset

    def native_opset(self, *operands: Any) -> int:
        """The opset from which a single ONNX operator implements it for these types; 0 where none does."""
        return 0

    def batch(self, length: Size, mapped: Sequence[bool], *operands: Value) -> Value | None:
        """The operator applied at each index of a new leading axis of this length, which the `mapped` operands have.

        None where the operator has no batching rule: it is then applied step by step.
        """
        return None

    def incremental(self, window: Any, axis: int, *operands: Value) -> Value | None:
        """The part of the result in a `Window` on one of its axes, computed from the parts of the operands it needs.

        `operands` are those of the whole result. None where all of them are needed, or the operator has no such rule.
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


class NotDifferentiable(Exception):
    """No gradient flows through an operator: the argument is its name, `node` the node where that was noticed."""

    node: Node | None = None


@dataclass(frozen=True, eq=False)
class Graph:
    """Named inputs and outputs, and everything that the outputs reach.

    `updates` are the next values of buffers by path: outputs that the next step starts from. `layers` are the layers
    and cells of its text by path, in the order of their first application.
    """

    inputs: dict[str, Value]
    outputs: dict[str, Value]
    updates: dict[str, Value] = field(default_factory=dict)
    name: str = "model"
    doc: str | None = None
    layers: Mapping[str, Layer] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Everything that the graph computes: outputs, then updates."""
        return (*self.outputs.values(), *self.updates.values())

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that an end needs, producers before their users, in the order they are first needed.

        Inputs that nothing uses are not among them.
        """
        order: list[Node] = []
        state: dict[Node, int] = {}  # how many operands have been visited
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

    @cached_property
    def operators(self) -> frozenset[type[Operator]]:
        """The classes of its operators, by which a pass sees that it has nothing to do."""
        return frozenset({type(node.op) for node in self.nodes})

    @cached_property
    def uses(self) -> Counter[Value]:
        """How often each value is an operand or an end."""
        return Counter(self._uses())

    def _uses(self) -> Iterator[Value]:
        for node in self.nodes:
            yield from node.operands
        yield from self.ends

    def has(self, *operators: type[Operator]) -> bool:
        """Whether one of its operators is of these classes, subclasses included."""
        return any(issubclass(known, operators) for known in self.operators)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @cached_property
    def dag(self) -> nx.MultiDiGraph[Node]:
        """The structure for networkx: edges run from a producer to its users, keyed by the operand's index."""
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
    return Operator.registry[name].bare()(
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
