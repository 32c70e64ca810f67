"""A training step whose batch is shared out to workers: its loss, gradients and buffers are those of the whole batch.

The loss is a function of sums over the examples (see `compiler.training.measures`). Each worker adds up its own
examples, the sums are reduced, and every worker has the loss of the whole batch, whatever function of them it is. What
flows back from it is then the gradient of the whole loss by the worker's own examples, and the sum of these over the
workers is the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from compiler.dims import Dim, Size, product, substitute, symbols
from compiler.example_axis import relates_examples
from compiler.graph import Graph, Node, Value
from compiler.model_spec import FIRST, WHOLE, ModelSpec
from compiler.operators.all_reduce import AllReduce
from compiler.operators.casting import Cast
from compiler.operators.control import Scan
from compiler.operators.leaves import Input, SizeOf
from compiler.operators.making import cast, count_of, greater, where, zeros
from compiler.operators.random import Fill, FoldKey
from compiler.operators.reductions import Mean, Sum
from compiler.rewrite import rebuild_changed, replace, rewrite, with_ends
from compiler.training.losses import training_of
from compiler.training.measures import Measure, PartKind, examples_of
from compiler.training.precision import convert
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.record import Record

EXAMPLES = "batch/examples"  # an output: how many there are in the whole batch
_ALONE = "train it with one worker"


class OverWorkers(Record):
    """How a step is shared out; with `synchronized`, means and sums over the examples within a model are of them all.

    Otherwise batch normalisation has the statistics of a worker's own examples, and running statistics are averaged.
    """

    synchronized: bool = False

    def share_model(self, graph: Graph, model: ModelSpec) -> Graph:
        """`graph`, with the nodes of the model in it, for a worker's share of the examples."""
        batch = batch_dims(model)
        if self.synchronized:  # first, by the nodes as the model has them
            own = set(Graph({}, dict(model.graph.outputs), dict(training_of(model).updates)))
            graph = _synchronize(graph, own, batch, model)
        return draw_by_index(graph, batch)

    def reduce_measures(self, graph: Graph, measures: Mapping[str, Measure], model: ModelSpec) -> Graph:
        """`graph`, which has the parts of the measures as outputs, with those of the whole batch.

        The loss and the metrics are computed of them. A buffer that depends on examples becomes the mean over workers,
        weighted by their examples. NablacError for a loss that is not made of sums.
        """
        _check_adds_up(measures["loss"], model)
        batch = batch_dims(model)
        own = count_of(_example_size(model), DType.F64)
        total = _whole_batch()
        share = own / total
        outputs = dict(graph.outputs)
        reduced: dict[str, Value] = {}
        for measure in measures.values():
            for name, part in measure.parts.items():
                reduced[name] = outputs[name] = _reduce_part(part.kind, graph.outputs[name], share, batch)
        for name, measure in measures.items():
            parts = {value: reduced[label] for label, value in measure.after.inputs.items()}
            (value,) = replace([measure.after.outputs["value"]], parts)
            outputs[name] = convert(value, graph.outputs[name].type.dtype)
        updates = {
            path: _mean_over_workers(path, value, own, share, model) if _depends(value, batch) else value
            for path, value in graph.updates.items()
        }
        return Graph(graph.inputs, {**outputs, EXAMPLES: total}, updates, graph.name, graph.doc, graph.layers)

    def reduce_gradients(self, gradients: dict[str, Value]) -> dict[str, Value]:
        """The gradients of the whole batch: a gradient transform."""
        return {path: AllReduce()(gradient) for path, gradient in gradients.items()}


def batch_dims(model: ModelSpec) -> set[str]:
    """The dims of which the sizes of axes of examples are made."""
    return examples_of(model.graph, training_of(model))[1]


def draw_by_index(graph: Graph, batch: set[str]) -> Graph:
    """`graph` with each example's random draws those of its index in the whole batch.

    Where examples are not along the first axis, draws differ by worker.
    """
    first = Input(FIRST, TensorType(DType.I64))()
    changed = _with_draws_by_index(graph, batch, first)
    return graph if changed is graph else _with_first(changed, first)


