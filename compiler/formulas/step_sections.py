"""The gradient of one step of a recurrence as equations."""

from __future__ import annotations

from compiler.derivation import BackwardStep, Derivation
from compiler.formulas.expression_makers import binary, name, number
from compiler.formulas.gradient_sections import ReadStep, SectionReader
from compiler.formulas.scopes import Scope, state_labels
from compiler.formulas.sections import Equation, Group, Section
from compiler.formulas.symbols import Symbol, gradient_symbol
from compiler.graph import Value
from compiler.operators.control import Scan


class StepReader(SectionReader):
    """One step of a recurrence while it is read."""

    def __init__(
        self,
        derivation: Derivation,
        scope: Scope,
        definition: str,
        read_step: ReadStep,
        step: BackwardStep,
        operands: dict[int, Symbol],
    ) -> None:
        super().__init__(derivation, scope, definition, read_step)
        self.step, self.operand_names = step, operands
        # What arrives from the step after, where it is all of the gradient of a next state, and that state
        self.whole_arrivals: dict[Value, tuple[Value, Symbol]] = {}
        scan = step.forward.op
        assert isinstance(scan, Scan)
        self.scan = scan

    def stand_ins(self) -> None:
        """What comes from outside and from the step after are names, as are the gradients of the step's inputs."""
        scan, step, symbols = self.scan, self.step, self.scope.symbols
        labels = state_labels(scan)
        for index, symbol in self.operand_names.items():  # gradients of the step's inputs are named from outside
            value = step.inputs[index]
            own = symbol.replace(index=None)
            symbols.claim(own)
            if value in self.gradients:
                self.targets[value] = own
        time = "t" if all(symbol.text != "t" for symbol in self.scope.names.values()) else "step"
        self.time = time
        after = binary("-" if scan.reverse else "+", name(time), number(1))
        for index, (value, _) in step.from_next.items():
            of = Symbol(self.scope.path, labels[index])
            arriving = Symbol(of.path, f"d{of.text}", False, after, of)
            self.stand_in(value, arriving)
            self.late.add(self.placeholders[value])
            end = step.ends[index]
            if self.gradients.get(end) is value and end in self.scope.names:
                self.whole_arrivals[self.placeholders[value]] = end, arriving
        for index, (value, _) in step.from_outside.items():
            end = step.ends[index]
            if self.gradients.get(end) is value and end in self.scope.names:
                self.targets[end] = symbols.gradient(self.scope.names[end])
                self.stand_in(value, self.targets[end])
            else:
                of = self.scope.names.get(end, Symbol(self.scope.path, ""))
                self.stand_in(value, symbols.claim(gradient_symbol(of, put_out=True)))
        for value in step.keeps:
            self.stand_in(value, symbols.claim(Symbol(self.scope.path, "keep")))
        for value in self.gradients:
            if value in self.scope.names and value not in self.targets:
                self.targets[value] = symbols.gradient(self.scope.names[value])
        if step.keeps:  # what goes to the step before is the gradient times `keep`
            for index, value in step.to_before.items():
                if step.inputs[index] in self.gradients:
                    self.gradients[step.inputs[index]] = value

    def _roots(self) -> None:
        super()._roots()
        for final, (end, _) in self.whole_arrivals.items():
            symbol = self.targets[end]
            self.roots = [root for root in self.roots if root[2] is not symbol]
            users = self.owners.get(end, ())
            group = min((self.scope.order[user] for user in users), default=self.scope.order[end.node])
            self.roots.append((group, (0, 0), symbol, final))
            self.names[final] = symbol
        self.roots.sort(key=lambda root: (-root[0], root[1]))

    def _is_whole(self, value: Value) -> bool:
        return value in self.step.inputs[self.scan.states + self.scan.slices :]

    def _equation(self, symbol: Symbol, value: Value) -> Equation:
        arriving = self.whole_arrivals.get(value)
        if arriving is not None and symbol is self.targets[arriving[0]]:
            return Equation(symbol, arriving[1].expression(self.scope.path))
        last = self.scan.states + self.scan.slices
        if symbol.key not in {whole.key for index, whole in self.operand_names.items() if index >= last}:
            return super()._equation(symbol, value)
        own = self.names.get(value)
        if own is not None and own != symbol:
            return Equation(symbol, own.expression(self.scope.path), (self.time,))
        summed = self.writer.summed(value)
        if summed is None:
            return Equation(symbol, self.writer.expression(value), (self.time,))
        return Equation(symbol, summed.item, (self.time, *summed.over))

    def _section(self, parts: tuple[Group | Section, ...]) -> Section:
        keeps = tuple(self.names[self.placeholders[value]] for value in self.step.keeps)
        return Section(self.scope.path, self.definition, parts, self.scan.reverse, is_step=True, keeps=keeps)
