"""Rewrite rules as data: a pattern, a condition and a replacement.

A pattern is made by calling operators on variables, and reads as the expression that it matches:

    x, zero = variables("x zero")
    add, neg = pattern_of(Add), pattern_of(Neg)
    rule("x + -0", add(x, zero), lambda x: x, when=adds_nothing)
    rule("-(-x)", neg(neg(x)), lambda x: x)

What people write in several ways is one pattern with alternatives, and numbers that they round are `near` them:

    half = either(mul(x, 0.5), div(x, 2))
    third = mul(x, near(1 / 3))

`apply_rules` does the rest for all rules: it looks up those that may match by the operator at a pattern's root, tries
the operands of commutative operators both ways, counts users, rejects a replacement of another type, keeps origins, and
continues until no rule applies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from inspect import signature
from typing import Any, Literal, TypeVar

from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.leaves import Constant
from compiler.operators.shaping import Expand
from compiler.origins import origin
from compiler.rewrite import rebuild_changed, with_ends, with_operands
from grammar.record import Record

Keeps = Literal["bits", "rounding"]  # every bit of every result, or every result to within rounding

_WRITTEN = 1e-8  # relative: the precision to which a number such as 0.70710678 is written out
_LARGEST_CONSTANT = 4096  # bytes of a constant whose elements are compared with a number
_MOST_SWEEPS = 100  # after which the rules are taken not to terminate
_LONGEST_CHAIN = 50  # rules applied to the replacement of a rule, and so on

_F = TypeVar("_F", bound=Callable[..., object])


class Variable(Record):
    """Any value, or any attribute; a variable that occurs twice matches the same one."""

    name: str


class Application(Record):
    """One of several operators applied to patterns; a pattern object that occurs twice matches the same value."""

    operators: tuple[type[Operator], ...]
    operands: tuple[Pattern, ...]
    attributes: Mapping[str, Any]
    name: str | None = None
    used_once: bool = False

    def named(self, name: str) -> Application:
        """The same pattern, whose value is bound to this name."""
        return self.replace(name=name)

    @property
    def only_use(self) -> Application:
        """The same pattern, for a value with no other user in the graph."""
        return self.replace(used_once=True)


class Near(Record):
    """A constant that is this number in every element, to within the precision of its dtype."""

    number: float


class Either(Record):
    """Any of several patterns, tried in order."""

    patterns: tuple[Pattern, ...]

    @property
    def operators(self) -> tuple[type[Operator], ...]:
        """The operators that a value that matches may be the result of."""
        applied = (pattern for pattern in self.patterns if isinstance(pattern, (Application, Either)))
        return tuple(dict.fromkeys(operator for pattern in applied for operator in pattern.operators))


# A number is a constant of exactly this number in every element.
Pattern = Variable | Application | Either | Near | int | float
Bindings = dict["str | Application", Any]


class Rule(Record):
    """What matches `pattern` is replaced by the result of `make`, if `when` holds.

    Both functions are called with those of the pattern's variables that their parameters name. A `closed` rule does not
    apply if a value inside the match, other than the root, is used outside it: that value would be computed anyway.
    """

    name: str
    pattern: Application | Either
    make: Callable[..., Value | tuple[Value, ...]]
    when: Callable[..., bool]
    keeps: Keeps = "bits"
    closed: bool = False


Rules = tuple[Rule, ...]


def variables(names: str) -> tuple[Variable, ...]:
    """Variables with these names, separated by spaces."""
    return tuple(map(Variable, names.split()))


def pattern_of(*operators: type[Operator]) -> Callable[..., Application]:
    """A constructor of patterns of any of these operators: called with patterns for operands, attributes by name."""

    def pattern(*operands: Pattern, **attributes: Any) -> Application:
        return Application(operators, operands, attributes)

    return pattern


def near(number: float) -> Near:
    """A pattern of a constant that is this number to within the precision of its dtype, or to 8 digits in f64."""
    return Near(number)


def either(*patterns: Pattern) -> Either:
    """A pattern that matches what any of these does."""
    return Either(patterns)


def rule(
    name: str,
    pattern: Application | Either,
    make: Callable[..., Value | tuple[Value, ...]],
    *,
    when: Callable[..., bool] = lambda: True,
    keeps: Keeps = "bits",
    closed: bool = False,
) -> Rule:
    """A rule; ValueError where a function has a parameter that is not a variable of the pattern."""
    names = set(_names(pattern))
    return Rule(name, pattern, _call_by_name(make, names), _call_by_name(when, names), keeps, closed)


def _names(pattern: Pattern) -> Iterator[str]:
    if isinstance(pattern, Variable):
        yield pattern.name
    elif isinstance(pattern, Application):
        if pattern.name is not None:
            yield pattern.name
        for inner in (*pattern.operands, *pattern.attributes.values()):
            if isinstance(inner, (Variable, Application, Either)):
                yield from _names(inner)
    elif isinstance(pattern, Either):
        for inner in pattern.patterns:
            yield from _names(inner)


def _call_by_name(function: _F, names: set[str]) -> _F:
    """A function that takes all variables by name and passes on those that `function` has parameters for."""
    parameters = tuple(signature(function).parameters)
    unknown = set(parameters) - names
    if unknown:
        raise ValueError(f"the pattern has no {', '.join(sorted(unknown))}")
    return lambda **bound: function(**{name: bound.get(name) for name in parameters})  # type: ignore[return-value]


def is_everywhere(value: Value, number: float) -> bool:
    """Whether all elements of a value, of which there is at least one, are known to be this number."""
    op = value.node.op
    if isinstance(op, Expand):
        return is_everywhere(value.node.operands[0], number)
    if not isinstance(op, Constant) or len(op.data) > _LARGEST_CONSTANT:
        return False
    return bool(op.data) and (op.compute() == number).all() if op.type.rank else op.scalar() == number


def is_near(value: Value, number: float) -> bool:
    """Whether all elements of a value are known to be this number, to within the precision of its dtype."""
    op = value.node.op
    if isinstance(op, Expand):
        return is_near(value.node.operands[0], number)
    if not isinstance(op, Constant) or not op.data or len(op.data) > _LARGEST_CONSTANT:
        return False
    tolerance = max(value.type.dtype.eps, _WRITTEN) if value.type.dtype.is_float else 0
    difference = abs(op.compute().astype(float) - number)
    return bool((difference <= tolerance * abs(number)).all())


# The driver


def apply_rules(graph: Graph, rules: Rules) -> Graph:
    """`graph` with the rules applied until none applies; the graph itself where none does.

    Nodes that a rule creates get the origin of the node they replace. RuntimeError where the rules do not terminate.
    """
    index = _by_root(rules)
    counts_users = any(candidate.closed or _counts_users(candidate.pattern) for candidate in rules)
    for _ in range(_MOST_SWEEPS):
        if not _may_apply(rules, graph.operators):
            return graph
        sweep = _Sweep(graph, index, counts_users)
        if not sweep.fired:
            return graph
        graph = with_ends(graph, sweep.new)
        if not counts_users:  # every node has been tried on its final operands
            return graph
    raise RuntimeError(f"the rules {', '.join(candidate.name for candidate in rules)} do not terminate")


@lru_cache(maxsize=256)
def _may_apply(rules: Rules, operators: frozenset[type[Operator]]) -> bool:
    """Whether the pattern of a rule may match in a graph that has these operators and no others.

    Once one does, the others are tried too, since a replacement may have any operator.
    """
    return any(_may_match(candidate.pattern, operators) for candidate in rules)


def _may_match(pattern: Pattern, operators: frozenset[type[Operator]]) -> bool:
    if isinstance(pattern, Either):
        return any(_may_match(alternative, operators) for alternative in pattern.patterns)
    if not isinstance(pattern, Application):
        return True
    inner = all(_may_match(operand, operators) for operand in pattern.operands)
    return inner and not operators.isdisjoint(pattern.operators)


def _counts_users(pattern: Pattern) -> bool:
    if isinstance(pattern, Either):
        return any(map(_counts_users, pattern.patterns))
    return isinstance(pattern, Application) and (pattern.used_once or any(map(_counts_users, pattern.operands)))


# For each operand of a pattern, the operators that may produce it; None where any may
Producers = tuple["frozenset[type[Operator]] | None", ...]
_NUMBERS: frozenset[type[Operator]] = frozenset({Constant, Expand})


@lru_cache(maxsize=256)
def _by_root(rules: Rules) -> Mapping[type[Operator], tuple[tuple[Rule, tuple[Producers, ...]], ...]]:
    """The rules by the operators at their root, each with the producers of its alternatives."""
    index: dict[type[Operator], tuple[tuple[Rule, tuple[Producers, ...]], ...]] = {}
    for candidate in rules:
        producers = tuple(_alternatives(candidate.pattern))
        for operator in candidate.pattern.operators:
            index[operator] = (*index.get(operator, ()), (candidate, producers))
    return index


def _alternatives(pattern: Pattern) -> Iterator[Producers]:
    if isinstance(pattern, Either):
        for alternative in pattern.patterns:
            yield from _alternatives(alternative)
    elif isinstance(pattern, Application):
        yield tuple(map(_producers, pattern.operands))


def _producers(pattern: Pattern) -> frozenset[type[Operator]] | None:
    if isinstance(pattern, Application):
        return frozenset(pattern.operators)
    if isinstance(pattern, (int, float, Near)):
        return _NUMBERS
    if isinstance(pattern, Either):
        several = [_producers(alternative) for alternative in pattern.patterns]
        known = [producers for producers in several if producers is not None]
        return frozenset[type[Operator]]().union(*known) if len(known) == len(several) else None
    return None


def _may_produce(alternatives: tuple[Producers, ...], node: Node) -> bool:
    """Whether the operators that produce a node's operands are those of a pattern: most rules end here."""
    types = [type(operand.node.op) for operand in node.operands]
    for producers in alternatives:
        if len(producers) != len(types):
            continue
        if all(known is None or op in known for known, op in zip(producers, types, strict=True)):
            return True
        if node.op.commutative and all(
            known is None or op in known for known, op in zip(producers, reversed(types), strict=True)
        ):
            return True
    return False


