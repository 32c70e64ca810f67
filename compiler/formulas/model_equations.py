"""A model as equations, in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler.derivation import Derivation
from compiler.formulas.notation import Writer
from compiler.formulas.readable import before_gradient, for_reading
from compiler.formulas.scopes import Scope, is_constant, scope_of_step, values_to_name
from compiler.formulas.sections import Equation, Group, Section
from compiler.formulas.step_names import step_indices
from compiler.formulas.symbols import Symbol, Symbols, name_of_result
from compiler.graph import Graph, Node, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Input
from compiler.origins import Layer
from grammar import syntax
from grammar.source import Span


def model_equations(graph: Graph) -> Section:
    """The equations of a model; the steps of its recurrences are sections of their own."""
    whole = before_gradient(Graph(graph.inputs, graph.outputs))
    symbols = Symbols()
    known: dict[Value, Symbol] = {}
    for name, value in whole.outputs.items():
        if value not in known and value.node.operands and name_of_result(value) is None:
            known[value] = symbols.claim(Symbol("", name))
    ends = [value for value in whole.outputs.values() if value.node.operands]
    return _Forward(Scope(ends, symbols, known, ""), graph.layers, graph.name, (), step_indices(whole)).read()


class _Forward:
    """A graph while it is read; `results` are further names of its values, as those of the next states."""

    def __init__(
        self,
        scope: Scope,
        layers: Mapping[str, Layer],
        definition: str,
        results: tuple[tuple[Symbol, Value], ...],
        step_index: Callable[[int], str],
        depth: int = 0,
        reverse: bool = False,
    ) -> None:
        self.scope, self.layers, self.definition = scope, layers, definition
        self.results, self.step_index, self.depth, self.reverse = results, step_index, depth, reverse

    def read(self) -> Section:
        scope = self.scope
        placeholders: dict[Value, Value] = {}
        self.names: dict[Value, Symbol] = {}
        for node in scope.nodes:
            if isinstance(node.op, Scan):
                for value in node.results:
                    placeholders[value] = self._placeholder(value, scope.names[value])
        named = [
            (node, value, scope.names[value])
            for node in scope.nodes
            for value in node.results
            if value in scope.names and node.operands and not isinstance(node.op, Scan)
        ]
        arriving = [(node, *pair) for node in scope.nodes for pair in scope.arriving(node)]
        cuts = {value: self._placeholder(value, symbol) for _, value, symbol in named if not is_constant(value)}
        ends = {str(index): value for index, (_, value, _) in enumerate(named)}
        ends |= {f"result {index}": value for index, (_, value) in enumerate(self.results)}
        ends |= {f"arriving {index}": value for index, (_, _, value) in enumerate(arriving)}
        read = for_reading(ends, Derivation(), placeholders, cuts)
        for node in scope.nodes:
            if not node.operands and node.results[0] in scope.names:
                self.names.setdefault(node.results[0], scope.names[node.results[0]])
        self.writer = Writer(self.name_of, scope.columns)
        self.own: dict[Value, Symbol] = {}
        for value in values_to_name(list(read.values()), self.names.__contains__, lambda value: True):
            self.own[value] = self.names[value] = scope.symbols.claim(Symbol(scope.path, "s"))
        self.written: set[Value] = set()
        parts: list[Group | Section] = []
        by_node: dict[Node, list[tuple[Symbol, Value]]] = {}
        for index, (node, _, symbol) in enumerate(named):
            by_node.setdefault(node, []).append((symbol, read[str(index)]))
        for index, (node, symbol, _) in enumerate(arriving):
            by_node.setdefault(node, []).append((symbol, read[f"arriving {index}"]))
        for node in scope.nodes:
            pairs = by_node.get(node, [])
            if pairs:
                span = None if isinstance(node.op, Scan) else _span(node)
                parts.append(Group((), span, self._equations(pairs)))
            if isinstance(node.op, Scan):
                parts.append(self._step(node, node.op))
        ends_here = [(symbol, read[f"result {index}"]) for index, (symbol, _) in enumerate(self.results)]
        more = self._equations([(symbol, value) for symbol, value in ends_here if self.names.get(value) is None])
        parts += [Group((), None, more)] if more else []
        index_name = self.step_index(self.depth - 1) if self.depth else ""
        return Section(scope.path, self.definition, tuple(parts), self.reverse, index_name, is_gradient=False)

    def name_of(self, value: Value) -> syntax.Expression | None:
        """The name of a value where it is used."""
        symbol = self.names.get(value)
        return symbol.expression(self.scope.path) if symbol is not None else None

    def _placeholder(self, value: Value, symbol: Symbol) -> Value:
        placeholder = Input(symbol.text, value.type)()
        self.names[placeholder] = symbol
        return placeholder

    def _equations(self, pairs: list[tuple[Symbol, Value]]) -> tuple[Equation, ...]:
        equations: list[Equation] = []
        for symbol, value in pairs:
            for inner in Graph({}, {"": value}):
                result = inner.results[0]
                if result in self.own and result not in self.written and result is not value:
                    self.written.add(result)
                    equations.append(Equation(self.own[result], self.writer.expression(result)))
            name = self.names.get(value)
            if name is None or value in self.own:
                equations.append(Equation(symbol, self.writer.expression(value)))
            elif name is not symbol:
                equations.append(Equation(symbol, name.expression(self.scope.path)))
        return tuple(equations)

    def _step(self, node: Node, scan: Scan) -> Section:
        path = node.origin.path
        inputs, ends = tuple(scan.body.inputs.values()), tuple(scan.body.outputs.values())
        scope = scope_of_step(scan, node.operands, inputs, ends, self.scope, path)
        labels = list(scan.body.inputs)[: scan.states]
        results = tuple(
            (Symbol(path, label, True), end)
            for label, end in zip(labels, ends, strict=False)
            if end not in scope.names or not scope.names[end].primed
        )
        layer = self.layers.get(path)
        definition = layer.definition if layer else ""
        return _Forward(scope, self.layers, definition, results, self.step_index, self.depth + 1, scan.reverse).read()


def _span(node: Node) -> Span | None:
    named = [name for value in node.results if (name := name_of_result(value)) is not None]
    return named[0].span if named else node.origin.span
