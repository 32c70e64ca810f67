"""The equations of a model's gradient, read from the graph that differentiation derives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler.derivation import BackwardStep, Derivation, recorded
from compiler.formulas.gradient_sections import SectionReader
from compiler.formulas.readable import before_gradient
from compiler.formulas.scopes import Scope, state_labels
from compiler.formulas.sections import Section
from compiler.formulas.step_sections import StepReader
from compiler.formulas.symbols import Symbol, Symbols, name_of_result
from compiler.graph import Graph, Value
from compiler.model_spec import ModelSpec
from compiler.operators.control import Scan
from compiler.origins import Layer
from compiler.training.gradients import chosen_sources, gradient_of
from compiler.training.losses import training_of


def gradient_equations(model: ModelSpec, wrt: Iterable[str] = ("*",)) -> Section:
    """The gradient of a model's loss as equations, with respect to the parameters and float inputs that match `wrt`.

    NablacError where no name matches, or an operator has no gradient.
    """
    spec = training_of(model)
    loss = before_gradient(Graph({}, {"loss": spec.objective})).outputs["loss"]
    chosen = chosen_sources(model, loss, wrt)
    with recorded() as derivation:
        gradient_of(loss, list(chosen.values()))
    return _Reader(derivation, spec.layers).read(loss, model.graph.name).replace(mode=model.mode)


class _Reader:
    """Reads a derivation: the model, and the steps of its recurrences in their places."""

    def __init__(self, derivation: Derivation, layers: Mapping[str, Layer]) -> None:
        self.derivation, self.layers = derivation, layers

    def read(self, loss: Value, model: str) -> Section:
        symbols = Symbols()
        scope = Scope([loss], symbols, {loss: symbols.claim(Symbol("", "loss"))}, "")
        return SectionReader(self.derivation, scope, model, self.read_step).read()

    def read_step(self, step: BackwardStep, outer: Scope, operands: dict[int, Symbol]) -> Section:
        """The gradient of one step; `operands` are the names of the gradients of the recurrence's operands."""
        scan = step.forward.op
        assert isinstance(scan, Scan)
        scope = step_scope(scan, step.forward.operands, step.inputs, step.ends, outer, step.forward.origin.path)
        layer = self.layers.get(scope.path)
        definition = layer.definition if layer is not None else ""
        return StepReader(self.derivation, scope, definition, self.read_step, step, operands).read()


def step_scope(
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
