"""Parameters that an update changes element by element, with the same equations: they can be one flat tensor.

An elementwise update of a tensor depends on no shape. Tensors that lie one after the other in memory are then updated
by one pass over it, whatever their shapes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler.graph import Graph, Node, Value
from compiler.operators.leaves import Constant, Input, Stored
from compiler.operators.shaping import Expand
from compiler.training.own_state import OwnState
from compiler.types import DType, TensorType
from grammar.record import Record

PARAMETER, GRADIENT = "parameter", "gradient"  # roles of tensors besides those of a step's own states
Key = tuple[object, ...]


class Member(Record):
    """A parameter of a group, and the names of the tensors in its update by their roles."""

    path: str
    tensors: dict[str, str]


class FlatGroup(Record):
    """Parameters with the same elementwise equations: `nodes`, as written for the first of them.

    `operands` are what the nodes read: the roles of a parameter's own tensors, or a name in the outputs of the update's
    `shared` graph. `results` are the next values by role.
    """

    members: tuple[Member, ...]
    nodes: tuple[Node, ...]
    operands: dict[Value, str]
    results: dict[str, Value]

    @property
    def roles(self) -> dict[str, Value]:
        """The roles of the tensors that are read or written, with a value of each one's type."""
        read = {name: value for value, name in self.operands.items() if name in self.members[0].tensors}
        return {**self.results, **read}


class FlatUpdate(Record):
    """An update as groups, and the graph of what they share and of all that is not in a group.

    The outputs of `shared` are scalars that groups read; its updates are the next values of other tensors.
    """

    groups: tuple[FlatGroup, ...]
    shared: Graph


def flat_update(update: Graph, gradients: Mapping[str, str], states: Mapping[str, OwnState]) -> FlatUpdate:
    """The groups of an update; `gradients` are the names of its inputs by the paths of the parameters."""
    owners = {path: (state.of, f"{state.kind}/{state.name}") for path, state in states.items()}
    for path, name in gradients.items():
        owners |= {path: (path, PARAMETER), name: (path, GRADIENT)}
    targets: dict[str, dict[str, Value]] = {}
    for path, value in update.updates.items():
        owner, role = owners.get(path, ("", ""))
        targets.setdefault(owner, {})[role] = value
    scalars, fills = dict[Value, str](), dict[tuple[DType, bytes], Value]()
    groups: dict[Key, FlatGroup] = {}
    grouped: set[str] = set()
    for path in gradients:
        reader = _Reader(path, targets.get(path, {}), owners, scalars, fills)
        if not reader.read():
            continue
        scalars |= {value: name for value, name in reader.scalars.items() if value not in scalars}
        group = groups.get(reader.key)
        member = Member(path, reader.tensors)
        groups[reader.key] = (
            FlatGroup((member,), tuple(reader.nodes), reader.operands, reader.results)
            if group is None
            else group.replace(members=(*group.members, member))
        )
        grouped.add(path)
    rest = {path: value for path, value in update.updates.items() if owners.get(path, ("", ""))[0] not in grouped}
    shared = Graph(update.inputs, {name: value for value, name in scalars.items()}, rest, update.name)
    return FlatUpdate(tuple(groups.values()), _with_used_inputs(shared))


def _with_used_inputs(graph: Graph) -> Graph:
    used = {node.result for node in graph if isinstance(node.op, Input)}
    inputs = {name: value for name, value in graph.inputs.items() if value in used}
    return Graph(inputs, graph.outputs, graph.updates, graph.name)


class _Reader:
    """Reads the update of one parameter down to its own tensors and to scalars."""

    def __init__(
        self,
        path: str,
        results: Mapping[str, Value],
        owners: Mapping[str, tuple[str, str]],
        known: Mapping[Value, str],
        fills: dict[tuple[DType, bytes], Value],
    ) -> None:
        self.path, self.results, self.owners, self.known = path, dict(results), owners, known
        self.fills = fills  # scalars of which whole constants consist
        self.nodes: list[Node] = []
        self.tensors: dict[str, str] = {}
        self.operands: dict[Value, str] = {}
        self.scalars: dict[Value, str] = {}
        self.key: Key = ()

    def read(self) -> bool:
        """Whether all of the update is elementwise; only then the other attributes are meaningful."""
        values = list(self.results.values())
        if not values or not values[0].type.rank or self.results.keys() <= {GRADIENT}:
            return False
        shape = values[0].shape
        if any(value.shape != shape for value in values):
            return False
        self.tensors = {
            role: name for name, (owner, role) in self.owners.items() if owner == self.path and role in self.results
        }
        numbers: dict[Value, object] = {}
        steps: list[object] = []
        for node in _down_to_scalars(values):
            value = node.results[0]
            if not value.type.rank or isinstance(node.op, (Constant, Expand)):
                scalar = self._scalar_of(value)
                if scalar is None:
                    return False
                name = self.known.get(scalar) or self.scalars.setdefault(
                    scalar, f"scalar {len(self.known) + len(self.scalars)}"
                )
                self.operands[value] = name
                numbers[value] = name
            elif isinstance(node.op, (Input, Stored)):
                name = node.op.label if isinstance(node.op, Input) else node.op.path
                owner, role = self.owners.get(name, ("", ""))
                if owner != self.path or value.shape != shape:
                    return False
                self.tensors[role] = name
                self.operands[value] = role
                numbers[value] = (role, value.type.dtype)
            elif node.op.elementwise and value.shape == shape:
                steps.append((node.op, *(numbers[operand] for operand in node.operands)))
                numbers[value] = len(steps)
                self.nodes.append(node)
            else:
                return False
        self.key = (*steps, *((role, numbers[value], value.type.dtype) for role, value in self.results.items()))
        return True

    def _scalar_of(self, value: Value) -> Value | None:
        """The scalar that a value is, or that it is filled with; None for others."""
        while isinstance(value.node.op, Expand):
            value = value.node.operands[0]
        op = value.node.op
        if value.type.rank and isinstance(op, Constant):
            number = op.data[: op.type.dtype.bytes]
            if op.data == number * (len(op.data) // max(1, len(number))) and number:
                key = op.type.dtype, number
                return self.fills.setdefault(key, Constant(TensorType(op.type.dtype), number)())
        return value if not value.type.rank else None


def _down_to_scalars(ends: Iterable[Value]) -> Iterable[Node]:
    """The nodes that `ends` reach, producers first, without those that compute or expand scalars."""
    order: list[Node] = []
    done: set[Node] = set()
    stack = [(end.node, False) for end in reversed(list(ends))]
    while stack:
        node, visited = stack.pop()
        if visited:
            order.append(node)
            continue
        if node in done:
            continue
        done.add(node)
        stack.append((node, True))
        if node.results[0].type.rank and not isinstance(node.op, Expand):
            stack += [(operand.node, False) for operand in reversed(node.operands)]
    return order
