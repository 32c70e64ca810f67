"""Graph to ONNX: every operator lowers itself; names, shapes and source lines are kept.

What is written passes `onnx.checker` with full shape inference and loads in onnxruntime without a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compiler.dims import Dim, Quotient, Remainder, Size, Symbol, substitute, symbols
from compiler.graph import Graph, Node, Value
from compiler.lazy import LazyModule
from compiler.operators.source import Buffer, Constant, Input, Parameter
from compiler.types import DType, TensorType
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.types import Array
else:
    np = LazyModule("numpy")
    onnx = LazyModule("onnx")

LOWEST_OPSET = 17
HIGHEST_OPSET = 24
IR_VERSION = 10
_ONNX_NAMES = {
    "f16": "FLOAT16",
    "bf16": "BFLOAT16",
    "f32": "FLOAT",
    "f64": "DOUBLE",
    "i8": "INT8",
    "u8": "UINT8",
    "i32": "INT32",
    "i64": "INT64",
    "bool": "BOOL",
}


def needed_opset(graph: Graph) -> int:
    """The lowest opset that every operator of the graph, nested ones included, can be lowered to."""
    lowest = LOWEST_OPSET
    for node in graph:
        lowest = max(lowest, node.op.opset, *(needed_opset(body) for body in node.op.graphs))
    return lowest


def export(
    graph: Graph,
    *,
    opset: int | None = None,
    weights: Mapping[str, Array] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The graph as an ONNX model; parameters become initializers by path, or inputs where `weights` is None.

    Next values of buffers become outputs named by the buffer's path and `.next`.
    """
    lowest = needed_opset(graph)
    if opset is not None and not lowest <= opset <= HIGHEST_OPSET:
        raise NablacError(
            Diagnostic(
                "E907",
                f"opset {opset} cannot hold this model",
                place=graph.name,
                hint=f"choose one from {lowest} to {HIGHEST_OPSET}",
            )
        )
    opset = opset or lowest
    writer = Writer(graph, opset)
    proto = writer.write(weights)
    model = onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    model.producer_name = "nablac"
    model.doc_string = graph.doc or ""
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model


