"""The gradient of one step of a recurrence as equations."""

from __future__ import annotations

from compiler.derivation import BackwardStep, Derivation
from compiler.formulas.expression_makers import binary, name, number
from compiler.formulas.gradient_sections import ReadStep, SectionReader
from compiler.formulas.scopes import Scope, scan_of, state_labels
from compiler.formulas.sections import Equation, Group, Section
from compiler.formulas.step_names import StepNames
from compiler.formulas.symbols import Symbol
from compiler.graph import Value


class StepReader(SectionReader):
    """One step of a recurrence while it is read."""

    def __init__(
        self,
        derivation: Derivation,
        scope: Scope,
        definition: str,
        read_step: ReadStep,
        step: BackwardStep,
        names: StepNames,
        index: str,
    ) -> None:
        super().__init__(derivation, scope, definition, read_step)
        self.step, self.shared_names, self.index, self.scan = step, names, index, scan_of(step)
        # What arrives from the step after, where it is all of the gradient of a next state, and that state
        self.whole_arrivals: dict[Value, tuple[Value, Symbol]] = {}
        self.gradients = {value: grad for value, grad in self.gradients.items() if value in names.needed}

    def stand_ins(self) -> None:
        """What comes from outside and from the step after are names, as are the gradients of the step's inputs."""
        scan, step, names, symbols = self.scan, self.step, self.shared_names, self.scope.symbols
        for symbol in (*names.operands.values(), *names.states.values(), *names.outputs.values()):
            symbols.reserve(symbol)
        for index, symbol in names.operands.items():
            value = step.inputs[index]
            self.targets[value] = symbol.replace(index=None)
            if value not in self.gradients:
                self.unreached.append(value)
        after = binary("-" if scan.reverse else "+", name(self.index), number(1))
        for index, (value, _) in step.from_next.items():
            arriving = names.states[index].replace(index=after)
            self.stand_in(value, arriving)
            self.late.add(self.placeholders[value])
            end = step.ends[index]
            own = self.scope.names.get(end)
            if end in self.gradients and own is not None:
                if own.primed and own.text == state_labels(scan)[index]:
                    self.targets[end] = names.states[index].replace(primed=True, of=own)
                if self.gradients[end] is value:
                    self.whole_arrivals[self.placeholders[value]] = end, arriving
        for index, (value, _) in step.from_outside.items():
            end = step.ends[index]
            self.stand_in(value, names.outputs[index])
            if self.gradients.get(end) is value and end in self.scope.names:
                self.targets[end] = names.outputs[index]
        for value in step.keeps:
            self.stand_in(value, symbols.claim(Symbol(self.scope.path, "keep")))
        super().stand_ins()
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
        if symbol.key not in {whole.key for index, whole in self.shared_names.operands.items() if index >= last}:
            return super()._equation(symbol, value)
        own = self.names.get(value)
        if own is not None and own != symbol:
            return Equation(symbol, own.expression(self.scope.path), (self.index,))
        summed = self.writer.summed(value)
        if summed is None:
            return Equation(symbol, self.writer.expression(value), (self.index,))
        return Equation(symbol, summed.item, (self.index, *summed.over))

    def _zero(self, value: Value) -> Equation:
        return Equation(self.targets[value], number(0))

    def _section(self, parts: tuple[Group | Section, ...]) -> Section:
        keeps = tuple(self.names[self.placeholders[value]] for value in self.step.keeps)
        return Section(self.scope.path, self.definition, parts, self.scan.reverse, self.index, keeps=keeps)