def _with_draws_by_index(graph: Graph, batch: set[str], first: Value) -> Graph:
    """The same for a graph, or for a step of a recurrence, in which `first` is that index."""

    def rewritten(node: Node) -> Sequence[Value] | None:
        op = node.op
        if isinstance(op, Scan):
            inner = Input(FIRST, TensorType(DType.I64))()
            body = _with_draws_by_index(op.body, batch, inner)
            if body is op.body:
                return None
            return op.replace(body=_with_first(body, inner)).apply(*node.operands, first).results
        if not isinstance(op, Fill) or len(node.operands) > 1:
            return None
        if not any(symbols(size) & batch for size in op.shape):
            return None
        (key,) = node.operands
        along_first = is_batch(op.shape[0], batch) and not any(symbols(size) & batch for size in op.shape[1:])
        return (op(key, first) if along_first else op(FoldKey("worker")(key, first)),)

    return rewrite(graph, rewritten)


def _with_first(graph: Graph, first: Value) -> Graph:
    inputs = {**graph.inputs, FIRST: first}
    return Graph(inputs, graph.outputs, graph.updates, graph.name, graph.doc, graph.layers)


def is_batch(size: Size, batch: set[str]) -> bool:
    """Whether a size is the number of examples itself."""
    return len(symbols(size)) == 1 and bool(symbols(size) & batch) and str(size) in batch


def _example_size(model: ModelSpec) -> Size:
    """The size of the axis of examples; NablacError where a model has none that can differ by worker."""
    inputs, batch = examples_of(model.graph, training_of(model))
    sizes = [value.shape[0] for value in inputs if is_batch(value.shape[0], batch)]
    if not sizes:
        message = "the inputs have no axis of examples whose size can differ by worker"
        hint = "begin their shapes with a named dim, such as `x: [batch, 2]`"
        raise NablacError(Diagnostic(codes.E892, message, training_of(model).span, hint=hint))
    return sizes[0]


def _check_adds_up(loss: Measure, model: ModelSpec) -> None:
    if loss.by_batches or any(part.kind not in ("sum", "mean") for part in loss.parts.values()):
        span = training_of(model).span
        message = "this loss compares examples with one another, and each worker has only some of them"
        note = "a loss over workers is a function of sums and means over the examples"
        raise NablacError(Diagnostic(codes.E892, message, span, note=note, hint=_ALONE))


def _reduce_part(kind: PartKind, value: Value, share: Value, batch: set[str]) -> Value:
    """A part of a measure over the whole batch, as f64."""
    count = value.node.operands[0] if isinstance(value.node.op, Cast) else value
    if kind == "sum" and isinstance(count.node.op, SizeOf) and (known := _whole_count(count.node.op.size, batch)):
        return known
    wide = convert(value, DType.F64)
    if kind in ("max", "min"):
        return AllReduce(kind)(wide)
    if kind == "sum" and _depends(wide, batch):
        return AllReduce(alike=True)(wide)
    if kind in ("sum", "mean"):  # the same at every worker, and so is its gradient, which is added up over them
        return AllReduce(alike=True)(wide * share)
    return wide


@cache
def _whole_batch() -> Value:
    """The number of examples in the whole batch, which every worker's loader knows; a graph has one input for it."""
    return cast(Input(WHOLE, TensorType(DType.I64))(), DType.F64)


def _whole_count(size: Size, batch: set[str]) -> Value | None:
    """A size at the number of examples in the whole batch, where it is a multiple of that; no reduction is needed."""
    names = symbols(size) & batch
    if len(names) != 1:
        return None
    (name,) = names
    if substitute(size, {name: Dim.named(name) * 2}) != size * 2:
        return None
    return _whole_batch() * count_of(substitute(size, {name: 1}), DType.F64)