class Writer:
    """Writes one graph, and is the `Emit` of its operators."""

    def __init__(self, graph: Graph, opset: int, outer: Writer | None = None) -> None:
        self.graph = graph
        self.opset = opset
        self.outer = outer
        self.nodes: list[onnx.NodeProto] = []
        self.names: dict[Value, str] = {}
        self.types: dict[str, TensorType] = {}
        self.size_names: dict[Any, str] = {}
        self.root: Writer = outer.root if outer is not None else self
        self.current: Node | None = None
        if outer is None:
            self.initializers: dict[str, onnx.TensorProto] = {}
            self.constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
            self.taken: set[str] = set()
            self.infos: dict[str, TensorType] = {}
            self.origins: dict[str, tuple[str, int]] = _dim_origins(graph)

    # Emit

    def __call__(self, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> str:
        return self.many(1, onnx_type, *operands, **attributes)[0]

    def many(self, results: int, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> tuple[str, ...]:
        inputs = [self._operand(each) for each in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        path = self.current.origin.path if self.current is not None else ""
        base = f"{path.replace('.', '/')}/{onnx_type}" if path else onnx_type
        name = self.unique(base)
        outputs = tuple(self.unique(f"{name}_{place}" if results > 1 else f"{name}_output") for place in range(results))
        node = onnx.helper.make_node(onnx_type, inputs, list(outputs), name=name, **attributes)
        span = self.current.origin.span if self.current is not None else None
        if span is not None:
            node.doc_string = str(span)
        self.nodes.append(node)
        return outputs

    def type(self, name: str) -> TensorType:
        writer: Writer | None = self
        while writer is not None:
            if name in writer.types:
                return writer.types[name]
            writer = writer.outer
        raise KeyError(name)

    def sizes(self, sizes: Sequence[Size]) -> str:
        key = tuple(sizes)
        if all(isinstance(size, int) for size in sizes):
            return self._operand(np.array(sizes, np.int64).reshape(len(sizes)))
        if key not in self.size_names:
            parts: list[str | Array] = []
            static: list[int] = []
            for size in sizes:
                if isinstance(size, int):
                    static.append(size)
                    continue
                if static:
                    parts.append(np.array(static, np.int64))
                    static = []
                parts.append(self._size(size))
            if static:
                parts.append(np.array(static, np.int64))
            self.size_names[key] = self._operand(parts[0]) if len(parts) == 1 else self("Concat", *parts, axis=0)
        return self.size_names[key]

    def body(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str], formal: int) -> onnx.GraphProto:
        """A nested graph; its inputs past the first `formal` ones are names of this graph."""
        inner = Writer(graph, self.opset, self)
        values = list(graph.inputs.values())
        for value, name in zip(values, inputs, strict=True):
            inner.names[value] = name
            inner.types[name] = value.type
        inner.lower_nodes()
        results = []
        for value, name in zip(graph.outputs.values(), outputs, strict=True):
            inner.nodes.append(onnx.helper.make_node("Identity", [inner.names[value]], [name], name=self.unique(f"{name}/Identity")))
            results.append(_info(name, value.type))
        formals = [_info(name, value.type) for value, name in zip(values[:formal], inputs[:formal], strict=True)]
        return onnx.helper.make_graph(inner.nodes, graph.name, formals, results)

    # Writing

    def write(self, weights: Mapping[str, Array] | None) -> onnx.GraphProto:
        inputs: list[onnx.ValueInfoProto] = []
        for name, value in self.graph.inputs.items():
            inputs.append(_info(name, value.type))
            self._bind(value, name)
        self.taken.update(self.graph.outputs)
        updates = {path: f"{path}.next" for path in self.graph.updates}
        self.taken.update(updates.values())
        for node in self.graph:
            if isinstance(node.op, (Parameter, Buffer)):
                path, value = node.op.path, node.results[0]
                self._bind(value, path)
                if weights is None:
                    inputs.append(_info(path, value.type))
                else:
                    array = np.asarray(weights[path]).astype(value.type.dtype.numpy, copy=False)
                    self.initializers[path] = onnx.numpy_helper.from_array(np.ascontiguousarray(array), path)
        self.lower_nodes()
        ends = [(name, value) for name, value in self.graph.outputs.items()]
        ends += [(updates[path], value) for path, value in self.graph.updates.items()]
        outputs = [self._end(name, value) for name, value in ends]
        used = {name for node in self.nodes for name in _inputs_of(node)}
        kept = [tensor for name, tensor in self.initializers.items() if name in used]
        doc = self.graph.doc or ""
        named = {each.name for each in (*inputs, *outputs)}
        infos = [_info(name, type) for name, type in self.infos.items() if name not in named and name not in self.initializers]
        produced = {output for node in self.nodes for output in node.output}
        infos = [info for info in infos if info.name in produced]
        return onnx.helper.make_graph(self.nodes, self.graph.name, inputs, outputs, kept, doc, infos)

    def lower_nodes(self) -> None:
        for node in self.graph:
            self.current = node
            if isinstance(node.op, Constant):
                name = self._operand(node.op.compute())
                self.names[node.results[0]] = name
                self.types[name] = node.results[0].type
            elif not isinstance(node.op, (Input, Parameter, Buffer)):
                made = node.op.lower(self, *(self._name(operand) for operand in node.operands))
                made = (made,) if isinstance(made, str) else made
                for value, name in zip(node.results, made, strict=True):
                    self.names[value] = name
                    self.types.setdefault(name, value.type)
                    if self.outer is None:
                        self.infos.setdefault(name, value.type)
        self.current = None

    def unique(self, base: str) -> str:
        """A name that nothing in the model has, nested graphs included."""
        name, number = base, 0
        while name in self.root.taken:
            number += 1
            name = f"{base}_{number}"
        self.root.taken.add(name)
        return name

    def _name(self, value: Value) -> str:
        return self.names[value]

    def _bind(self, value: Value, name: str) -> None:
        self.names[value] = name
        self.types[name] = value.type
        self.taken.add(name)

    def _end(self, name: str, value: Value) -> onnx.ValueInfoProto:
        """Give an output its name: the node that makes it writes it there, or a copy does."""
        made = self.names[value]
        sources = {*self.graph.inputs, *self.initializers, *self.graph.outputs}
        producer = next((node for node in self.nodes if made in node.output), None)
        if producer is None or made in sources or made.endswith(".next"):
            self.nodes.append(onnx.helper.make_node("Identity", [made], [name], name=self.unique(f"{name}/Identity")))
            return _info(name, value.type)
        for node in self.nodes:
            _rename(node, made, name)
        for each, known in self.names.items():
            if known == made:
                self.names[each] = name
        self.infos.pop(made, None)
        return _info(name, value.type)

    def _operand(self, operand: str | Array | None) -> str:
        if operand is None:
            return ""
        if isinstance(operand, str):
            return operand
        array = np.asarray(operand)
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.str, array.shape, array.tobytes())
        root = self.root
        if key not in root.constants:
            name = root.unique(_constant_name(array))
            root.constants[key] = name
            root.initializers[name] = onnx.numpy_helper.from_array(array, name)
            if array.dtype.kind != "u" or array.dtype.itemsize == 1:  # the language has no wider unsigned types
                root.types[name] = TensorType(DType.of(array), array.shape)
        return root.constants[key]

    # Sizes known only when the model runs

    def _size(self, size: Size) -> str:
        """A size as a one-item i64 tensor."""
        if isinstance(size, int):
            return self._operand(np.array([size], np.int64))
        if self.outer is not None and not self._is_local(size):
            return self.root._size(size)
        if size in self.size_names:
            return self.size_names[size]
        total: str | None = None
        for monomial, factor in size.terms:
            term: str | None = None
            for atom, power in monomial:
                name = self._atom(atom)
                for _ in range(power):
                    term = name if term is None else self("Mul", term, name)
            if term is None:
                term = self._operand(np.array([factor], np.int64))
            elif factor != 1:
                term = self("Mul", term, np.array([factor], np.int64))
            total = term if total is None else self("Add", total, term)
        assert total is not None
        self.size_names[size] = total
        return total

    def _is_local(self, size: Size) -> bool:
        return False

    def _atom(self, atom: Symbol | Quotient | Remainder) -> str:
        if isinstance(atom, Symbol):
            key = Dim.named(atom.name)
            if key not in self.size_names:
                if atom.name not in self.root.origins:
                    raise NablacError(
                        Diagnostic(
                            "E908",
                            f"the size `{atom.name}` cannot be read off the model's inputs",
                            place=self.graph.name,
                            hint="let it stand alone as an axis of an input",
                        )
                    )
                source, axis = self.root.origins[atom.name]
                self.size_names[key] = self("Shape", source, start=axis, end=axis + 1)
            return self.size_names[key]
        left, right = self._size(atom.numerator), self._size(atom.denominator)
        remainder = self("Mod", left, right)  # the sign of the divisor, as Python's
        if isinstance(atom, Remainder):
            return remainder
        return self("Div", self("Sub", left, remainder), right)


def _dim_origins(graph: Graph) -> dict[str, tuple[str, int]]:
    """For each named dim an input and its axis that is just that dim."""
    found: dict[str, tuple[str, int]] = {}
    for name, value in graph.inputs.items():
        for axis, size in enumerate(value.shape):
            if isinstance(size, Dim) and len(symbols(size)) == 1:
                (symbol,) = symbols(size)
                if size == Dim.named(symbol):
                    found.setdefault(symbol, (name, axis))
    return found


def _info(name: str, type: TensorType) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx_dtype(type.dtype), [_dim(size) for size in type.shape])


def _dim(size: Size) -> int | str:
    return size if isinstance(size, int) else str(size)


def onnx_dtype(dtype: DType) -> int:
    """ONNX's number for an element type."""
    return int(getattr(onnx.TensorProto, _ONNX_NAMES[dtype]))


def _inputs_of(node: onnx.NodeProto) -> set[str]:
    """Every name that a node reads, in its nested graphs too."""
    found = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                found |= _inputs_of(inner)
    return found


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for place, name in enumerate(names):
            if name == old:
                names[place] = new
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                _rename(inner, old, new)


def _constant_name(array: Array) -> str:
    if array.size == 1:
        return f"constant_{array.reshape(-1)[0]}".replace("-", "minus_").replace("+", "")
    return "constant"


__all__ = ["export", "needed_opset", "onnx_dtype", "substitute"]
