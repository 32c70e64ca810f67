"""Converting a model that was trained on scaled data to the raw units of the data.

The loss compares operands with data: with targets, or with inputs, as in an autoencoder. These operands are scaled back
in the layout of the loss: `raw = scaled * scale + offset`. From there, raw values propagate backwards through operators
that only move elements or are inverted exactly, and forwards through operators whose operands are all raw. An operator
on trained weights was fitted to scaled values, and its result stays scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compiler.comparisons import Comparison, keeps_columns, moved_from, sources_of, trained_values
from compiler.graph import Graph, Node, Value
from compiler.lazy import LazyModule
from compiler.operators.leaves import Constant, Input, Stored
from compiler.operators.shaping import Concat, Expand, Split
from compiler.operators.slicing import Slice
from compiler.rewrite import replace
from compiler.types import TypeMismatch

np: Any = LazyModule("numpy")

Scalings = Mapping[str, tuple[Any, Any]]  # offsets and scales by the names of inputs and targets


@dataclass(frozen=True)
class Unit:
    """The units of an output: those of the data `of`; computed from raw values; or the model's own, as in training.

    An output that concatenates data of several units has `parts`: the index of each, and its data.
    """

    kind: Literal["raw", "computed", "model"]
    of: tuple[str, ...] = ()
    parts: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return f"in the units of {' and of '.join(f'{_listed(of)} in {index}' for index, of in self.parts)}"
        if self.of:
            return f"in the units of {_listed(self.of)}"
        return "computed from raw numbers" if self.kind == "computed" else "the model's own"


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def in_raw_units(
    graph: Graph, scalings: Scalings, compared: Sequence[Comparison], targets: Mapping[str, Value]
) -> Graph:
    """The model with inputs and outputs in raw units."""
    return _Model(graph, scalings, compared, targets).graph()


def output_units(
    graph: Graph, scalings: Scalings, compared: Sequence[Comparison], targets: Mapping[str, Value]
) -> dict[str, Unit]:
    """The units of each output of `in_raw_units`."""
    return _Model(graph, scalings, compared, targets).units()


class _Model:
    """The values of a model whose raw units are known."""

    def __init__(
        self, graph: Graph, scalings: Scalings, compared: Sequence[Comparison], targets: Mapping[str, Value]
    ) -> None:
        self.model, self.scalings = graph, scalings
        self.data = {**graph.inputs, **targets}
        self.inputs = {
            name: Input(name, value.type)() if name in scalings else value for name, value in graph.inputs.items()
        }
        self.names = {value: name for name, value in graph.inputs.items()}
        self.raw: dict[Value, Value] = {}
        self.of: dict[Value, tuple[str, ...]] = {}
        self.computed: set[Value] = set()
        ends = [*graph.outputs.values(), *(comparison.value for comparison in compared)]
        self.trained, _ = trained_values(Graph({}, {str(number): end for number, end in enumerate(ends)}))
        self._compare(compared)
        self._evaluate()

    def graph(self) -> Graph:
        """The model in raw units."""
        inputs = {self.model.inputs[name]: value for name, value in self.inputs.items()}
        known = {**inputs, **self.raw}
        computed = [value for value in self.model.outputs.values() if value in self.computed]
        raw = dict(zip(computed, replace(computed, known), strict=True))
        outputs = [raw.get(value, value) for value in self.model.outputs.values()]
        scaled = {
            self.model.inputs[name]: (value - _constant_like(offset, value)) / _constant_like(scale, value)
            for name, value in self.inputs.items()
            if name in self.scalings
            for offset, scale in [self.scalings[name]]
        }
        ends = replace([*outputs, *self.model.updates.values()], scaled)
        return Graph(
            dict(self.inputs),
            dict(zip(self.model.outputs, ends, strict=False)),
            dict(zip(self.model.updates, ends[len(outputs) :], strict=True)),
            self.model.name,
            self.model.doc,
            self.model.layers,
        )

    def units(self) -> dict[str, Unit]:
        """The units of the outputs by name."""
        units: dict[str, Unit] = {}
        names = {**{value: (name,) for value, name in self.names.items()}, **self.of}
        for name, value in self.model.outputs.items():
            of = _sources(value, names)
            if value not in self.computed:
                units[name] = Unit("model")
            else:
                units[name] = Unit("raw", of, _parts(value, names)) if of else Unit("computed")
        return units

    # Backwards: from the compared values to their operands

    def _compare(self, compared: Sequence[Comparison]) -> None:
        first_of: dict[Value, Comparison] = {}
        self.blocked: set[Value] = set()
        for comparison in sorted(
            compared, key=lambda comparison: any(name in self.names.values() for name in comparison.sources)
        ):
            first = first_of.setdefault(comparison.value, comparison)  # targets take precedence over inputs
            if first.sources != comparison.sources and not any(
                name in self.names.values() for name in comparison.sources
            ):
                self.blocked.add(comparison.value)  # compared with data of different units: it has none
        for value, comparison in first_of.items():
            raw = self._unscaled(comparison) if value not in self.blocked else None
            if raw is not None:
                self.raw[value], self.of[value] = raw, comparison.sources
        waiting = list(self.raw)
        parts: dict[Value, list[tuple[int, Any, Any, Value]]] = {}
        while waiting:
            while waiting:
                value = waiting.pop()
                waiting += self._undo(value, parts)
            waiting = [joined for joined in list(parts) if self._join(joined, parts.pop(joined))]

    def _record(self, value: Value, raw: Value, of: tuple[str, ...]) -> bool:
        """Record a trained value in raw units; False if it has none, or is known already."""
        if value not in self.trained or value in self.raw or value in self.blocked or raw.type != value.type:
            return False
        self.raw[value], self.of[value] = raw, of
        return True

    def _undo(self, value: Value, parts: dict[Value, list[tuple[int, Any, Any, Value]]]) -> list[Value]:
        """Record the operands of a node in raw units if it can be inverted; slices are collected in `parts`."""
        node, raw, of = value.node, self.raw[value], self.of[value]
        if isinstance(node.op, Concat):
            return [operand for operand, part in _concat_parts(node, raw) if self._record(operand, part, of)]
        if isinstance(node.op, (Slice, Split)):
            cut = _slice_range(value)
            if cut is not None:
                parts.setdefault(node.operands[0], []).append((*cut, value))
            return []
        return [
            operand for operand, before in node.op.inverse(raw, *node.operands) if self._record(operand, before, of)
        ]

    def _join(self, whole: Value, parts: list[tuple[int, Any, Any, Value]]) -> bool:
        """Record a value whose slices along one axis are all known; False if they are not."""
        axis = parts[0][0]
        by_start = {start: (stop, value) for part_axis, start, stop, value in parts if part_axis == axis}
        position: Any = 0
        pieces: list[Value] = []
        while position in by_start and position != whole.shape[axis]:
            position, value = by_start[position]
            pieces.append(value)
        if not pieces or position != whole.shape[axis]:
            return False
        of = tuple(sorted({name for value in pieces for name in self.of[value]}))
        return self._record(whole, Concat(axis)(*(self.raw[value] for value in pieces)), of)

    def _unscaled(self, comparison: Comparison) -> Value | None:
        """The compared value in units of the data; None if one element is compared with several units."""
        if not any(name in self.scalings for name in comparison.sources):
            return comparison.value
        if comparison.less is not None and not self._one_scaling(comparison.data, comparison.less):
            return None
        numbers = self._scaling_of(comparison)
        if numbers is None:
            return None
        scale, offset = numbers
        try:
            raw = comparison.form.unscaled(comparison.value, scale, offset)
        except TypeMismatch:
            return None
        return raw if raw.type == comparison.value.type else None

    def _scaling_of(self, comparison: Comparison) -> tuple[Value, Value] | None:
        """Scale and offset in the layout of the data; None if that depends on a target."""
        source_scalings = {name: self._scaling(name) for name in sources_of(comparison.data, self._names_of_data)}
        offsets, scales = ([scaling[position] for scaling in source_scalings.values()] for position in (0, 1))
        like = comparison.value
        if all(len({float(number) for array in group for number in array.flat}) == 1 for group in (offsets, scales)):
            return tuple(_constant_like(group[0].reshape(-1)[:1].reshape(()), like) for group in (scales, offsets))  # type: ignore[return-value]
        (name, *others) = source_scalings
        if not others and comparison.data is self.data[name]:
            return _constant_like(scales[0], like), _constant_like(offsets[0], like)
        expanded = []
        for group in (scales, offsets):
            whole = {
                self.data[name]: Expand(self.data[name].shape)(_constant_like(array, self.data[name]))
                for name, array in zip(source_scalings, group, strict=True)
            }
            expanded += replace([comparison.data], whole)
        read_inputs = {node.result for node in Graph({}, {"scale": expanded[0]}) if isinstance(node.op, Input)}
        if not read_inputs <= set(self.model.inputs.values()):  # arranged by a target, which is known in training only
            return None
        return expanded[0], expanded[1]

    def _scaling(self, name: str) -> tuple[Any, Any]:
        return self.scalings.get(name, (np.zeros(1), np.ones(1)))

    @property
    def _names_of_data(self) -> dict[Value, str]:
        return {value: name for name, value in self.data.items()}

    def _one_scaling(self, left: Value, right: Value) -> bool:
        """Whether two parts of the data have the same scaling, element by element."""
        names = self._names_of_data
        sources = [sources_of(part, names) for part in (left, right)]
        if any(len(source_names) != 1 for source_names in sources):
            return False
        (before, scale), (other, other_scale) = (self._scaling(name) for (name,) in sources)
        if not (np.array_equal(before, other) and np.array_equal(scale, other_scale)):
            return False
        uniform = len(set(before.flat)) == 1 and len(set(scale.flat)) == 1
        return uniform or (scale.ndim == 1 and all(keeps_columns(part, names) for part in (left, right)))

    # Forwards: through operators whose operands are all raw

    def _evaluate(self) -> None:
        """Collect the values that are computed from raw values: weights enter them through raw values only."""
        for node in Graph({}, self.model.outputs):
            weighted = isinstance(node.op, Stored)
            known = not weighted and all(operand in self.computed for operand in node.operands)
            self.computed.update(result for result in node.results if result in self.raw or known)


def _sources(value: Value, names: Mapping[Value, tuple[str, ...]]) -> tuple[str, ...]:
    """The data in whose units a value is that was made of values with `names` by moving numbers."""
    return tuple(sorted({name for source in moved_from(value, names) for name in names[source]}))


def _parts(value: Value, names: Mapping[Value, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The index of each operand of a `concat`, and its data; none where all are of the same."""
    if value in names or not isinstance(value.node.op, Concat):
        return ()
    axis = value.type.axis(value.node.op.axis)
    parts: list[tuple[str, tuple[str, ...]]] = []
    start: Any = 0
    for operand in value.node.operands:
        stop = start + operand.shape[axis]
        parts.append((f"[{':, ' * axis}{start}:{stop}]", _sources(operand, names)))
        start = stop
    return tuple(parts) if len({of for _, of in parts}) > 1 else ()


