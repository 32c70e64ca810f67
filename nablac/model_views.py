"""What a model shows of itself: its summary, its drawing, its gradient as equations, and a cell of a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

from nablac.arguments import patterns_of, wrong_kind
from nablac.counterparts import hint_for
from nablac.displays import FixedText, Picture, as_image, fixed_width

if TYPE_CHECKING:
    from compiler.graph import Graph
    from compiler.model_spec import ModelSource, ModelSpec
    from compiler.units import Unit
    from nablac.model_summary import Summary
    from runtime.data.fitted import Fitted


class ModelViews:
    """The views of a model."""

    spec: ModelSpec
    elaborated: Graph
    _source: ModelSource
    _training: bool

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The name of the model."""

        @property
        def graph(self) -> Graph:
            """The graph that runs."""

        @property
        def units(self) -> dict[str, Unit]:
            """The units of each output."""

        @property
        def fitted(self) -> Fitted | None:
            """What was fitted to the training data."""

    def summary(self, **sizes: int) -> FixedText:
        """Layers, output shapes, parameters, operations and memory as text, at these sizes of named dims."""
        from nablac.model_summary import render_summary

        return FixedText(render_summary(self.summarize(sizes)))

    def summarize(self, sizes: Mapping[str, int]) -> Summary:
        """The contents of `summary` as values."""
        from compiler.training.losses import whole_graph
        from nablac.model_summary import summarize

        return summarize(self.graph, sizes, whole_graph(self.spec), self.units)

    def draw(self, depth: int | None = None) -> Picture:
        """The model as SVG, with layers open to `depth`; None opens layers up to about 40 boxes."""
        from nablac.drawing.outline import close_below, outline, readable_depth
        from nablac.drawing.svg import svg

        if depth is not None and (not isinstance(depth, Integral) or isinstance(depth, bool) or depth < 0):
            raise wrong_kind("depth", "a whole number of levels from 0", depth)
        whole = outline(self.elaborated)  # before optimisation: fused operators have no layers
        return Picture(svg(close_below(whole, readable_depth(whole) if depth is None else depth), self.name))

    def gradient_equations(
        self, wrt: str | Iterable[str] = "*", *, latex: bool = False, training: bool | None = None
    ) -> FixedText:
        """The gradient that the compiler derives as equations to read, from the loss backwards: text, or LaTeX.

        dX is the gradient of the loss with respect to X, for each value that the model's text names; `wrt` and
        `training` as in `gradient`. The first line says in which mode.
        """
        from compiler.formulas.gradient_equations import gradient_equations
        from compiler.formulas.latex import latex_of
        from compiler.formulas.plain_text import text_of
        from runtime.training.trained import in_raw_data

        spec = in_raw_data(self._source.spec(training=self._training if training is None else training), self.fitted)
        section = gradient_equations(spec, patterns_of(wrt))
        return FixedText(latex_of(section) if latex else text_of(section))

    if not TYPE_CHECKING:  # for a type checker a name that does not exist is a mistake

        def __getattr__(self, name: str) -> Any:
            """An AttributeError that says what a method of another library is called here."""
            hint = hint_for(name)
            if hint is None:
                return object.__getattribute__(self, name)  # which raises
            raise AttributeError(f"a model has no `{name}`: {hint}")

    def _repr_html_(self) -> str:
        """The drawing and the summary, for notebooks."""
        return f"{as_image(self.draw())}{fixed_width(self.summary())}"

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {value.type}" for name, value in self.graph.inputs.items())
        outputs = ", ".join(f"{name}: {value.type}" for name, value in self.graph.outputs.items())
        return f"<Model {self.name}({inputs}) -> {outputs}>"
