"""Warnings on a model that has been elaborated: its inputs, its convolutions, its loss and its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compiler.dims import symbols
from compiler.elaborate.models import Elaboration
from compiler.graph import Graph, Value
from compiler.operators.activations import Sigmoid
from compiler.operators.convolution import Conv
from compiler.operators.leaves import Input
from compiler.operators.normalization import LogSoftmax, Softmax
from compiler.operators.shaping import DataMovement
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, Label
from grammar.source import Span

_CHANNELS = (1, 3, 4)  # of images: grey, colours, and colours with transparency
_LEAST_SIDE = 8  # of images, which are larger than their channels are many


def model_warnings(elaboration: Elaboration, body: Sequence[syntax.Statement]) -> Iterator[Diagnostic]:
    """The warnings on a model with these statements."""
    inputs = _declared_inputs(body)
    graph = elaboration.graph
    yield from _inputs_without_batch(graph, inputs)
    yield from _images_with_channels_last(graph, inputs)
    block = elaboration.block
    if block is None:
        return
    statements = block.statements
    if statements.loss is not None:
        yield from _softmax_before_cross_entropy(statements.loss, statements.set_at["loss"])
    directed = {*statements.best, *([statements.plain.get("monitor", "")] if "mode" in statements.plain else [])}
    for name, span in statements.named_at.items():
        if not directed & {name, f"val_{name}"}:
            message = f"it is not known whether a higher or a lower `{name}` is better"
            hint = "a metric of the library says so, and `mode` with it as the `monitor`"
            yield Diagnostic(codes.W602, message, span, hint=hint)


def _declared_inputs(body: Sequence[syntax.Statement]) -> dict[str, Span]:
    """The names of inputs where they are declared."""
    declares = [node for node in body if isinstance(node, syntax.Declare) and node.kind == "input"]
    return {declared.name.text: declared.name.span for declare in declares for declared in declare.names}


def _inputs_without_batch(graph: Graph, inputs: Mapping[str, Span]) -> Iterator[Diagnostic]:
    """Inputs all of whose sizes are numbers, in models that have no input of another kind, are for one example."""
    shapes = {name: value.shape for name, value in graph.inputs.items() if name in inputs}
    if any(symbols(size) for shape in shapes.values() for size in shape):
        return
    for name, shape in shapes.items():
        if shape:
            sizes = ", ".join(map(str, shape))
            message = f"`{name}` has no axis for a batch: it is always [{sizes}]"
            hint = f"declare it as `[batch, {sizes}]`, or `[batch, ...]` without its first size"
            yield Diagnostic(codes.W302, message, inputs[name], hint=hint)


def _images_with_channels_last(graph: Graph, inputs: Mapping[str, Span]) -> Iterator[Diagnostic]:
    warned: set[str] = set()
    for node in graph:
        if not isinstance(node.op, Conv):
            continue
        image = _unchanged(node.operands[0])
        if not isinstance(image.node.op, Input) or len(image.shape) != 4:
            continue
        name, (_, first, second, last) = image.node.op.label, image.shape
        is_side = all(bool(symbols(size)) or int(str(size)) >= _LEAST_SIDE for size in (first, second))
        if name in inputs and name not in warned and last in _CHANNELS and is_side:
            warned.add(name)
            message = f"`{name}` seems to have its {last} channel{'s' * (last != 1)} last"
            note = f"[batch, channels, height, width] is expected, with {first} channels here"
            span = node.origin.span
            labels = (Label(span, "the convolution"),) if span is not None and not span.source.library else ()
            hint = 'transpose it, or `Conv2D(..., layout: "NHWC")`'
            yield Diagnostic(codes.W301, message, inputs[name], note=note, labels=labels, hint=hint)


def _unchanged(value: Value) -> Value:
    """The value before elementwise changes by one operand, such as a cast or a scale."""
    while value.node.operands:
        same = [operand for operand in value.node.operands if operand.shape == value.shape]
        if len(same) != 1:
            break
        value = same[0]
    return value


def _softmax_before_cross_entropy(loss: Value, span: Span) -> Iterator[Diagnostic]:
    """A log-softmax of probabilities, however these were moved around since; the library refuses the plain case."""
    for node in Graph({}, {"loss": loss}):
        if not isinstance(node.op, LogSoftmax):
            continue
        value = node.operands[0]
        while isinstance(value.node.op, DataMovement):
            value = value.node.operands[0]
        if isinstance(value.node.op, Softmax | Sigmoid):
            at = value.node.origin.span
            labels = (Label(at, f"this {value.node.op.name}"),) if at is not None and not at.source.library else ()
            message = f"the loss takes the softmax of what is the result of `{value.node.op.name}` already"
            hint = f"a cross entropy expects logits: leave the `{value.node.op.name}` out"
            yield Diagnostic(codes.W601, message, span, labels=labels, hint=hint)
            return