def _concat_parts(node: Node, raw: Value) -> Iterator[tuple[Value, Value]]:
    """The operands of a `concat`, as parts of its result."""
    assert isinstance(node.op, Concat)
    axis = raw.type.axis(node.op.axis)
    start: Any = 0
    for operand in node.operands:
        stop = start + operand.shape[axis]
        yield operand, Slice((axis,), (start,), (stop,))(raw)
        start = stop


def _slice_range(value: Value) -> tuple[int, Any, Any] | None:
    """Axis, start and stop of a slice or of a result of a split; None if it is not one range."""
    node, operand = value.node, value.node.operands[0]
    if isinstance(node.op, Split):
        start: Any = sum(node.op.sizes[: value.index], 0)
        return operand.type.axis(node.op.axis), start, start + node.op.sizes[value.index]
    assert isinstance(node.op, Slice)
    cuts = node.op.bounds(operand.type)
    narrow = [cut for cut in cuts if (cut[1], cut[2], cut[3]) != (0, operand.shape[cut[0]], 1)] or cuts[:1]
    if len(narrow) != 1 or narrow[0][3] != 1:
        return None
    axis, start, stop, _ = narrow[0]
    return axis, start, stop


def _constant_like(array: Any, like: Value) -> Value:
    return Constant.of(np.asarray(array).astype(like.type.dtype.numpy))()
