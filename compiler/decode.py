"""The decode step of a model: its outputs for new tokens, computed from caches and states of the earlier ones.

The step is derived from the model's graph. Of a value with an axis of tokens it computes only the new positions, by the
rule of each operator (`Operator.incremental`). An operator that reads all positions, such as the product of a query and
every key, reads the earlier ones from a cache. A `Scan` continues from its final states, and an operator that reads a
fixed number of earlier positions, such as a convolution or a shift, or their sum, from a state that carries those
(`Window.carry`). This is valid for causal models only, whose outputs do not depend on later tokens
(`runtime.generation.decode_checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from compiler.dims import PAST, Dim, Size, substitute, symbols
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Input
from compiler.operators.shaping import Concat, DataMovement, Expand, Squeeze, Transpose, Unsqueeze
from compiler.operators.slicing import Slice
from compiler.origins import origin
from compiler.rewrite import reached, with_operands
from compiler.types import TensorType
from compiler.window import Window
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


@dataclass(frozen=True, eq=False)
class Decode:
    """`start` runs once for a text, `step` for each group of new tokens, of which the first is the prompt.

    The inputs of `start` are the model's other inputs, its outputs the `context` and the initial `states`. The inputs
    of `step` are the tokens, the context, the states and the caches; its output is `output` at the new tokens, its
    updates are the next states and caches. A cache grows along one axis, from length 0.
    """

    start: Graph
    step: Graph
    tokens: str  # the input of tokens, [batch, T]
    output: str
    context: dict[str, TensorType]
    states: dict[str, TensorType]
    caches: dict[str, TensorType]  # with the dim PAST
    batch: Size

    def batch_axis(self, name: str) -> int | None:
        """The batch axis of a state, cache or context; None if there is none, or more than one."""
        shape = {**self.context, **self.states, **self.caches}[name].shape
        return shape.index(self.batch) if shape.count(self.batch) == 1 else None


class NotStepwise(Exception):
    """The results of `node` cannot be computed for a few tokens at a time."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(why)
        self.node = node


def decode(graph: Graph) -> Decode:
    """The decode step of a model of tokens; NablacError (E860) if it has none."""
    tokens, output = generating_ends(graph)
    try:
        return _Derivation(graph, tokens, output).build()
    except NotStepwise as error:
        message = f"{graph.name} has no decode step: {error}"
        hint = "`--no-cache` generates without one; `nablac explain E860` says what has one"
        raise NablacError(Diagnostic(codes.E860, message, error.node.origin.span, hint=hint)) from None


def generating_ends(graph: Graph) -> tuple[str, str]:
    """The input of tokens, and the output with scores for the token after each; NablacError (E860) if it has none."""
    for name, output in graph.outputs.items():
        if output.type.rank != 3 or not output.type.dtype.is_float:
            continue
        below = {node.op.label for node in Graph({}, {"": output}) if isinstance(node.op, Input)}
        for label, value in graph.inputs.items():
            if label in below and value.type.dtype.is_integer and value.shape == output.shape[:2]:
                if isinstance(value.shape[1], Dim) and symbols(value.shape[1]) == {str(value.shape[1])}:
                    return label, name
    hint = "a model that generates has an input `tokens: i64[batch, T]` and an output of [batch, T, vocabulary]"
    raise NablacError(Diagnostic(codes.E860, f"{graph.name} does not generate text", place=graph.name, hint=hint))


@dataclass(frozen=True)
class _NewPositions:
    """The new positions of an axis, and `more` positions after them (see compiler.window).

    An axis may be longer than the tokens, if it was padded, or shorter, if its last positions were cut off. Positions
    are counted from the front, so that the new ones of every axis begin at `past`; a slice or a convolution of a padded
    axis needs further ones after them.
    """

    derivation: _Derivation
    value: Value
    axis: int
    more: int = 0

    @property
    def start(self) -> Size:
        return self.derivation.start

    @property
    def size(self) -> Size:
        return self.derivation.size + self.more

    def of(self, value: Value, axis: int) -> Value:
        return self.derivation.of(value, axis, self.more)

    def whole(self, value: Value) -> Value:
        return self.derivation.whole(value)

    def bound(self, size: Size) -> Size:
        return self.derivation.bound(size)

    def extended(self, more: int) -> Window:
        return replace(self, more=max(0, self.more + more))

    def within(self, size: Size) -> bool:
        behind = self.derivation.behind(size)
        return behind is not None and self.more <= behind

    def carry(
        self, first: Value, result: Callable[[Value, Window], Value], following: Callable[[Value, Window], Value]
    ) -> Value | None:
        new = replace(self, more=0)
        state = self.derivation.carry(self.value, self.axis, first, lambda last: following(last, new))
        return None if state is None else result(state, self)


