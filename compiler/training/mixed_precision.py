"""Mixed precision: products and what is computed between them in floats of 16 bits, all else in f32.

A graph of f32 becomes one with casts, before it is differentiated, so that its gradient has the same types
(Micikevicius et al., "Mixed Precision Training", 2018). Weights stay f32 and are cast once a step. What each operator
computes in is declared by its class (`Operator.mixed`), with PyTorch's autocast as the example: "short" operators are
products and compute in 16 bits, "f32" ones in f32, and "operands" ones in the wider type of their operands. A weight or
a number beside an operand of 16 bits is cast to it; data in f32 is not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from compiler.graph import Graph, Node, Value
from compiler.operators.casting import Cast
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Input, Parameter, constant, label_of
from compiler.origins import origins
from compiler.targets import LOWEST_OPSET, Target
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span

_PRODUCTS = ("MatMul", "Conv")


def short_type(precision: str | None, target: Target) -> DType | None:
    """The 16-bit floats of a precision of training; None for f32.

    `mixed` is bf16, whose range is that of f32, so that no gradient has to be scaled; it is f16 for a target whose
    products have kernels in f16 and not in bf16.
    """
    if precision in (None, "f32"):
        return None
    if precision != "mixed":
        return DType(precision)
    return DType.F16 if computes_in(DType.F16, target) and not computes_in(DType.BF16, target) else DType.BF16


def computes_in(short: DType, target: Target) -> bool:
    """Whether a target has kernels for the products of these floats."""
    return all(target.has_kernel(product, short.value, LOWEST_OPSET) for product in _PRODUCTS)


def mixed_precision(graph: Graph, short: DType, wide_outputs: Collection[str] = ()) -> Graph:
    """`graph`, of f32, with its products in `short`; its inputs, outputs and updates keep their types.

    What reads a value that is one of the `wide_outputs` reads it in f32: the outputs of a model, of which a loss is
    computed.
    """
    caster = _Caster(short, {graph.outputs[name] for name in wide_outputs})
    caster.convert(graph)

    def ends(values: Mapping[str, Value]) -> dict[str, Value]:
        return {name: caster.as_before(value) for name, value in values.items()}

    return Graph(graph.inputs, ends(graph.outputs), ends(graph.updates), graph.name, graph.doc, graph.layers)


def check_is_f32(graph: Graph, loss: Value, precision: str, span: Span | None) -> None:
    """NablacError for a graph with weights of another float type, for which there is no mixed precision."""
    stored = ((node.op.path, node.result) for node in graph if isinstance(node.op, Parameter))
    for name, value in (*stored, ("the loss", loss)):
        dtype = value.type.dtype
        if dtype.is_float and dtype is not DType.F32:
            shown = name if name == "the loss" else f"`{name}`"
            message = f"`precision` {precision} is of models in f32, and {shown} is {value.type}"
            hint = "train it as f32, or leave out `precision`"
            raise NablacError(Diagnostic(codes.E629, message, span, hint=hint))


@dataclass(eq=False)
class _Caster:
    """The new values of a graph, or of a step of a recurrence, whose `own_inputs` may be cast outside of it."""

    short: DType
    wide_values: Collection[Value] = ()
    own_inputs: Collection[Value] = ()  # whose `twins` are cast outside
    new: dict[Value, Value] = field(default_factory=dict)
    weights: set[Value] = field(default_factory=set)  # new values of f32 that depend on no data
    twins: dict[Value, Value] = field(default_factory=dict)  # of 16 bits, by inputs of a step
    _short: dict[Value, Value] = field(default_factory=dict)
    _wide: dict[Value, Value] = field(default_factory=dict)

    def convert(self, graph: Graph) -> None:
        """Find the new value of each value of a graph."""
        with origins() as set_origin:
            for node in graph:
                if node.results[0] in self.new:  # an input of a step
                    continue
                set_origin(node.origin)
                results = self._results(node)
                for before, value in zip(node.results, results, strict=True):
                    self.new[before] = self.in_f32(value) if before in self.wide_values else value

    def as_before(self, value: Value) -> Value:
        """The new value of `value`, in its own type."""
        return self.in_f32(self.new[value]) if value.type.dtype is DType.F32 else self.new[value]

    def in_f32(self, value: Value) -> Value:
        """A new value in f32."""
        if value.type.dtype is not self.short:
            return value
        if value not in self._wide:
            self._wide[value] = Cast(DType.F32)(value)
            self._short[self._wide[value]] = value
        return self._wide[value]

    def in_short(self, value: Value) -> Value:
        """A new value in 16 bits."""
        if value.type.dtype is self.short:
            return value
        if value not in self._short:
            self._short[value] = self._cast(value)
        return self._short[value]

    def _cast(self, value: Value) -> Value:
        if isinstance(value.node.op, Constant) and not value.type.rank:
            return constant(float(value.node.op.compute()), self.short)
        if value in self.own_inputs:
            twin = Input(f"{label_of(value)}.{self.short}", value.type.with_dtype(self.short))()
            self.twins[value] = twin
            return twin
        return Cast(self.short)(value)

    def _results(self, node: Node) -> tuple[Value, ...]:
        operands = [self.new.get(operand, operand) for operand in node.operands]
        if isinstance(node.op, Scan):
            return self._recurrence(node.op, operands)
        if not operands:
            self._note_weight(node, node.result)
            return node.results
        floats = [index for index, operand in enumerate(node.operands) if operand.type.dtype is DType.F32]
        if node.op.mixed == "short":
            to_short = True
        elif node.op.mixed == "f32":
            to_short = False
        else:
            data = [operands[index] for index in floats if operands[index] not in self.weights]
            to_short = bool(data) and all(operand.type.dtype is self.short for operand in data)
        for index in floats:
            operands[index] = self.in_short(operands[index]) if to_short else self.in_f32(operands[index])
        if all(new is before for new, before in zip(operands, node.operands, strict=True)):
            results = node.results
        else:
            results = node.op.apply(*operands).results
        of_weights = bool(floats) and all(operands[index] in self.weights for index in floats)
        is_mask = isinstance(node.op, Cast) and node.operands[0].type.dtype is DType.BOOL
        if is_mask or (node.op.mixed == "operands" and of_weights):
            self.weights.update(results)
        return results

    def _note_weight(self, node: Node, value: Value) -> None:
        """Record a leaf that is cast to the 16 bits of the data beside it: a weight, or a number that they can hold."""
        if value.type.dtype is not DType.F32:
            return
        if isinstance(node.op, Constant):
            if all(map(self.short.holds, {float(number) for number in node.op.compute().reshape(-1)})):
                self.weights.add(value)
        elif isinstance(node.op, Parameter):
            self.weights.add(value)

    def _recurrence(self, scan: Scan, operands: list[Value]) -> tuple[Value, ...]:
        """A recurrence whose states stay f32: they are accumulated over its steps."""
        names = {value: name for name, value in scan.body.inputs.items()}
        formal, first, last = list(names), scan.states, scan.states + scan.slices
        outer = dict(zip(formal, [*map(self.in_f32, operands[:first]), *operands[first:]], strict=True))
        inner = {
            value: value
            if outer[value].type.dtype is value.type.dtype
            else Input(label_of(value), value.type.with_dtype(self.short))()
            for value in formal
        }
        step = _Caster(self.short, (), {inner[value] for value in formal[first:]})
        step.new.update(inner)
        step.weights.update(inner[value] for value in formal[first:] if outer[value] in self.weights)
        step.convert(Graph({}, scan.body.outputs))
        outputs = {
            name: step.as_before(value) if index < first else step.new[value]
            for index, (name, value) in enumerate(scan.body.outputs.items())
        }
        used = {inner_node.result for inner_node in Graph({}, outputs) if isinstance(inner_node.op, Input)}
        inputs: dict[str, Value] = {}
        applied: list[Value] = []
        slices = 0
        for index, value in enumerate(formal):
            own, twin = inner[value], step.twins.get(inner[value])
            if twin is not None:
                inputs[label_of(twin)] = twin
                applied.append(self.in_short(outer[value]))
            if twin is None or own in used:
                inputs[names[value]] = own
                applied.append(outer[value])
            if index < last:
                slices = len(applied) - first
        body = Graph(inputs, outputs, {}, scan.body.name, scan.body.doc, scan.body.layers)
        return scan.replace(body=body, slices=slices).apply(*applied).results