class _Sweep:
    """One sweep over a graph, producers first; the replacement of a rule is itself rewritten before its users are.

    Users are counted in the graph before the sweep: a node that a rule leaves without a user still counts as one, so
    that another rule may apply only in the next sweep.
    """

    def __init__(self, graph: Graph, index: Mapping[type[Operator], Any], counts_users: bool) -> None:
        self.index = index
        self.fired = 0
        self.chain = 0  # rules that are being applied, each to the replacement of the one before
        self.new: dict[Value, Value] = {}  # of those that change
        self.final: dict[Node, tuple[Value, ...]] = {}  # nodes that have been rewritten, and their replacements
        self.uses: Mapping[Value, int] = graph.uses if counts_users else {}
        self.more_uses: Counter[Value] = Counter()  # of values that take the place of others
        new = self.new
        for node in graph:
            rebuilt = rebuild_changed(node, new)
            if type(node.op) in index:
                results = self._rewrite(rebuilt)
            else:
                results = self.final[rebuilt] = rebuilt.results
            if results is not node.results:
                new.update(pair for pair in zip(node.results, results, strict=True) if pair[0] is not pair[1])
                if counts_users:
                    for old, result in zip(node.results, results, strict=True):
                        if old is not result:
                            self.more_uses[result] += self.uses[old]

    def _uses_of(self, value: Value) -> int:
        return self.uses.get(value, 0) + self.more_uses[value]

    def _rewrite(self, node: Node) -> tuple[Value, ...]:
        """The replacements of the results of a node whose operands are final."""
        if node in self.final:
            return self.final[node]
        results = node.results
        for candidate, producers in self.index.get(type(node.op), ()):
            if not _may_produce(producers, node):
                continue
            replacement = self._replacement(candidate, node)
            if replacement is not None:
                self.fired += 1
                self.chain += 1
                if self.chain > _LONGEST_CHAIN:
                    raise RuntimeError(f"the rule {candidate.name} does not terminate")
                results = tuple(self._finalize(value) for value in replacement)
                self.chain -= 1
                break
        self.final[node] = results
        return results

    def _finalize(self, value: Value) -> Value:
        """The final replacement of a value that a rule created."""
        node = value.node
        if node not in self.final:
            operands = tuple(self._finalize(operand) for operand in node.operands)
            self.more_uses.update(operands)
            same = all(left is right for left, right in zip(operands, node.operands, strict=True))
            self.final[node] = self._rewrite(node if same else with_operands(node, operands))
        return self.final[node][value.index]

    def _replacement(self, rule: Rule, node: Node) -> tuple[Value, ...] | None:
        for bound in self._matches(rule.pattern, node, {}):
            names = {key if isinstance(key, str) else key.name: value for key, value in bound.items()}
            arguments = {name: value for name, value in names.items() if name is not None}
            if (rule.closed and not self._is_closed(bound, node)) or not rule.when(**arguments):
                continue
            with origin(node.origin.span, node.origin.path):
                replacement = rule.make(**arguments)
            values = replacement if isinstance(replacement, tuple) else (replacement,)
            if [value.type for value in values] == [result.type for result in node.results]:
                return values
        return None

    def _is_closed(self, bound: Bindings, root: Node) -> bool:
        """Whether all users of the values that a match computes, but for those of its root, are part of it."""
        nodes = {value.node for key, value in bound.items() if isinstance(key, Application)}
        uses = Counter(operand for node in nodes for operand in node.operands)
        return all(node is root or self._uses_of(node.results[0]) == uses[node.results[0]] for node in nodes)

    def _matches(self, pattern: Application | Either, node: Node, bound: Bindings) -> Iterator[Bindings]:
        """The bindings of every way in which a node matches."""
        if isinstance(pattern, Either):
            for alternative in pattern.patterns:
                if isinstance(alternative, (Application, Either)):
                    yield from self._matches(alternative, node, bound)
            return
        if type(node.op) not in pattern.operators or len(node.operands) != len(pattern.operands):
            return
        bound = {**bound, pattern: node.results[0]}
        for name, expected in pattern.attributes.items():
            attribute = getattr(node.op, name)
            if isinstance(expected, Variable):
                expected = bound.setdefault(expected.name, attribute)
            if expected != attribute:
                return
        yield from self._operand_matches(pattern.operands, node.operands, bound)
        if node.op.commutative:
            yield from self._operand_matches(pattern.operands, node.operands[::-1], bound)

    def _operand_matches(
        self, patterns: tuple[Pattern, ...], operands: tuple[Value, ...], bound: Bindings
    ) -> Iterator[Bindings]:
        if not patterns:
            yield bound
            return
        for extended in self._value_matches(patterns[0], operands[0], bound):
            yield from self._operand_matches(patterns[1:], operands[1:], extended)

    def _value_matches(self, pattern: Pattern, value: Value, bound: Bindings) -> Iterator[Bindings]:
        if isinstance(pattern, (int, float)):
            if is_everywhere(value, pattern):
                yield bound
            return
        if isinstance(pattern, Near):
            if is_near(value, pattern.number):
                yield bound
            return
        if isinstance(pattern, Either):
            for alternative in pattern.patterns:
                yield from self._value_matches(alternative, value, bound)
            return
        key = pattern.name if isinstance(pattern, Variable) else pattern
        if key in bound:
            if bound[key] is value:
                yield bound
        elif isinstance(pattern, Variable):
            yield {**bound, pattern.name: value}
        elif len(value.node.results) == 1 and not (pattern.used_once and self._uses_of(value) != 1):
            yield from self._matches(pattern, value.node, bound)
