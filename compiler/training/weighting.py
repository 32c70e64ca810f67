"""How much each example, and each entry of a target, counts in a loss: means become weighted ones.

A mean over the examples becomes `sum(w * x) / sum(w)`, and a sum `sum(w * x)`, so that the loss of any batches follows
from sums alone, as it does without weights. The weights are inputs of the graph. A mask of a target is a weight of its
entries, 0 where one is missing: an element of a mean counts if it reads no missing entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace as with_changes

from compiler.dims import Dim, Size, product, symbols
from compiler.graph import Node, Value
from compiler.model_spec import EXAMPLE_WEIGHT, WEIGHTS, ModelSpec, TrainingSpec, mask_name
from compiler.operators.arithmetic import Div, Maximum
from compiler.operators.casting import Cast
from compiler.operators.leaves import Constant, Input, SizeOf, constant
from compiler.operators.making import cast, count_of, expand, filled, maximum, mul, sum_, unsqueeze
from compiler.operators.reductions import Mean, Min, Reduction, Sum
from compiler.rewrite import reached, replace
from compiler.training.accumulation import weight_of
from compiler.training.measures import MeasureReader, examples_of, is_scalar_computation, measures_of
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, Label, NablacError
from grammar.record import Record

_LEAST = 1e-30  # of a sum of weights, by which 0 is divided where no example counts


def with_example_weights(model: ModelSpec) -> ModelSpec:
    """`model` with the loss that its data's weights of examples ask for; NablacError for a loss that has none."""
    spec = model.training
    stage = next((stage for stage in spec.data if stage.name == WEIGHTS), None) if spec is not None else None
    if spec is None or stage is None or spec.weighted is not None:
        return model
    inputs = {**model.graph.inputs, **spec.targets}
    if EXAMPLE_WEIGHT in inputs:
        message = f"`{WEIGHTS}` makes `{EXAMPLE_WEIGHT}` an input of the training step, and there is one of this name"
        raise NablacError(Diagnostic(codes.E212, message, stage.span, hint="choose another name"))
    try:
        return _weighted(model, ())
    except _CannotWeight as error:
        where = error.node.origin.span
        labels = (Label(where, f"this is `{error.node.op.name}`"),) if where is not None else ()
        message = f"`{WEIGHTS}` cannot weight this loss: {error.reason}"
        hint = "make the weight a target: `target w: [batch]`, and `loss sum(w * term) / sum(w)`"
        raise NablacError(Diagnostic(codes.E628, message, stage.span, labels=labels, hint=hint)) from None


def with_masks(model: ModelSpec, targets: Iterable[str]) -> ModelSpec:
    """`model` with a loss and metrics in which missing entries of `targets` do not count; see `can_mask`."""
    return _weighted(model, tuple(targets))


def can_mask(model: ModelSpec) -> bool:
    """Whether missing entries of any of a model's targets can be left out of its loss and all its metrics."""
    spec = model.training
    if spec is None or not spec.targets or not all(value.type.dtype.is_float for value in spec.targets.values()):
        return False
    if any(stage.arguments.get("mixup") for stage in spec.data):
        return False  # targets are then of two examples
    if spec.settings.accumulate > 1 and len(spec.targets) > 1:
        return False  # means with different masks do not add up over batches
    try:
        masked = with_masks(model, spec.targets).training
    except _CannotWeight:
        return False
    assert masked is not None
    return spec.settings.accumulate == 1 or weight_of(measures_of(model.graph, masked)["loss"]) is not None


