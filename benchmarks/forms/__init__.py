"""The computations for which the compiler has several forms: a file for each kind, whose `CHOICES` are measured.

To add a choice, write it in a file here, name that file in `benchmarks/form_costs.py`, and let the compiler ask
`cheapest(target, name, default, **sizes)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import nablac
from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from compiler.targets import ORT_CPU, Target


@dataclass(frozen=True)
class Case:
    """A computation at some sizes; its named dims are sizes too, which the compiler does not know."""

    sizes: Mapping[str, int]
    graph: Callable[[], Graph]


@dataclass(frozen=True)
class Choice:
    """A computation with several forms.

    A form is what the compiler makes of a case when the table of costs says that this form is the fastest.
    """

    name: str  # by which the compiler asks for it
    forms: tuple[str, ...]
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = (ORT_CPU,)
    opset: int | None = None  # that of the ONNX model, where a form needs more than the compiler takes by itself
    prepare: Callable[[Graph, Target], Graph] = optimize  # makes the form, as far as it is made before lowering


def graph_of(layer: str, *shape: int | str) -> Graph:
    """The equations of a layer, as text, over an input of this shape."""
    sizes = ", ".join(map(str, shape))
    return nablac.compile(f"model M {{ input x: [{sizes}]; output y = x -> {layer} }}\n").elaborated
