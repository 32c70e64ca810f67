"""A graph whose values have names: a model, or one step of a recurrence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from compiler.derivation import BackwardStep
from compiler.dims import Size
from compiler.formulas.expression_makers import number
from compiler.formulas.notation import Writer, is_transparent
from compiler.formulas.symbols import Symbol, Symbols, name_of_result, named_values
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Placeholder, SizeOf
from compiler.operators.linear import MatMul
from compiler.operators.shaping import Transpose
from grammar import syntax

HEAVY = 9  # the most operators in one expression
SHORT = 4  # the most operators in an expression of the model that is written twice


class Scope:
    """A graph whose values have names: the model, or one step."""

    def __init__(self, ends: Sequence[Value], symbols: Symbols, known: dict[Value, Symbol], path: str) -> None:
        self.symbols, self.path = symbols, path
        self.nodes = Graph({}, {str(index): end for index, end in enumerate(ends)}).nodes
        self.order = {node: index for index, node in enumerate(self.nodes)}
        self.names = dict(known)
        self.columns = _columns(self.nodes)
        for node in self.nodes:
            if isinstance(node.op, Scan):
                self._name_results(node, node.op)
        self.names = named_values(self.nodes, self.names, symbols)
        for node in self.nodes:  # what a step sees whole has a name
            if isinstance(node.op, Scan):
                for operand in node.operands[node.op.states + node.op.slices :]:
                    if operand not in self.names and not isinstance(operand.node.op, (Constant, SizeOf)):
                        self.names[operand] = symbols.claim(Symbol(node.origin.path, "shared"))

    def arriving(self, node: Node) -> Iterator[tuple[Symbol, Value]]:
        """What the steps of a recurrence get: its first states and its sequences; nothing for any other node."""
        if not isinstance(node.op, Scan):
            return
        scan, path = node.op, node.origin.path
        length = scan.length(*(operand.type for operand in node.operands))
        first = written_size(length - 1) if scan.reverse else number(0)
        formal = list(scan.body.inputs.items())[: scan.states + scan.slices]
        for index, ((label, value), operand) in enumerate(zip(formal, node.operands, strict=False)):
            if index < scan.states:
                yield Symbol(path, label, False, first), operand
            else:
                named = name_of_result(value)
                yield Symbol(path, named.text if named is not None else label), operand

    def _name_results(self, node: Node, scan: Scan) -> None:
        """Names for the results of a recurrence: of its states after the last step, and of all outputs."""
        length = scan.length(*(operand.type for operand in node.operands))
        for index, (label, end) in enumerate(zip(state_labels(scan), scan.body.outputs.values(), strict=True)):
            if index < scan.states:
                last = number(-1) if scan.reverse else written_size(length)
                self.names[node.results[index]] = Symbol(node.origin.path, label, False, last)
                continue
            named = name_of_result(end)
            text = named.text if named is not None else "out"
            symbol = Symbol(node.origin.path, text, named is not None and named.primed)
            self.names[node.results[index]] = self.symbols.claim(symbol)


def scope_of_step(
    scan: Scan, operands: Iterable[Value], inputs: Iterable[Value], ends: tuple[Value, ...], outer: Scope, path: str
) -> Scope:
    """The names in a step: `inputs` and `ends` are those of the step, `operands` those of the recurrence."""
    known: dict[Value, Symbol] = {}
    formal = list(scan.body.inputs.items())
    for index, (value, operand) in enumerate(zip(inputs, operands, strict=True)):
        if index < scan.states:
            known[value] = Symbol(path, state_labels(scan)[index])
        elif index < scan.states + scan.slices:
            named = name_of_result(formal[index][1])
            known[value] = Symbol(path, named.text if named is not None else formal[index][0])
        elif operand in outer.names:
            known[value] = outer.names[operand]
    symbols = Symbols()
    for symbol in known.values():
        symbols.claim(symbol)
    scope = Scope(ends, symbols, known, path)
    for end in ends[scan.states :]:
        if end not in scope.names and end.node.operands:
            scope.names[end] = symbols.claim(Symbol(path, "out"))
    return scope


def written_size(size: Size) -> syntax.Expression:
    """A size as an expression."""
    return Writer(lambda value: None).size(size)


def scan_of(step: BackwardStep) -> Scan:
    """The recurrence that a step is of."""
    scan = step.forward.op
    assert isinstance(scan, Scan)
    return scan


def state_labels(scan: Scan) -> list[str]:
    """The labels of a step's outputs: the states by name."""
    states = list(scan.body.inputs)[: scan.states]
    return [*states, *list(scan.body.outputs)[scan.states :]]


def is_constant(value: Value) -> bool:
    """Whether a value is a number, a constant or a size, in any shape."""
    while value.node.operands and is_transparent(value.node):
        (value, *_) = value.node.operands
    return isinstance(value.node.op, (Constant, SizeOf))


def _columns(nodes: Iterable[Node]) -> set[Value]:
    """The weights that are written before their operand: `x @ W^T` with a parameter."""
    columns: set[Value] = set()
    for node in nodes:
        if isinstance(node.op, MatMul):
            turned = node.operands[1].node
            if isinstance(turned.op, Transpose) and turned.op.permutation == (1, 0):
                (weight,) = turned.operands
                if isinstance(weight.node.op, Placeholder):
                    columns.add(weight)
    return columns


def owners_of(scope: Scope) -> dict[Value, tuple[Node, ...]]:
    """Of each value, the nodes with a name that use it first."""
    users: dict[Value, dict[Node, None]] = {}
    for node in reversed(scope.nodes):
        is_owner = isinstance(node.op, Scan) or any(value in scope.names for value in node.results)
        if is_owner and node.operands:
            owners = [node]
        else:
            owners = [owner for value in node.results for owner in users.get(value, {})]
        for operand in node.operands:
            users.setdefault(operand, {}).update(dict.fromkeys(owners))
    return {value: tuple(owners) for value, owners in users.items()}


def values_to_name(
    roots: Sequence[Value], is_named: Callable[[Value], bool], cheap: Callable[[Value], bool]
) -> Iterator[Value]:
    """The values to give a name: used more than once by the expressions of `roots`, or part of a very long one.

    `cheap` ones are written twice where they are short. A value is named as soon as it is yielded.
    """
    nodes = Graph({}, {str(index): root for index, root in enumerate(roots)}).nodes
    ends = set(roots)
    uses: Counter[Value] = Counter()
    for node in reversed(nodes):
        (first, *_) = node.results
        through = is_transparent(node) and not is_named(first) and first not in ends
        for operand in node.operands:
            uses[operand] += uses[first] if through else 1
    weights: dict[Value, int] = {}
    for node in nodes:
        if not node.operands:
            continue
        weight = sum(weights.get(operand, 0) for operand in node.operands if not is_named(operand))
        weight += not is_transparent(node)
        for value in node.results:
            weights[value] = weight
            least = SHORT if cheap(value) else 1
            if not is_named(value) and not is_transparent(node):
                if weight > HEAVY or (uses[value] > 1 and weight > least):
                    yield value