class _CannotWeight(Exception):
    """A loss or metric is not a mean or sum over examples at this node."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node, self.reason = node, reason


class _Weights(Record):
    """`examples: [batch]`, or None where all count alike, and the mask of each masked target, by its value."""

    examples: Value | None
    masks: Mapping[Value, Value]
    targets: tuple[Value, ...]


def _weighted(model: ModelSpec, masked: tuple[str, ...]) -> ModelSpec:
    spec = model.training
    assert spec is not None
    inputs: dict[str, Value] = {}
    examples = None
    if any(stage.name == WEIGHTS for stage in spec.data):
        first = next(value for value in (*spec.targets.values(), *model.graph.inputs.values()) if value.shape)
        examples = Input(EXAMPLE_WEIGHT, TensorType(spec.loss.type.dtype.wide, first.shape[:1]))()
        inputs[EXAMPLE_WEIGHT] = examples
    masks = {name: Input(mask_name(name), TensorType(DType.F32, spec.targets[name].shape))() for name in masked}
    inputs |= {mask_name(name): mask for name, mask in masks.items()}
    by_target = {spec.targets[name]: mask for name, mask in masks.items()}
    targets = tuple(spec.targets.values())
    weighing = _Weights(examples, by_target, targets)
    metrics = dict(spec.metrics)
    if masks:  # weights of examples are the loss's alone
        for name, value in metrics.items():
            if name in spec.over_epoch:
                raise _CannotWeight(value.node, "it is computed over an epoch")
            metrics[name] = _weigh(name, value, model, spec, _Weights(None, by_target, targets))
    loss = _weigh("loss", spec.loss, model, spec, weighing)
    return with_changes(model, training=with_changes(spec, weights=inputs, weighted=loss, metrics=metrics))


def _weigh(name: str, value: Value, model: ModelSpec, spec: TrainingSpec, weights: _Weights) -> Value:
    """A loss or metric with its means and sums over examples weighted."""
    batch_inputs, batch = examples_of(model.graph, spec)
    reader = MeasureReader(name, value, set(model.graph), batch, batch_inputs)
    weigher = _Weigher(reader, weights, reached([value], weights.targets))
    changes: dict[Value, Value] = {}
    scalars = reader.scalars()
    for node in scalars:
        if _is_count(node) or not (is_scalar_computation(node) or isinstance(node.op, (Constant, SizeOf))):
            weighted = weigher.weigh(node)
            if weighted is not None:
                changes[node.result] = weighted
    for node in scalars:
        if isinstance(node.op, Div) and (floored := _floored(node.operands[1], changes)) is not None:
            changes[node.operands[1]] = floored
    return replace([value], changes)[0]


def _floored(divisor: Value, changes: Mapping[Value, Value]) -> Value | None:
    """The divisor `max(count, 1)` with a count that is weighted, and so may be below 1; None for any other."""
    if not isinstance(divisor.node.op, Maximum):
        return None
    for count, least in (divisor.node.operands, divisor.node.operands[::-1]):
        if isinstance(least.node.op, Constant) and count in changes:
            return _at_least(changes[count])
    return None


def _is_count(node: Node) -> bool:
    """Whether a node is a size as a float."""
    return isinstance(node.op, Cast) and isinstance(node.operands[0].node.op, SizeOf)


def _at_least(total: Value) -> Value:
    return maximum(total, constant(max(_LEAST, total.type.dtype.smallest), total.type.dtype))


class _Weigher:
    """Weighs the reductions over examples of one loss or metric."""

    def __init__(self, reader: MeasureReader, weights: _Weights, of_targets: set[Node]) -> None:
        self.reader, self.weights, self.of_targets = reader, weights, of_targets
        self.masks: dict[Value, Value] = dict(weights.masks)  # of what is computed from masked targets
        self.seen: set[Node] = set()
        self.totals: dict[Size, Value] = {}  # of the weights of examples, by how many elements each has

    def weigh(self, node: Node) -> Value | None:
        """The result of a node, which computes a scalar from tensors, with weights; None where it stays."""
        op = node.op
        if _is_count(node):
            return self._count(node)
        if node not in self.reader.of_examples:
            return None
        if not isinstance(op, (Mean, Sum)) or not self.reader.adds_up(node.operands[0]):
            raise _CannotWeight(node, f"`{op.name}` makes of all examples something other than a mean or a sum")
        (x,) = node.operands
        if not x.type.dtype.is_float:
            raise _CannotWeight(node, f"`{op.name}` counts in {x.type.dtype}")
        mask = self._mask(x)
        if mask is None and self.weights.masks and node not in self.of_targets:
            raise _CannotWeight(node, "it reads no target, of which an entry may be missing")
        wide = x.type.dtype.wide
        wide_x, weight = cast(x, wide), self._weight(node, x, wide)
        if mask is not None:
            mask = cast(expand(mask, x.shape), wide)
            weight = mask if weight is None else mul(mask, weight)
        if weight is None:
            return None
        if isinstance(op, Sum):
            return cast(sum_(mul(wide_x, weight)), x.type.dtype)
        if mask is not None:
            return cast(sum_(mul(wide_x, weight)) / _at_least(sum_(weight)), x.type.dtype)
        items = product(size for size in x.shape if not self._counts_examples(size))
        if isinstance(items, int):  # one divisor for means over any numbers of items: they add up over batches
            share = mul(weight, 1 / items) if items > 1 else weight
            return cast(sum_(mul(wide_x, share)) / _at_least(self._total(1, wide)), x.type.dtype)
        return cast(sum_(mul(wide_x, weight)) / _at_least(self._total(items, wide)), x.type.dtype)

    def _count(self, node: Node) -> Value | None:
        """The number of examples, or of equally many items of each, becomes the sum of their weights."""
        size, examples = node.operands[0].node.op, self.weights.examples
        assert isinstance(size, SizeOf)
        if not self._counts_examples(size.size):
            return None
        items = size.size.terms[0][1] if isinstance(size.size, Dim) else 0
        if self.weights.masks or examples is None or size.size != examples.shape[0] * items:
            raise _CannotWeight(node, f"it reads the size {size.size}")
        return cast(_at_least(self._total(items, examples.type.dtype)), node.result.type.dtype)

    def _total(self, items: Size, dtype: DType) -> Value:
        """The sum of the weights of all examples, each as often as it has items."""
        if items not in self.totals:
            examples = self.weights.examples
            assert examples is not None
            weights = examples if items == 1 else mul(examples, count_of(items, examples.type.dtype))
            self.totals[items] = sum_(weights)
        return cast(self.totals[items], dtype)

    def _weight(self, node: Node, x: Value, dtype: DType) -> Value | None:
        """The weights of examples along the axis of `x` that counts them."""
        examples = self.weights.examples
        if examples is None:
            return None
        axes = tuple(axis for axis, size in enumerate(x.shape) if size != examples.shape[0])
        if len(axes) != x.type.rank - 1:
            raise _CannotWeight(node, f"no axis of {x.type} counts the examples alone")
        return cast(unsqueeze(examples, axes) if axes else examples, dtype)

    def _counts_examples(self, size: Size) -> bool:
        return isinstance(size, Dim) and bool(symbols(size) & self.reader.batch)

    def _mask(self, x: Value) -> Value | None:
        """Which elements of `x` read no missing entry, 1 or 0, in its shape; None if it reads no masked target."""
        waiting = [x.node]
        while waiting:
            node = waiting[-1]
            missing = [operand.node for operand in node.operands if operand.node not in self.seen]
            if node not in self.seen and node in self.of_targets and missing:
                waiting += missing
                continue
            waiting.pop()
            if node not in self.seen:
                self.seen.add(node)
                masked = [operand for operand in node.operands if operand in self.masks]
                if masked:
                    self.masks.update(zip(node.results, self._masks_of(node, masked), strict=True))
        return self.masks.get(x)

    def _masks_of(self, node: Node, masked: list[Value]) -> Iterable[Value]:
        op = node.op
        if op.elementwise:
            shape = node.result.shape
            product_of_masks = expand(self.masks[masked[0]], shape)
            for operand in dict.fromkeys(masked[1:]):
                if self.masks[operand] is not self.masks[masked[0]]:
                    product_of_masks = mul(product_of_masks, expand(self.masks[operand], shape))
            return [product_of_masks]
        moved = op.moved_operands(*node.operands)
        if moved and all(operand in moved for operand in masked):
            ones = [
                self.masks.get(operand, filled(1, TensorType(DType.F32, operand.shape)))
                if operand in moved
                else operand
                for operand in node.operands
            ]
            return op.apply(*ones).results
        if isinstance(op, Reduction):
            (x,) = node.operands
            axes = op.folded_axes(x.type.rank)
            if not any(self._counts_examples(x.shape[axis]) for axis in axes):
                return [Min(axes, op.keep)(self.masks[x])]
        raise _CannotWeight(node, f"`{op.name}` reads entries that may be missing")
