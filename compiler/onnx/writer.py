"""Writing a graph as ONNX nodes: every operator lowers itself; names, shapes, source lines and docstrings are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compiler.dims import Dim, Size, positive
from compiler.graph import Graph, Node, Operator, Value
from compiler.lazy import LazyModule
from compiler.lowering import Emit
from compiler.onnx.clean_up.driver import clean_up
from compiler.onnx.lowered import LAYER, SOURCE, LoweredBody, LoweredNode, count, state_defaults
from compiler.onnx.onnx_operators import KEEP_LAYOUT, elementwise
from compiler.onnx.output_names import end_names
from compiler.onnx.output_views import part_views
from compiler.onnx.protos import supports_bf16, value_info
from compiler.onnx.sizes import Sizes
from compiler.onnx.stored_tensors import StoredTensors
from compiler.onnx.tied_tables import tied_tables
from compiler.operators.leaves import Constant, Placeholder, Stored
from compiler.origins import Origin
from compiler.passes.pipeline import CLEAN_UP, run_on_nodes
from compiler.targets import ORT_CPU, Target
from compiler.types import DType, TensorType, TypeMismatch
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compiler.types import Array
else:
    np = LazyModule("numpy")
    onnx = LazyModule("onnx")


class Writer:
    """Writes one graph, as the `Emit` of its operators; a nested graph has its own writer with this one as `outer`."""

    def __init__(self, graph: Graph, opset: int, outer: Writer | None = None, *, target: Target = ORT_CPU) -> None:
        self.graph = graph
        self.opset = opset
        self.target: Target = outer.target if outer is not None else target
        self.outer = outer
        self.root: Writer = outer.root if outer is not None else self
        self.nodes: list[LoweredNode] = []
        self.names: dict[Value, str] = {}
        self.types: dict[str, TensorType] = {}
        self.producers: dict[str, Operator] = {}
        self.transposed: dict[str, bool] = {}  # results that a transpose may be moved to: whether a cast may follow it
        self.infos: dict[str, TensorType] = {}  # the results of the nodes here whose types the graph states
        self.guarded: dict[str, str] = {}  # sequences, and what `refuse_empty` returned for them
        self.current: Node | None = None
        if outer is None:
            self.tensors = StoredTensors(self.unique, self.types)
            self.taken: dict[str, int] = {}  # every name, with the last suffix tried
            self.begun: set[str] = set()  # the paths of layers that have nodes
            self.checked: dict[str, frozenset[str]] = {}  # the sizes that are at least 1 where this result exists
            self.sized: set[str] = set()  # what follows from shapes and constants alone, and is not a constant
            self.computed_sizes = Sizes(graph, self, self._operand)

    # Emit

    def __call__(self, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> str:
        return self.many(1, onnx_type, *operands, **attributes)[0]

    def many(self, results: int, onnx_type: str, *operands: str | Array | None, **attributes: Any) -> tuple[str, ...]:
        inputs = [self._operand(operand) for operand in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        domain = attributes.pop("domain", "")
        source = self.current.origin if self.current is not None else None
        name = self.unique(f"{source.path.replace('.', '/')}/{onnx_type}" if source and source.path else onnx_type)
        outputs = (name,) if results == 1 else tuple(self.unique(f"{name}:{index}") for index in range(results))
        node = LoweredNode(onnx_type, inputs, list(outputs), attributes, name, domain=domain)
        if source is not None:
            self._trace(node, source)
        self.nodes.append(node)
        self._pass_transpose(onnx_type, inputs, outputs)
        self._trace_sizes(onnx_type, inputs, outputs)
        checked = self.root.checked
        if checked and (behind := [checked[name] for name in inputs if name in checked]):
            checked.update(dict.fromkeys(outputs, frozenset[str]().union(*behind)))
        return outputs

    def _pass_transpose(self, onnx_type: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Record whether onnxruntime may move a transpose to the results of a node, and a cast behind it."""
        behind = [self.transposed[name] for name in inputs if name in self.transposed]
        if onnx_type not in KEEP_LAYOUT and (behind or onnx_type == "Transpose"):
            self.transposed.update(dict.fromkeys(outputs, any(behind) or onnx_type == "Cast"))

    def _trace_sizes(self, onnx_type: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Record whether results follow from sizes."""
        sized = self.root.sized
        known = (name in sized or not name or self.array(name) is not None for name in inputs)
        if onnx_type == "Shape" or (not sized.isdisjoint(inputs) and all(known)):
            sized.update(outputs)

    def _trace(self, node: LoweredNode, source: Origin) -> None:
        """Record the origin of a node; the first node of a layer gets its docstring and those around it."""
        location = ((SOURCE, str(source.span)),) if source.span is not None else ()
        if not source.path:
            node.metadata = location
            return
        node.metadata = (*location, (LAYER, source.path))
        parts = source.path.split(".")
        around = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        first = [path for path in around if path not in self.root.begun]
        self.root.begun.update(first)
        layers = self.root.graph.layers
        docs = [f"{path}: {layers[path].doc}" for path in first if path in layers and layers[path].doc]
        if docs:
            node.doc = "\n".join(docs)

    def type(self, name: str) -> TensorType:
        type = self.known_type(name)
        if type is None:
            raise KeyError(name)
        return type

    def producer(self, name: str) -> Operator | None:
        return self.producers.get(name)

    def is_stored(self, name: str) -> bool:
        return name in self.root.tensors.protos

    def refuse_empty(self, sequence: str, sizes: Sequence[Size]) -> str:
        dims = frozenset(str(size) for size in sizes if isinstance(size, Dim) and positive(size))
        if dims <= self.root.checked.get(sequence, frozenset()):
            return sequence
        if sequence not in self.guarded:
            # The same shape, but that the last size is to be found: of no elements that is an error.
            guarded = self.keep(self("Reshape", sequence, np.array([0, 0, -1])))
            self.nodes[-1].name = self.unique(f"{' and '.join(map(str, sizes))} must be at least 1")
            self.root.checked[guarded] = dims
            self.guarded[sequence] = guarded
        return self.guarded[sequence]

    def keep(self, name: str) -> str:
        self.nodes[-1].kept = True
        return name

    def may_cast_transposed(self, name: str) -> bool:
        return self.transposed.get(name, False)

    def sizes(self, sizes: Sequence[Size]) -> str:
        name = self.root.computed_sizes.all(sizes)
        self.root.types.setdefault(name, TensorType(DType.I64, (len(sizes),)))
        return name

    def body(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str], formal: int) -> LoweredBody:
        inner = Writer(graph, self.opset, self)
        values = tuple(graph.inputs.values())
        for value, name in zip(values, inputs, strict=True):
            inner.names[value] = name
            inner.types[name] = value.type
        inner.lower_nodes()
        inner.clean_up()
        # A result may be an input of the step, or occur twice: such results are copied under new names.
        ends = inner.finish(outputs, keep=set(inputs))
        formals = [value_info(name, value.type) for value, name in zip(values[:formal], inputs, strict=False)]
        return LoweredBody(graph.name, inner.nodes, formals, ends, list(inner.value_infos(outputs)))

    def follows_from_sizes(self, name: str) -> bool:
        return name in self.root.sized

    def carry(self, body: LoweredBody, inputs: int, outputs: int, types: Mapping[str, TensorType]) -> tuple[str, ...]:
        if self.target.captures_values:
            return ()
        own = {*(value.name for value in body.inputs), *(result for node in body.nodes for result in node.results)}
        read = dict.fromkeys(name for node in body.nodes for name in sorted(node.names_read()) if name)
        captured = [name for name in read if name not in own and name not in self.root.tensors.protos]
        named = ((name, types.get(name) or self.type(name), f"step/{name}") for name in captured)
        values = {name: (type, self.unique(inside), self.unique(inside)) for name, type, inside in named}
        body.carry(inputs, outputs, values)
        return tuple(captured)

    def unique(self, base: str) -> str:
        taken = self.root.taken
        if base not in taken:
            taken[base] = 0
            return base
        while True:
            taken[base] += 1
            name = f"{base}_{taken[base]}"
            if name not in taken:
                taken[name] = 0
                return name

    # Writing

    def write(
        self,
        proto: onnx.GraphProto,
        weights: Mapping[str, Array] | None,
        largest: int,
        as_inputs: Collection[str] = (),
        shares_tables: bool = False,
    ) -> None:
        """Fill in an empty GraphProto with the whole graph."""
        inputs: list[onnx.ValueInfoProto] = []
        for label, value in self.graph.inputs.items():
            inputs.append(value_info(label, value.type))
            self._bind(value, label)
        names = end_names(self.graph)
        for name in names:
            self.taken[name] = 0
        stored: dict[str, Stored] = {}
        for node in self.graph:
            if isinstance(node.op, Stored):
                self._bind(node.result, node.op.path)
                stored.setdefault(node.op.path, node.op)
        inputs += [value_info(path, op.type) for path, op in stored.items() if weights is None or path in as_inputs]
        if weights is not None:
            written = [op for path, op in stored.items() if path not in as_inputs]
            self.tensors.store(written, weights, largest, f"the weights of {self.graph.name}")
        self.lower_nodes()
        self.clean_up()
        if not self.target.reads_defaults:
            state_defaults(self.nodes, self.opset)
        proto.name = self.graph.name
        if self.graph.doc:
            proto.doc_string = self.graph.doc
        if shares_tables:
            tied = tied_tables(self.nodes, self.tensors.protos, self.known_type)
            inputs += [value_info(name, self.types[name]) for name in tied]
        proto.input.extend(inputs)
        proto.output.extend(self.finish(names, keep={*self.graph.inputs, *stored}))
        if not self.target.reads_output_views:
            self.nodes, views = part_views(self.nodes, names, self.unique)
            self.infos |= {view: self.infos[name] for name, view in views.items()}
        used = {name for node in self.nodes for name in node.names_read()}
        proto.initializer.extend(tensor for name, tensor in self.tensors.protos.items() if name in used)
        proto.value_info.extend(self.value_infos(names))
        for lowered in self.nodes:
            lowered.write_to(proto.node.add())

    def lower_nodes(self) -> None:
        """Lower every node, in order."""
        for node in self.graph:
            op = node.op
            self.current = node
            if isinstance(op, Constant):
                name = self._operand(op.compute())
                self.names[node.result] = name
                self.types.setdefault(name, node.result.type)
            elif not isinstance(op, Placeholder):
                names = self._lower(node)
                for value, name in zip(node.results, (names,) if isinstance(names, str) else names, strict=True):
                    self.names[value] = name
                    self.types.setdefault(name, value.type)
                    self.producers[name] = op
                    self.infos.setdefault(name, value.type)
        self.current = None

    def _lower(self, node: Node) -> str | tuple[str, ...]:
        operands = [self.names[operand] for operand in node.operands]
        if any(value.type.dtype == DType.BF16 for value in (*node.operands, *node.results)):
            return self._lower_bf16(node, operands)
        rounded = node.op.discontinuous and any(self.type(name).dtype == DType.F16 for name in operands)
        results = self._emit(node, [*map(self._round_to_f16, operands)] if rounded else operands)
        return self._cast_to(DType.F16, node, results) if rounded else results

    def _emit(self, node: Node, operands: Sequence[str]) -> str | tuple[str, ...]:
        """Lower an operator; NablacError if it cannot be lowered."""
        try:
            emit: Emit = self
            return node.op.lower(emit, *operands)
        except TypeMismatch as mismatch:
            message = f"`{node.op.name}` cannot be exported to ONNX: {mismatch}"
            layer = node.origin.path or None
            hint = mismatch.hint or "write the sizes as numbers in the model's inputs"
            raise NablacError(Diagnostic(codes.E912, message, node.origin.span, place=layer, hint=hint)) from None

    def _lower_bf16(self, node: Node, operands: Sequence[str]) -> str | tuple[str, ...]:
        """Lower an operator of bf16; in f32 if the ONNX operators do not support bf16 at this opset."""
        trial, begun = self._trial_writer(node), set(self.root.begun)
        results = trial._emit(node, operands)
        if all(supports_bf16(added.onnx_type, self.opset) for added in trial.nodes):
            self.nodes += trial.nodes
            return results
        self.root.begun = begun
        wide = []
        for name in operands:
            type = self.type(name)
            if type.dtype == DType.BF16:
                name = self("Cast", name, to=DType.F32.onnx)
                self.types[name] = type.with_dtype(DType.F32)
            wide.append(name)
        return self._cast_to(DType.BF16, node, self._emit(node, wide))

    def _round_to_f16(self, name: str) -> str:
        """An operand of f16 as f32, rounded to f16: of two equal operands onnxruntime may have rounded only one.

        It computes f16 in f32, without rounding between operators unless the model contains it. It removes a cast that
        is directly followed by its inverse, hence the node between them.
        """
        type = self.type(name)
        if type.dtype != DType.F16:
            return name
        computed = self.keep(self("Max", self("Cast", name, to=DType.F32.onnx)))
        wide = self("Cast", self("Cast", computed, to=DType.F16.onnx), to=DType.F32.onnx)
        self.types[wide] = type.with_dtype(DType.F32)
        return wide

    def _trial_writer(self, node: Node) -> Writer:
        """A writer that lowers a node as this one would, to a list of its own; sizes are computed in the root."""
        trial = Writer(self.graph, self.opset, self)
        trial.current = node
        trial.types, trial.producers, trial.transposed = self.types, self.producers, self.transposed
        return trial

    def _cast_to(self, dtype: DType, node: Node, results: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Results that were computed in f32, cast to a 16-bit type if that is their type."""
        names = (results,) if isinstance(results, str) else results
        narrow = tuple(
            self("Cast", name, to=dtype.onnx) if value.type.dtype == dtype else name
            for value, name in zip(node.results, names, strict=True)
        )
        return narrow[0] if isinstance(results, str) else narrow

    # Written

    def known_type(self, name: str) -> TensorType | None:
        writer: Writer | None = self
        while writer is not None:
            if name in writer.types:
                return writer.types[name]
            writer = writer.outer
        return None

    def array(self, name: str) -> Array | None:
        return self.root.tensors.small.get(name)

    def constant(self, array: Array) -> str:
        return self._operand(array)

    def clean_up(self) -> None:
        """Clean up the nodes, as `compiler/onnx/clean_up` says."""

        def run() -> None:
            ends = [self.names[value] for value in self.graph.ends]
            self.nodes, renamed = clean_up(self.nodes, ends, self)
            for value in self.graph.ends:
                self.names[value] = renamed.get(self.names[value], self.names[value])

        run_on_nodes(CLEAN_UP, lambda: count(self.nodes), run)

    def finish(self, names: Sequence[str], keep: set[str]) -> list[onnx.ValueInfoProto]:
        """Name the graph's ends: rename the results that they are, or append copies.

        A copy is needed if the end is an input, a weight or a constant, or has two names, and for the cast of a
        transpose, unless only elementwise operators read it: onnxruntime 1.30 loses its name when it fuses the
        transpose with a product.
        """
        joined = {
            name
            for node in self.nodes
            if node.onnx_type not in elementwise()
            for name in node.operands
            if self.may_cast_transposed(name)
        }
        produced = {output for node in self.nodes for output in node.results} - joined
        renamed: dict[str, str] = {}
        copies: list[tuple[str, str, Origin]] = []
        for name, value in zip(names, self.graph.ends, strict=True):
            current = self.names[value]
            if current in produced and current not in keep and current not in renamed:
                renamed[current] = name
            else:
                copies.append((current, name, value.node.origin))
            self.infos[name] = value.type
        for old in renamed:
            self.infos.pop(old, None)
        for node in self.nodes if renamed else ():
            node.rename(renamed)
        for current, name, source in copies:
            operands = [renamed.get(current, current)]
            copy = LoweredNode("Identity", operands, [name], name=self.unique(f"{name}/Identity"))
            self._trace(copy, source)
            self.nodes.append(copy)
        return [value_info(name, value.type) for name, value in zip(names, self.graph.ends, strict=True)]

    def value_infos(self, outputs: Sequence[str]) -> Iterator[onnx.ValueInfoProto]:
        """The types of the results of the nodes; outputs have their own."""
        produced = {output for node in self.nodes for output in node.results} - set(outputs)
        return (value_info(name, type) for name, type in self.infos.items() if name in produced)

    def _bind(self, value: Value, name: str) -> None:
        self.names[value] = name
        self.types[name] = value.type
        self.taken.setdefault(name, 0)

    def _operand(self, operand: str | Array | None) -> str:
        """The name of an operand; equal arrays are stored once in the whole model."""
        if operand is None or isinstance(operand, str):
            return operand or ""
        return self.root.tensors.constant(operand)
