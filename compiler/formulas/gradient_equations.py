"""The equations of a model's gradient, read from the graph that differentiation derives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from compiler.derivation import BackwardStep, Derivation, recorded
from compiler.formulas.gradient_sections import SectionReader
from compiler.formulas.readable import before_gradient
from compiler.formulas.scopes import Scope
from compiler.formulas.sections import Section
from compiler.formulas.step_names import StepNames, step_indices
from compiler.formulas.step_sections import StepReader
from compiler.formulas.symbols import Symbol, Symbols
from compiler.graph import Graph, Value
from compiler.model_spec import ModelSpec
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
        found = gradient_of(loss, list(chosen.values()))
    unreached = [value for value, gradient in zip(chosen.values(), found, strict=True) if gradient is None]
    reader = _Reader(derivation, spec.layers, step_indices(Graph({}, {"loss": loss})))
    return reader.read(loss, model.graph.name, unreached).replace(mode=model.mode)


class _Reader:
    """Reads a derivation: the model, and the steps of its recurrences in their places."""

    def __init__(self, derivation: Derivation, layers: Mapping[str, Layer], step_index: Callable[[int], str]) -> None:
        self.derivation, self.layers, self.step_index = derivation, layers, step_index

    def read(self, loss: Value, model: str, unreached: Iterable[Value]) -> Section:
        """The equations; `unreached` are inputs and parameters that no gradient reaches."""
        symbols = Symbols()
        scope = Scope([loss], symbols, {loss: symbols.claim(Symbol("", "loss"))}, "")
        reader = SectionReader(self.derivation, scope, model, self.read_step)
        reader.unreached = list(unreached)
        return reader.read()

    def read_step(self, step: BackwardStep, scope: Scope, names: StepNames, depth: int = 0) -> Section:
        """The gradient of one step, whose values have the names of `scope`."""
        layer = self.layers.get(scope.path)
        definition = layer.definition if layer is not None else ""
        read_inner, index = partial(self.read_step, depth=depth + 1), self.step_index(depth)
        return StepReader(self.derivation, scope, definition, read_inner, step, names, index).read()