def _mean_over_workers(path: str, value: Value, own: Value, share: Value, model: ModelSpec) -> Value:
    """The next value of a buffer, averaged by the numbers of examples."""
    if not value.type.dtype.is_float:
        message = f"the next value of the buffer `{path}` depends on the examples, and {value.type} has no mean"
        raise NablacError(Diagnostic(codes.E892, message, training_of(model).span, hint=_ALONE))
    wide = convert(value, value.type.dtype.wide)
    known = where(greater(own, 0.0), wide, zeros(wide.type))  # of no examples it may be NaN
    return convert(AllReduce()(known * convert(share, wide.type.dtype)), value.type.dtype)


def _depends(value: Value, batch: set[str]) -> bool:
    """Whether a value depends on a worker's own examples, other than through what is reduced."""
    dependent: set[Node] = set()
    for node in Graph({}, {"value": value}):
        if isinstance(node.op, AllReduce):
            continue
        if _is_sized(node, batch) or any(operand.node in dependent for operand in node.operands):
            dependent.add(node)
    return value.node in dependent


def _is_sized(node: Node, batch: set[str]) -> bool:
    if isinstance(node.op, SizeOf):
        return bool(symbols(node.op.size) & batch)
    return any(symbols(size) & batch for result in node.results for size in result.shape)


def _synchronize(graph: Graph, own: set[Node], batch: set[str], model: ModelSpec) -> Graph:
    """`graph` with means, sums and counts over the examples, among the nodes of the model, over all workers."""
    new: dict[Value, Value] = {}
    for node in graph:
        rebuilt = rebuild_changed(node, new)
        value = _synchronized(node, rebuilt, batch, model) if node in own else None
        if value is not None:
            new[node.result] = value
        elif rebuilt is not node:
            new.update(zip(node.results, rebuilt.results, strict=True))
    return with_ends(graph, new)


def _synchronized(node: Node, rebuilt: Node, batch: set[str], model: ModelSpec) -> Value | None:
    """A node over the examples of all workers; None where it is about each example by itself."""
    op = node.op
    if isinstance(op, SizeOf):
        if not symbols(op.size) & batch:
            return None
        return _whole_size(op.size, batch, node, model)
    counts = [sum(bool(symbols(size) & batch) for size in value.shape) for value in node.operands]
    results = [sum(bool(symbols(size) & batch) for size in value.shape) for value in node.results]
    if not any(counts) or (max(results) == 1 and max(counts) == 1 and not relates_examples(node, batch)):
        return None
    if isinstance(op, (Mean, Sum)) and counts == [1] and results == [0]:
        (x,) = rebuilt.operands
        total = AllReduce()(Sum(op.axes, op.keep)(x))
        if isinstance(op, Sum):
            return total
        size = product([x.shape[axis] for axis in op.folded_axes(x.type.rank)])
        count = _whole_count(size, batch) or AllReduce()(count_of(size, DType.F64))
        return total / convert(count, x.type.dtype)
    raise _not_synchronized(f"`{op.name}` compares examples with one another", node, model)


def _whole_size(size: Size, batch: set[str], node: Node, model: ModelSpec) -> Value:
    """A size that counts the examples of all workers."""
    rest = substitute(size, dict.fromkeys(batch, 0))
    by_example = size + rest * -1
    doubled = substitute(by_example, {name: Dim.named(name) * 2 for name in batch})
    if doubled != by_example * 2:
        raise _not_synchronized(f"the size {size} is not a multiple of the number of examples", node, model)
    total = AllReduce()(count_of(by_example, DType.F64)) + count_of(rest, DType.F64)
    return cast(total, node.result.type.dtype)


def _not_synchronized(what: str, node: Node, model: ModelSpec) -> NablacError:
    span, note = node.origin.span or training_of(model).span, "synchronised statistics are sums and means over examples"
    return NablacError(Diagnostic(codes.E892, what, span, note=note, hint=_ALONE))