@dataclass(frozen=True, eq=False)
class _Context:
    """A value that is computed once for a text: the input of the step, and the value in the model."""

    input: Value
    first: Value


@dataclass(frozen=True, eq=False)
class _State:
    """A value that is carried from step to step: the input of the step, the initial value, and the next value."""

    input: Value
    first: Value
    following: Value


@dataclass(frozen=True, eq=False)
class _Cache:
    """A value at all earlier positions: the input of the step, and the value with the new positions appended."""

    input: Value
    following: Value


class _Derivation:
    """Derives values at their new positions, and at all positions."""

    def __init__(self, graph: Graph, tokens: str, output: str) -> None:
        self.graph, self.tokens, self.output = graph, tokens, output
        all_tokens = graph.inputs[tokens]
        self.size = all_tokens.shape[1]
        self.axis_name = str(self.size)
        self.start: Size = Dim.named(PAST)
        self.all = self.start + self.size
        end = graph.outputs[output]
        self.dynamic = reached([end], [all_tokens])
        others = [value for name, value in graph.inputs.items() if name != tokens]
        self.from_other_inputs = reached([end], others)
        self.input: Value = Input(tokens, all_tokens.type)()
        self.all_tokens = all_tokens
        self.parts: dict[tuple[Value, int, int], Value] = {(all_tokens, 1, 0): self.input}
        self.wholes: dict[Value, Value] = {}
        self.scans: dict[Node, tuple[Value, ...]] = {}
        self.carries: dict[tuple[Value, int], Value] = {}
        self.context: dict[str, _Context] = {}
        self.states: dict[str, _State] = {}
        self.caches: dict[str, _Cache] = {}

    def build(self) -> Decode:
        """The decode step; NotStepwise if a node needs positions that the step does not have."""
        end = self.graph.outputs[self.output]
        for node in Graph({}, {"": end}):  # producers first, which bounds the depth of the recursion below
            for value in node.results:
                axes = self._token_axes(value.type)
                if node not in self.dynamic:
                    if node not in self.from_other_inputs:
                        self.whole(value)
                elif len(axes) == 1:
                    self._compute_if_possible(value, axes[0])
        result = self.of(end, 1)
        used = set(Graph({}, {"": result}))
        while True:  # a cache or state is needed if the output, or another needed one, is computed from it
            kept = [entry.following for entry in self._kept_entries() if entry.input.node in used]
            more = set(Graph({}, {str(number): end for number, end in enumerate((result, *kept))}))
            if more == used:
                break
            used = more
        context = {name: entry for name, entry in self.context.items() if entry.input.node in used}
        states = {name: state for name, state in self.states.items() if state.input.node in used}
        caches = {name: cache for name, cache in self.caches.items() if cache.input.node in used}
        if not caches and any(PAST in symbols(size) for node in used for size in _sizes(node)):
            # No other input has the number of earlier tokens as a size.
            name = f"{PAST}.{self.tokens}"
            past = Input(name, self._past_type(self.input.type, 1))()
            caches[name] = _Cache(past, Concat(1)(past, self.input))
        updated: dict[str, _State | _Cache] = {**states, **caches}
        entries: dict[str, _Context | _State | _Cache] = {**context, **updated}
        step = Graph(
            {self.tokens: self.input, **{name: entry.input for name, entry in entries.items()}},
            {self.output: result},
            {name: entry.following for name, entry in updated.items()},
            self.graph.name,
            self.graph.doc,
            self.graph.layers,
        )
        return Decode(
            self._start(context, states),
            step,
            self.tokens,
            self.output,
            {name: entry.input.type for name, entry in context.items()},
            {name: state.input.type for name, state in states.items()},
            {name: cache.input.type for name, cache in caches.items()},
            self.graph.inputs[self.tokens].shape[0],
        )

    def of(self, value: Value, axis: int, more: int = 0) -> Value:
        """A value at the new positions of an axis, and at `more` positions after them."""
        if (value, axis, more) not in self.parts:
            with origin(value.node.origin.span, value.node.origin.path):
                part = self._part(value, axis, more)
            self.parts[value, axis, more] = part
        return self.parts[value, axis, more]

    def whole(self, value: Value) -> Value:
        """A value at all positions; the earlier ones come from a cache."""
        if value not in self.wholes:
            with origin(value.node.origin.span, value.node.origin.path):
                self.wholes[value] = self._whole(value)
        return self.wholes[value]

    def bound(self, size: Size) -> Size:
        """A size of the model with the number of all positions in place of the number of tokens."""
        return substitute(size, {self.axis_name: self.all})

    def behind(self, size: Size) -> int | None:
        """By how many positions an axis of this size is longer than the tokens; None if it is not a number."""
        more = size - self.size
        return more if isinstance(more, int) else None

    def carry(self, value: Value, axis: int, first: Value, following: Callable[[Value], Value]) -> Value | None:
        """The state from which a value is computed at the new positions; None if it depends on all tokens."""
        if value.node not in self.dynamic or self._mentions(first.type):
            return None
        if first.node in reached([first], [self.all_tokens]):
            return None
        if (value, axis) not in self.carries:
            name = self._name("state", value.node, self.states)
            entry = Input(name, first.type)()
            self.states[name] = _State(entry, first, entry)  # reserves the name while `following` runs
            self.states[name] = _State(entry, first, following(entry))
            self.carries[value, axis] = entry
        return self.carries[value, axis]

    def _compute_if_possible(self, value: Value, axis: int) -> None:
        with suppress(NotStepwise):  # it may not be needed
            self.of(value, axis)

    def _part(self, value: Value, axis: int, more: int) -> Value:
        node, left = value.node, self.behind(value.shape[axis])
        if left is None:
            raise NotStepwise(node, f"an axis of {value.shape[axis]} mixes the tokens' positions with others")
        stacked = isinstance(node.op, Scan) and axis == 0 and value.index >= node.op.states
        if stacked and node in self.dynamic and not more:
            return self._scan(node)[value.index]
        window: Window = _NewPositions(self, value, axis, more)
        part = node.op.incremental(window, axis, *node.operands) if len(node.results) == 1 else None
        if part is None:
            if more > left:
                raise NotStepwise(node, "it needs positions after its last one")
            everything = self._apply(node)[value.index] if node in self.dynamic else self.whole(value)
            part = Slice((axis,), (self.start,), (self.all + more,))(everything)
        return part

    def _whole(self, value: Value) -> Value:
        node, axes = value.node, self._token_axes(value.type)
        if node not in self.dynamic:
            if node in self.from_other_inputs and not self._mentions(value.type):
                return self._from_start(value)
            return self._apply(node)[value.index]
        if isinstance(node.op, Scan) and value.index < node.op.states:
            if node.op.length(*(operand.type for operand in node.operands)) != self.size:
                raise NotStepwise(node, f"its scan does not run over {self.axis_name}")
            return self._scan(node)[value.index]
        if not self._mentions(value.type) or self._moves(value, axes):
            return self._apply(node)[value.index]
        if len(axes) != 1:
            raise NotStepwise(node, f"all of {value.type} is needed for every token")
        name = self._name(PAST, node, self.caches)
        past = Input(name, self._past_type(value.type, axes[0]))()
        every = Concat(axes[0])(past, self.of(value, axes[0]))
        self.caches[name] = _Cache(past, every)
        return every

    def _apply(self, node: Node) -> tuple[Value, ...]:
        """The results of a node at all positions of its operands."""
        operands = tuple(self.whole(operand) for operand in node.operands)
        if any(self._mentions(value.type) for graph in node.op.graphs for inner in graph for value in inner.results):
            raise NotStepwise(node, f"each step of its scan sees all of {self.axis_name}")
        sizes: Mapping[str, Size] = {self.axis_name: self.all}
        op = node.op.bind(sizes)
        if op is node.op and operands == node.operands:
            return node.results
        if not any(self._mentions(value.type) for value in (*node.operands, *node.results)):
            return with_operands(node, operands).results
        return op.apply(*operands).results

    def _scan(self, node: Node) -> tuple[Value, ...]:
        """The results of a Scan over the new positions that continues from its last final states."""
        if node in self.scans:
            return self.scans[node]
        op = node.op
        assert isinstance(op, Scan)
        if op.reverse:
            raise NotStepwise(node, "its scan runs from the last token to the first")
        if any(self._mentions(value.type) for inner in op.body for value in inner.results):
            raise NotStepwise(node, f"each step of its scan sees all of {self.axis_name}")
        firsts, sequences = node.operands[: op.states], node.operands[op.states : op.states + op.slices]
        if any(first.node in self.dynamic for first in firsts):
            raise NotStepwise(node, "the first state of its scan depends on all tokens")
        names: list[str] = []
        for first in firsts:
            names.append(self._name("state", node, self.states))
            entry = Input(names[-1], first.type)()
            self.states[names[-1]] = _State(entry, first, entry)
        entries = [self.states[name].input for name in names]
        parts = [self.of(sequence, 0) for sequence in sequences]
        whole = (self.whole(operand) for operand in node.operands[op.states + op.slices :])
        results = op.apply(*entries, *parts, *whole).results
        for name, first, entry, last in zip(names, firsts, entries, results, strict=False):
            self.states[name] = _State(entry, first, last)
        self.scans[node] = results
        return self.scans[node]

    def _from_start(self, value: Value) -> Value:
        """A value that does not depend on tokens as an input of the step: it is computed once for a text."""
        name = self._name("context", value.node, self.context)
        entry = Input(name, value.type)()
        self.context[name] = _Context(entry, value)
        return entry

    def _start(self, context: Mapping[str, _Context], states: Mapping[str, _State]) -> Graph:
        outputs = {name: entry.first for name, entry in context.items()}
        outputs |= {name: state.first for name, state in states.items()}
        inputs = {name: value for name, value in self.graph.inputs.items() if name != self.tokens}
        known = {name for value in inputs.values() for size in value.shape for name in symbols(size)}
        if any(symbols(size) - known for node in Graph({}, outputs) for size in _sizes(node)):
            inputs[self.tokens] = self.graph.inputs[self.tokens]  # its shape has the batch size
        return Graph(inputs, outputs, {}, self.graph.name, self.graph.doc, self.graph.layers)

    def _kept_entries(self) -> list[_State | _Cache]:
        return [*self.states.values(), *self.caches.values()]

    def _token_axes(self, type: TensorType) -> list[int]:
        return [axis for axis, size in enumerate(type.shape) if size == self.size]

    def _mentions(self, type: TensorType) -> bool:
        return any(self.axis_name in symbols(size) for size in type.shape)

    def _moves(self, value: Value, axes: list[int]) -> bool:
        """Whether to cache the operand that a value is moved from, which is smaller or grows along an outer axis."""
        if isinstance(value.node.op, (Squeeze, Unsqueeze)) or (isinstance(value.node.op, DataMovement) and not axes):
            return True
        if isinstance(value.node.op, Transpose) and axes == [value.type.rank - 1]:
            return True
        source = value
        while isinstance(source.node.op, DataMovement) and len(source.node.operands) == 1:
            if isinstance(source.node.op, Expand):
                return True
            source = source.node.operands[0]
        return False

    def _past_type(self, type: TensorType, axis: int) -> TensorType:
        return type.with_shape(*type.shape[:axis], self.start, *type.shape[axis + 1 :])

    def _name(self, kind: str, node: Node, taken: Mapping[str, object]) -> str:
        base = f"{kind}.{node.origin.path or node.op.name}"
        number, name = 2, base
        while name in taken:
            name, number = f"{base}.{number}", number + 1
        return name


def _sizes(node: Node) -> list[Size]:
    shapes = [size for value in node.results for size in value.shape]
    return [*shapes, *(size for size in node.op.attributes if isinstance(size, Dim))]
