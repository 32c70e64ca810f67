"""A graph as it will be written: the nodes that operators were lowered to, before they become ONNX's own objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.onnx.protos import default_attributes, value_info

if TYPE_CHECKING:
    import onnx

    from compiler.types import TensorType
else:
    onnx = LazyModule("onnx")

SOURCE, LAYER = "source", "layer"  # keys of a node's metadata: `file:line:column`, and the layer's path


@dataclass(eq=False, slots=True)
class LoweredNode:
    """An ONNX node; values are names, an absent operand is an empty one. Attributes are as `make_node` takes them.

    A node that is `kept` is written as it is: it checks something when the model runs, or stands in the way of a
    rewrite of onnxruntime's that would change a result.
    """

    onnx_type: str
    operands: list[str]
    results: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    metadata: Sequence[tuple[str, str]] = ()
    doc: str = ""
    kept: bool = False
    domain: str = ""  # of the operator; the empty one is ONNX's own

    @property
    def layer(self) -> str:
        """The path of the layer that it computes a part of."""
        return next((value for key, value in self.metadata if key == LAYER), "")

    @property
    def bodies(self) -> Iterator[LoweredBody]:
        """The nested graphs among its attributes."""
        return (value for value in self.attributes.values() if isinstance(value, LoweredBody))

    def names_read(self) -> Iterable[str]:
        """Every name that it reads, in its nested graphs too."""
        if not any(isinstance(value, LoweredBody) for value in self.attributes.values()):
            return self.operands
        return {*self.operands, *(name for body in self.bodies for name in body.names_read())}

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Exchange names that it reads or writes, in its nested graphs too."""
        self.operands = [renamed.get(name, name) for name in self.operands]
        self.results = [renamed.get(name, name) for name in self.results]
        for body in self.bodies:
            body.rename(renamed)

    def proto(self) -> onnx.NodeProto:
        """The node as ONNX's own object."""
        node = onnx.NodeProto()
        self.write_to(node)
        return node

    def write_to(self, node: onnx.NodeProto) -> None:
        """Fill in an empty node of ONNX's, which may be part of a model: of very many nodes, copies take memory."""
        node.op_type, node.name = self.onnx_type, self.name
        if self.domain:
            node.domain = self.domain
        node.input.extend(self.operands)
        node.output.extend(self.results)
        for name, value in sorted(self.attributes.items()):
            if value is not None:
                attribute = value.proto() if isinstance(value, LoweredBody) else value
                node.attribute.append(onnx.helper.make_attribute(name, attribute))
        for key, value in self.metadata:
            node.metadata_props.add(key=key, value=value)
        if self.doc:
            node.doc_string = self.doc


@dataclass(eq=False, slots=True)
class LoweredBody:
    """A nested graph, as the step of a Scan; it reads names of the graphs around it."""

    name: str
    nodes: list[LoweredNode]
    inputs: Sequence[onnx.ValueInfoProto]
    outputs: Sequence[onnx.ValueInfoProto]
    infos: Sequence[onnx.ValueInfoProto]

    def names_read(self) -> Iterator[str]:
        """Every name that its nodes read or that it returns."""
        for node in self.nodes:
            yield from node.names_read()
        for output in self.outputs:
            yield output.name

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Exchange names that its nodes read or write."""
        for node in self.nodes:
            node.rename(renamed)

    def carry(self, inputs: int, outputs: int, values: Mapping[str, tuple[TensorType, str, str]]) -> None:
        """Make outer values that a step reads further states: for each its type, and names of the states.

        They follow so many of its inputs and outputs.
        """
        self.rename({name: before for name, (_, before, _) in values.items()})
        before = [value_info(name, type) for type, name, _ in values.values()]
        after = [value_info(name, type) for type, _, name in values.values()]
        self.inputs = [*self.inputs[:inputs], *before, *self.inputs[inputs:]]
        self.outputs = [*self.outputs[:outputs], *after, *self.outputs[outputs:]]
        self.nodes += [LoweredNode("Identity", [name], [following]) for _, name, following in values.values()]

    def count_steps(
        self, states: int, items: Mapping[str, str], number: tuple[str, TensorType], going: tuple[str, str, TensorType]
    ) -> None:
        """Make a Scan's step one of a Loop, which takes each of the `items` from the sequence that it belongs to.

        `number` is the name and the type of the step's number, `going` the names and type of the condition to go on.
        """
        (index, index_type), (before, after, type) = number, going
        gathers = [
            LoweredNode("Gather", [sequence, index], [item], {"axis": 0}, item) for item, sequence in items.items()
        ]
        self.nodes = [*gathers, *self.nodes, LoweredNode("Identity", [before], [after])]
        self.inputs = [value_info(index, index_type), value_info(before, type), *self.inputs[:states]]
        self.outputs = [value_info(after, type), *self.outputs]

    def proto(self) -> onnx.GraphProto:
        """The graph as ONNX's own object."""
        nodes = [node.proto() for node in self.nodes]
        return onnx.helper.make_graph(nodes, self.name, self.inputs, self.outputs, value_info=self.infos)


def state_defaults(nodes: Iterable[LoweredNode], opset: int) -> None:
    """Give nodes, those of nested graphs too, the attributes that have their default values."""
    for node in nodes:
        node.attributes = {**default_attributes(node.onnx_type, opset), **node.attributes}
        for body in node.bodies:
            state_defaults(body.nodes, opset)


def domains(nodes: Iterable[LoweredNode]) -> set[str]:
    """The domains of the operators of nodes, those of nested graphs included, besides ONNX's own."""
    inner = (domains(body.nodes) for node in nodes for body in node.bodies)
    return {node.domain for node in nodes if node.domain}.union(*inner)


def count(nodes: Iterable[LoweredNode]) -> int:
    """The number of nodes, those of nested graphs included."""
    return sum(1 + sum(count(body.nodes) for body in node.bodies) for node in nodes)
