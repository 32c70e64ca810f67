"""A training step that takes less memory: values of the forward pass are computed again where the backward needs them.

At the node where the most is alive, everything before it counts as forward and everything after it as backward. What
is kept across that point, and what is computed again from it, is a minimum cut of the graph before it, with the bytes
of values as capacities, as in the partitioner of AOTAutograd; where that does not suffice, products are computed again
too, from checkpoints at even distances (Chen et al. 2016). What is computed again reads what was kept through a
barrier, behind a value of the backward pass: so it runs late, and is not merged with the first computation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from compiler.byte_sizes import units_of
from compiler.dims import Size, substitute, symbols
from compiler.graph import Graph, Node, Value
from compiler.liveness import Liveness
from compiler.operators.barrier import Barrier
from compiler.operators.control import Scan
from compiler.rewrite import with_ends, with_operands
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

_CHEAP = 16  # operations for each element: elementwise, normalisations, softmax, random draws; no product
_MUCH = 2  # how many times smaller a result is that is computed early
_SMALL = 2000  # a value below this fraction of the peak is always kept
_STATE = 1.1  # times what is fed and written: below it, the rest does not matter
_MOST_ROUNDS = 12
_LEAST_GAIN = 0.995
_FRACTIONS = (0.125, 0.25, 0.5)  # of the nodes
_SEGMENTS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_EARLIER = 0.05  # how much dearer it is to keep the first value than the last of the same size

MayRepeat = Callable[[Liveness, Node], bool]


def fit_into(graph: Graph, budget: int, sizes: Mapping[str, int], beside: int = 0) -> Graph:
    """An equivalent graph that needs at most `budget` bytes at these sizes, with all that is fed.

    `beside` are the bytes of what lies in memory too, and the graph does not read.
    Computes as little again as the tried choices allow. NablacError, with the least that is possible, where none fits.
    """
    room = budget - beside
    if Liveness(graph, sizes).most <= room:
        return graph
    early = Liveness(reduce_early(graph, sizes), sizes)
    if early.most <= room:
        return early.graph
    cheap = _shrink(early, room, _cheap_of_first(early, 1.0))
    if cheap.most <= room:
        less = (_shrink(early, room, _cheap_of_first(early, fraction)) for fraction in _FRACTIONS)
        return next((liveness for liveness in less if liveness.most <= room), cheap).graph
    least = cheap.most
    for segments in _SEGMENTS:
        shrunk = _shrink(early, room, _between_checkpoints(early, segments))
        if shrunk.most <= room:
            return shrunk.graph
        least = min(least, shrunk.most)
    written = sum(map(early.bytes, graph.updates.values()))
    input_bytes = early.input_bytes + beside
    state = input_bytes - sum(map(early.bytes, graph.inputs.values()))
    text_of = units_of(budget)
    if least + beside < _STATE * (input_bytes + written):
        hint = "weights and states take most of it: choose a smaller model or another optimizer"
    elif state >= budget:
        hint = f"weights and states alone take {text_of(state)}: raise the budget, or choose a smaller model"
    else:
        hint = _lengths_hint(graph) or "train with smaller batches"
    raise NablacError(
        Diagnostic(
            codes.E811,
            f"a training step does not fit in {text_of(budget)}",
            place="memory_budget",
            note=f"it takes {text_of(early.most + beside)}, and at least {text_of(least + beside)} however much is "
            f"computed again; {text_of(input_bytes)} of that is weights, states and the batch",
            hint=hint,
        )
    )


def _lengths_hint(graph: Graph) -> str | None:
    """What to do about recurrences whose steps are all kept, since their length is not a number; None without such."""
    scans = ((node.op, node.operands) for node in graph if isinstance(node.op, Scan) and not node.op.truncate)
    lengths = [scan.length(*(operand.type for operand in operands)) for scan, operands in scans]
    names = sorted({f"`{name}`" for length in lengths for name in symbols(length)})
    if not names:
        return None
    what = "a number" if len(names) == 1 else "numbers"
    return (
        f"write {' and '.join(names)} as {what} in the model's inputs, for recurrences to be computed again in segments"
    )


def _shrink(liveness: Liveness, budget: int, may_repeat: MayRepeat) -> Liveness:
    """The graph with values computed again at one peak after the other, until it fits or that no longer helps."""
    for _ in range(_MOST_ROUNDS):
        smaller = Liveness(rematerialize(liveness, may_repeat), liveness.sizes)
        if smaller.most > _LEAST_GAIN * liveness.most:
            return min(smaller, liveness, key=lambda candidate: candidate.most)
        liveness = smaller
        if liveness.most <= budget:
            break
    return liveness


def reduce_early(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """`graph` with what is much smaller than its operands computed as soon as these are known, and not when it is used.

    So the gradient of a bias, which an update at the end of the step reads, no longer keeps the gradient alive of which
    it is the sum: the next node that reads this one reads it through a barrier behind the sum.
    """
    liveness = Liveness(graph, sizes)
    index, owner = liveness.index, liveness.owner
    readers: dict[Value, list[tuple[int, Value]]] = {}  # of a value, directly or through a view
    for node in liveness.nodes:
        if not node.op.views_operand:
            for operand in node.operands:
                readers.setdefault(owner.get(operand, operand), []).append((index[node], operand))
    behind: dict[tuple[int, Value], list[Value]] = {}  # what is computed before a node reads an operand
    for node in liveness.nodes:
        result = node.results[0]
        if len(node.results) > 1 or node.op.views_operand or not result.type.dtype.is_float:
            continue
        read = [owner.get(operand, operand) for operand in node.operands]
        ready = max((index.get(operand.node, -1) for operand in read), default=-1)
        for operand in read:
            if liveness.bytes(operand) < _MUCH * liveness.bytes(result):
                continue
            following = next((reader for reader in readers[operand] if reader[0] > ready), None)
            if following is not None and following[0] < index[node]:
                behind.setdefault(following, []).append(result)
                break
    if not behind:
        return graph
    changed = [(liveness.nodes[following], operand, results) for (following, operand), results in behind.items()]
    return _with_barriers(graph, changed)


def _with_barriers(graph: Graph, changed: list[tuple[Node, Value, list[Value]]]) -> Graph:
    """`graph` with barriers before operands of nodes; their order is that of the barriers, not of the graph."""
    barriers = {(node, operand): results for node, operand, results in changed}
    new: dict[Value, Value] = {}
    waiting = [end.node for end in reversed(graph.ends)]
    while waiting:
        node = waiting[-1]
        if node.results[0] in new:
            waiting.pop()
            continue
        needed = [*node.operands, *(late for operand in node.operands for late in barriers.get((node, operand), ()))]
        missing = [value.node for value in needed if value not in new]
        if missing:
            waiting += reversed(missing)
            continue
        waiting.pop()
        operands = []
        for operand in node.operands:
            value = new[operand]
            for late in barriers.get((node, operand), ()):
                value = Barrier()(value, new[late])
            operands.append(value)
        rebuilt = node if tuple(operands) == node.operands else with_operands(node, tuple(operands))
        new.update(zip(node.results, rebuilt.results, strict=True))
    return with_ends(graph, new)


def _cheap_of_first(before: Liveness, fraction: float) -> MayRepeat:
    """Nodes of few operations among the first ones, whose values are kept longest."""
    first = set(before.nodes[: round(fraction * len(before.nodes))])
    anywhere = fraction == 1
    return lambda liveness, node: (anywhere or node in first) and _is_cheap(node, liveness.sizes)


def _between_checkpoints(before: Liveness, segments: int) -> MayRepeat:
    """All nodes but recurrences, and those whose results cross the borders of this number of segments."""
    crossing = _crossing(before, segments)
    return lambda liveness, node: node not in crossing and not node.op.graphs


def _is_cheap(node: Node, sizes: Mapping[str, int]) -> bool:
    """Whether an operator does few operations for each of its elements."""
    if node.op.graphs:
        return False
    values = (*node.operands, *node.results)
    elements = max(_number(value.type.elements, sizes) for value in values)
    return _number(node.op.flops(*(operand.type for operand in node.operands)), sizes) <= _CHEAP * elements


def _number(size: Size, sizes: Mapping[str, int]) -> int:
    number = substitute(size, sizes)
    return number if isinstance(number, int) else 1


def _crossing(liveness: Liveness, segments: int) -> frozenset[Node]:
    """The nodes before the peak whose results cross the borders between segments of equal bytes."""
    peak, last = liveness.peak, dict[Value, int]()
    for index, node in enumerate(liveness.nodes[:peak]):
        last.update(dict.fromkeys(node.operands, index))
    bytes_before = [0]
    for node in liveness.nodes[:peak]:
        bytes_before.append(bytes_before[-1] + sum(map(liveness.bytes, node.results)))
    borders = []
    for segment in range(1, segments):
        target = bytes_before[-1] * segment / segments
        near = [index for index in range(peak) if abs(bytes_before[index] - target) < bytes_before[-1] / segments / 4]
        width = {index: _width(liveness, last, index) for index in near[:: max(len(near) // 64, 1)]}
        if width:
            borders.append(min(width, key=width.__getitem__))
    return frozenset(
        node
        for index, node in enumerate(liveness.nodes[:peak])
        for border in borders
        if index < border and any(last.get(result, 0) >= border for result in node.results)
    )


def _width(liveness: Liveness, last: Mapping[Value, int], border: int) -> int:
    """The bytes that cross a border of the forward pass."""
    return sum(
        liveness.bytes(result)
        for node in liveness.nodes[:border]
        for result in node.results
        if last.get(result, 0) >= border
    )


def rematerialize(liveness: Liveness, may_repeat: MayRepeat) -> Graph:
    """The graph with less kept across its peak, by computing nodes again that `may_repeat` allows."""
    split = _Split(liveness, may_repeat)
    return split.rewritten() if split.repeated else liveness.graph


class _Split:
    """A graph split at its peak."""

    def __init__(self, liveness: Liveness, may_repeat: MayRepeat) -> None:
        self.liveness, self.may_repeat = liveness, may_repeat
        self.peak = liveness.peak
        self.smallest = liveness.most // _SMALL
        self.needed: dict[Value, int] = {}  # values from before the peak: the first node behind it that reads them
        at_peak = set(liveness.nodes[self.peak].operands) if liveness.nodes else set()
        self.free = at_peak | set(liveness.graph.ends)  # alive at the peak, whatever is computed again
        for index, node in enumerate(liveness.nodes[self.peak + 1 :], self.peak + 1):
            for operand in node.operands:
                if self._is_before(operand) and operand not in self.free and index in self._late:
                    self.needed.setdefault(operand, index)
        self.kept = self._kept()
        self.repeated = self._repeated()

    def _is_before(self, value: Value) -> bool:
        return self.liveness.index.get(value.node, self.peak) < self.peak

    def _repeated(self) -> dict[Node, int]:
        """The nodes that are computed again, with the first node that needs them."""
        kept = self.kept
        first: dict[Node, int] = {}
        waiting = [(value, index) for value, index in self.needed.items() if value not in kept]
        while waiting:
            value, index = waiting.pop()
            node = value.node
            if node in first and first[node] <= index:
                continue
            first[node] = index
            for operand in node.operands:
                if operand not in kept and self._is_before(operand):
                    waiting.append((operand, index))
        return first

    def _kept(self) -> set[Value]:
        """The values from before the peak that stay in memory: a minimum cut between what is fed and what is needed."""
        import networkx as nx

        network: nx.DiGraph = nx.DiGraph()
        count = len(self.liveness.nodes)
        waiting, seen = list(self.needed), set(self.needed)
        for value in self.needed:
            network.add_edge((value, 1), "end")
        while waiting:
            value = waiting.pop()
            node = value.node
            size = self.liveness.bytes(value)
            dearer = 1 + _EARLIER * (1 - self.liveness.index[node] / count)
            if value in self.free:  # costs nothing either
                continue
            network.add_edge((value, 0), (value, 1), capacity=round(size * dearer) + 1)
            if size < self.smallest or not node.operands or not self.may_repeat(self.liveness, node):
                network.add_edge("start", (value, 0))
                continue
            for operand in node.operands:  # what is fed costs nothing
                if not self._is_before(operand):
                    continue
                network.add_edge((operand, 1), (value, 0))
                if operand not in seen:
                    seen.add(operand)
                    waiting.append(operand)
        if not self.needed or "start" not in network:
            return set(self.needed)
        _, (reached, _) = nx.minimum_cut(network, "start", "end", flow_func=nx.algorithms.flow.boykov_kolmogorov)
        return {value for value in seen if (value, 1) not in reached and (value, 0) in reached} | self.free

    def rewritten(self) -> Graph:
        """The graph with copies of the repeated nodes, each behind a value that is computed late."""
        new: dict[Value, Value] = {}
        copies: dict[Value, Value] = {}
        barriers: dict[tuple[Value, Value], Value] = {}
        copied = {result for node in self.repeated for result in node.results} - self.kept

        def copy(node: Node) -> None:
            operands = [copies.get(operand, operand) for operand in node.operands]
            if operands == list(node.operands):
                key = operands[0], new[self._late[self.repeated[node]]]
                operands[0] = barriers.setdefault(key, Barrier()(*key))
            results = with_operands(node, tuple(operands)).results
            copies.update((old, result) for old, result in zip(node.results, results, strict=True) if old in copied)

        for node in self.liveness.graph:
            if self.liveness.index.get(node, -1) < self.peak:
                new.update(zip(node.results, node.results, strict=True))
                continue
            waiting = [operand for operand in node.operands if operand in copied]
            while waiting:
                inner = [
                    operand for operand in waiting[-1].node.operands if operand in copied and operand not in copies
                ]
                if waiting[-1] in copies:
                    waiting.pop()
                elif inner:
                    waiting += inner
                else:
                    copy(waiting.pop().node)
            operands = tuple(copies.get(operand, new[operand]) for operand in node.operands)
            rebuilt = node if operands == node.operands else with_operands(node, operands)
            new.update(zip(node.results, rebuilt.results, strict=True))
        return with_ends(self.liveness.graph, new)

    @cached_property
    def _late(self) -> Mapping[int, Value]:
        """For each node behind the peak a value that is computed shortly before it: the end of the longest chain."""
        depth: dict[Node, int] = {}
        late: dict[int, Value] = {}
        deepest: Value | None = None
        for index, node in enumerate(self.liveness.nodes[self.peak :], self.peak):
            inner = [operand for operand in node.operands if operand.node in depth and operand.type.dtype.is_float]
            own = max(inner, key=lambda operand: depth[operand.node], default=deepest)
            if own is not None:
                late[index] = own
            before = [depth[operand.node] for operand in node.operands if operand.node in depth]
            depth[node] = 1 + max(before, default=0)
            if node.results[0].type.dtype.is_float:
                deepest = node.results[0]
        return late
