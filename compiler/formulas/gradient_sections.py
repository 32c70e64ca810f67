"""The gradient of a graph as equations, grouped by the equations of the model that they come from.

Each value that the text of a model names gets an equation for its gradient. Values without a name are written where
they are used, except for those that are used more than once, which get a name here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.derivation import BackwardStep, Derivation
from compiler.formulas.expression_makers import number
from compiler.formulas.notation import Summed, Writer
from compiler.formulas.readable import for_reading, operands_with_gradients
from compiler.formulas.scopes import (
    Scope,
    is_constant,
    owners_of,
    scan_of,
    state_labels,
    values_to_name,
    written_size,
)
from compiler.formulas.sections import Equation, Group, Section
from compiler.formulas.step_names import StepNames, needed_values, step_scope
from compiler.formulas.symbols import Symbol, gradient_symbol, leaf_symbol, name_of_result
from compiler.graph import Graph, Node, Value
from compiler.operators.activations import Relu
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Input, SizeOf, Stored
from grammar import syntax
from grammar.source import Span

# The gradients that have an equation: the number of the group, the order in it, the name and the value
Root = tuple[int, tuple[int, int], Symbol, Value]
ReadStep = Callable[[BackwardStep, Scope, StepNames], Section]


class SectionReader:
    """A gradient while it is read as a section; `read_step` reads the steps of a recurrence in it."""

    def __init__(self, derivation: Derivation, scope: Scope, definition: str, read_step: ReadStep) -> None:
        self.derivation, self.scope, self.definition, self.read_step = derivation, scope, definition, read_step
        self.placeholders: dict[Value, Value] = {}
        self.fixed: dict[Value, Symbol] = {}  # placeholders by the names that they have
        self.gradients = {
            value: derivation.gradients[value]
            for node in scope.nodes
            for value in node.results
            if value in derivation.gradients
        }
        self.unreached: list[Value] = []  # inputs and parameters whose gradient is 0, because none reaches them
        self.late: set[Value] = set()  # what is written last in a sum
        self.targets: dict[Value, Symbol] = {}  # of a forward value, the name of its gradient
        self.steps: list[tuple[BackwardStep, Scope, StepNames]] = []
        self.inbound: list[tuple[Node, Symbol, Value]] = []  # what a recurrence gets: its node, a name, a value

    # What stands for itself

    def stand_in(self, value: Value, symbol: Symbol) -> None:
        """Let a value be read as a name."""
        self.placeholders[value] = Input(symbol.text, value.type)()
        self.fixed[self.placeholders[value]] = symbol

    def stand_ins(self) -> None:
        """The results of recurrences, forwards and backwards, are names."""
        symbols = self.scope.symbols
        steps = [
            step
            for step in self.derivation.steps
            if step.forward in self.scope.order and any(operand in self.gradients for operand in step.forward.operands)
        ]
        scopes = [step_scope(step, self.scope) for step in steps]
        symbols.steps += [scope.symbols for scope in scopes]
        states = [self._name_states(step) for step in steps]
        put_out = {  # the stacked outputs whose gradient is not all that the value in the step has
            step.forward.results[index]
            for step in steps
            for index, (value, _) in step.from_outside.items()
            if self.derivation.gradients.get(step.ends[index]) is not value
        }
        for value in self.gradients:
            if value in self.scope.names and value not in self.targets:
                self.targets[value] = symbols.claim(gradient_symbol(self.scope.names[value], put_out=value in put_out))
        for node in self.scope.nodes:
            if isinstance(node.op, Scan):
                for value in node.results:
                    self.stand_in(value, self.scope.names[value])
        for step, scope, named in zip(steps, scopes, states, strict=True):
            self._backward_results(step, scope, named)

    def _name_states(self, step: BackwardStep) -> dict[int, Symbol]:
        """Names for the gradients of a recurrence's states, without the index of a step."""
        node, labels = step.forward, state_labels(scan_of(step))
        named: dict[int, Symbol] = {}
        for index in step.from_next:
            named[index] = self.scope.symbols.gradient_of_state(Symbol(node.origin.path, labels[index]))
            result = node.results[index]
            if result in self.gradients:
                self.targets[result] = named[index].replace(index=self.scope.names[result].index)
        return named

    def _backward_results(self, step: BackwardStep, scope: Scope, states: dict[int, Symbol]) -> None:
        """Names for the gradients of a recurrence's operands, and for what its backward steps get."""
        symbols, path, node, scan = self.scope.symbols, step.forward.origin.path, step.forward, scan_of(step)
        length = scan.length(*(operand.type for operand in node.operands))
        needed = needed_values(step, self.gradients)
        names: dict[int, Symbol] = {}
        for index, result in operands_with_gradients(step):
            operand = node.operands[index]
            if step.inputs[index] not in needed:
                self.placeholders[result] = Input("", result.type)()  # nothing reads it
                continue
            if index < scan.states:
                first = number(0) if not scan.reverse else written_size(length - 1)
                names[index] = states[index].replace(index=first)
            elif index < scan.states + scan.slices:
                formal = list(scan.body.inputs.items())[index]
                named = name_of_result(formal[1])
                names[index] = symbols.gradient(Symbol(path, named.text if named is not None else formal[0]))
            elif self.gradients.get(operand) is result and operand in self.targets and not self._is_whole(operand):
                names[index] = self.targets[operand]
            else:
                of = self.scope.names.get(operand, Symbol(path, "shared"))
                names[index] = symbols.gradient(of)
            self.stand_in(result, names[index])
        outputs = {index: self.targets[node.results[index]] for index in step.from_outside}
        self.steps.append((step, scope, StepNames(names, states, outputs, needed)))
        after = number(-1) if scan.reverse else written_size(length)
        for index, (_, value) in step.from_next.items():
            if step.inputs[index] in needed:
                self.inbound.append((node, states[index].replace(index=after), value))
        for index, (_, value) in step.from_outside.items():
            self.inbound.append((node, outputs[index], value))

    # Reading

    def read(self) -> Section:
        """The equations."""
        self.stand_ins()
        scope = self.scope
        self.forward = [value for node in scope.nodes for value in node.results]
        ends: dict[str, Value] = {f"forward {index}": value for index, value in enumerate(self.forward)}
        backward = sorted(self.gradients, key=lambda value: -scope.order[value.node])
        ends |= {f"backward {index}": self.gradients[value] for index, value in enumerate(backward)}
        ends |= {f"inbound {index}": value for index, (_, _, value) in enumerate(self.inbound)}
        self.cuts = self._cuts(backward)
        read = for_reading(ends, self.derivation, self.placeholders, self.cuts)
        self.final = {value: read[f"forward {index}"] for index, value in enumerate(self.forward)}
        self.final_gradient = {value: read[f"backward {index}"] for index, value in enumerate(backward)}
        self.final_inbound = [read[f"inbound {index}"] for index in range(len(self.inbound))]
        self.names: dict[Value, Symbol] = dict(self.fixed)
        for value in self.forward:
            if value in scope.names and not isinstance(self.final[value].node.op, (Constant, SizeOf)):
                self.names.setdefault(self.final[value], scope.names[value])
        self.owners = owners_of(scope)
        self.unnamed = {self.final[value]: value for value in self.forward if self.final[value] not in self.names}
        columns = {self.final[value] for value in scope.columns if value in self.final}
        rectified = {self.final[value] for value in self.forward if isinstance(value.node.op, Relu)}
        rectified |= {cut for value, cut in self.cuts.items() if isinstance(value.node.op, Relu)}
        self.writer = Writer(self.name_of, columns, self.late, rectified)
        self._roots()
        self._name_repeated()
        return self._write()

    def _cuts(self, backward: Sequence[Value]) -> dict[Value, Value]:
        """A placeholder for each value with a name, forwards and backwards."""
        cuts: dict[Value, Value] = {}
        named = [(value, self.scope.names.get(value)) for value in self.forward if value.node.operands]
        named += [(self.gradients[value], self.targets.get(value)) for value in backward]
        for value, symbol in named:
            if symbol is None or value in cuts or value in self.placeholders or is_constant(value):
                continue
            cuts[value] = Input(symbol.text, value.type)()
            self.fixed[cuts[value]] = symbol
        return cuts

    def name_of(self, value: Value) -> syntax.Expression | None:
        """The name of a value where it is used."""
        symbol = self.names.get(value)
        return symbol.expression(self.scope.path) if symbol is not None else None

    def _roots(self) -> None:
        """The gradients that have an equation, in backward order, each with its group."""
        scope = self.scope
        self.roots: list[Root] = []
        self.begun: set[Symbol] = set()  # whose equations are written
        for value, symbol in self.targets.items():
            if value in self.unreached:
                continue
            final = self.final_gradient[value]
            is_seed = not self.owners.get(value) and is_constant(final)  # the gradient of the loss itself
            if not is_seed and self.fixed.get(final) is not symbol:
                self._add_root(value, symbol, final)
        for (node, symbol, _), final in zip(self.inbound, self.final_inbound, strict=True):
            if not any(symbol.key == other.key and final is value for _, _, other, value in self.roots):
                self.roots.append((scope.order[node], (0, 0), symbol, final))
        self.roots.sort(key=lambda root: (-root[0], root[1]))
        for _, _, symbol, final in self.roots:
            if not is_constant(final):
                self.names.setdefault(final, symbol)

    def _add_root(self, value: Value, symbol: Symbol, final: Value) -> None:
        """An equation for a gradient, in the group of the first equation of the model that uses the value.

        In a group, weights come first. A value that nothing uses, such as a next state, is in its own group.
        """
        order = self.scope.order
        users = self.owners.get(value, ())
        group = min((order[user] for user in users), default=order[value.node])
        if not users:
            rank = (0, 0)
        elif isinstance(value.node.op, Stored) or self._is_whole(value):
            rank = (1, order[value.node])
        else:
            rank = (2, -order[value.node])
        self.roots.append((group, rank, symbol, final))

    def _is_whole(self, value: Value) -> bool:
        """Whether a value is an input that every step of a recurrence sees whole."""
        return False

    def _name_repeated(self) -> None:
        """Names for values that several equations use, or that would make one too long."""
        self.own: dict[Value, Symbol] = {}  # names given here
        self.pre_activations: list[tuple[Node, Symbol, Value]] = []
        self.gradient_of_pre_activation: dict[Symbol, Value] = {}
        gradient_of = {final: value for value, final in reversed(list(self.final_gradient.items()))}
        forward = self.unnamed
        roots = [final for _, _, _, final in self.roots]
        for value in values_to_name(roots, self.names.__contains__, forward.__contains__):
            self._give_name(value, gradient_of.get(value), value in forward)
        groups = {group for group, _, _, _ in self.roots}
        for owner, symbol, _ in self.pre_activations:  # an equation that has no other gradient
            group = self.scope.order[owner]
            if group not in groups:
                value = self.gradient_of_pre_activation[symbol]
                self.roots.append((group, (0, 0), self.own[value], value))
        self.roots.sort(key=lambda root: (-root[0], root[1]))

    def _give_name(self, value: Value, of: Value | None, is_forward: bool) -> None:
        symbols, scope = self.scope.symbols, self.scope
        if is_forward:
            source = self.unnamed[value]
            self.own[value] = symbols.claim(self._symbol_near(source, "s"))
        elif of is not None and self.final[of] in self.unnamed and of.node.operands:
            symbol = self.own.get(self.final[of]) or symbols.claim(self._symbol_near(of, "a"))
            self.names.setdefault(self.final[of], symbol)
            users = self.owners.get(of, ())
            owner = min(users, key=lambda user: scope.order[user]) if users else of.node
            self.pre_activations.append((owner, symbol, self.final[of]))
            self.gradient_of_pre_activation[symbol] = value
            self.own[value] = symbols.gradient(symbol)
        else:
            self.own[value] = symbols.claim(Symbol(scope.path, "g"))
        self.names[value] = self.own[value]

    def _symbol_near(self, value: Value, letter: str) -> Symbol:
        """A name for a value that has none, from that of the equation which it is part of: `a_h`."""
        users = self.owners.get(value, ())
        for user in sorted(users, key=lambda node: self.scope.order[node]):
            for result in user.results:
                if result in self.scope.names:
                    near = self.scope.names[result]
                    return Symbol(near.path, f"{letter}_{near.text}")
        return Symbol(self.scope.path, letter)

    # Writing

    def _equation(self, symbol: Symbol, value: Value) -> Equation:
        own = self.names.get(value)
        if own is not None and own != symbol:
            return Equation(symbol, own.expression(self.scope.path))
        summed = self.writer.summed(value)
        if summed is not None and summed.over:
            return self._summed_equation(symbol, summed)
        return Equation(symbol, self.writer.expression(value))

    def _summed_equation(self, symbol: Symbol, summed: Summed) -> Equation:
        return Equation(symbol, summed.item, summed.over)

    def _write(self) -> Section:
        self.written: set[Value] = set()
        self.roots_by_name = {root[2]: root for root in self.roots}
        groups: dict[int, list[Equation]] = {}
        for root in self.roots:
            self._write_root(root, groups.setdefault(root[0], []))
        steps = {self.scope.order[step.forward]: (step, scope, names) for step, scope, names in self.steps}
        parts: list[Group | Section] = []
        for group in sorted({*groups, *steps}, reverse=True):
            node = self.scope.nodes[group]
            if group in steps:
                step, scope, names = steps[group]
                arriving = {symbol.key for owner, symbol, _ in self.inbound if owner is node}
                inbound = tuple(e for e in groups.get(group, ()) if e.target.key in arriving)
                outbound = tuple(e for e in groups.get(group, ()) if e.target.key not in arriving)
                parts.append(Group(self._arriving(node), None, inbound))
                parts.append(self.read_step(step, scope, names))
                if outbound:
                    parts.append(Group((), None, outbound, f"out of the steps of {node.origin.path}"))
            else:
                parts.append(Group(self._sources(node), self._span(node), tuple(groups[group])))
        if self.unreached:
            title = f"always 0: no gradient reaches {'it' if len(self.unreached) == 1 else 'them'}"
            parts.append(Group((), None, tuple(map(self._zero, self.unreached)), title))
        return self._section(tuple(parts))

    def _zero(self, value: Value) -> Equation:
        """That the gradient of an input or parameter is 0."""
        symbol = self.scope.names.get(value) or leaf_symbol(value.node)
        assert symbol is not None
        return Equation(self.scope.symbols.gradient(symbol), number(0))

    def _section(self, parts: tuple[Group | Section, ...]) -> Section:
        return Section(self.scope.path, self.definition, parts)

    def _write_root(self, root: Root, equations: list[Equation]) -> None:
        """Write the equation of a gradient, behind those of the same group that it uses."""
        group, _, symbol, final = root
        if symbol in self.begun or (final in self.written and self.own.get(final) is symbol):
            return
        self.begun.add(symbol)
        nodes = Graph({}, {"": final}).nodes
        used = [self.fixed[node.results[0]] for node in nodes if node.results[0] in self.fixed]
        for other in map(self.roots_by_name.get, used):
            if other is not None and other[0] == group:
                self._write_root(other, equations)
        for node in nodes:
            inner = node.results[0]
            if inner in self.own and inner not in self.written:
                if inner is final and self.names[inner] is not self.own[inner]:
                    continue
                self.written.add(inner)
                equations.append(self._equation(self.own[inner], inner))
        if self.own.get(final) is not symbol:
            self.written.add(final)
            equations.append(self._equation(symbol, final))

    def _arriving(self, node: Node) -> tuple[Equation, ...]:
        """What the steps of a recurrence get."""
        return tuple(self._plain(symbol, self.final[value]) for symbol, value in self.scope.arriving(node))

    def _sources(self, node: Node) -> tuple[Equation, ...]:
        """The model's equations that a group comes from."""
        equations = []
        for value in node.results:
            if value in self.scope.names:
                equations.append(self._plain(self.scope.names[value], self.final[value]))
        for owner, symbol, value in reversed(self.pre_activations):
            if owner is node:
                equations.append(self._plain(symbol, value))
        return tuple(equations)

    def _plain(self, symbol: Symbol, value: Value) -> Equation:
        if self.names.get(value) not in (None, symbol):
            return Equation(symbol, self.writer.operand(value))
        return Equation(symbol, self.writer.expression(value))

    def _span(self, node: Node) -> Span | None:
        for value in node.results:
            named = name_of_result(value)
            if named is not None:
                return named.span
        return node.origin.span
