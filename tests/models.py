"""Models of texts, as tests ask for them."""

from __future__ import annotations

from typing import Any

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import Program
from compiler.graph import Graph
from compiler.model_spec import ModelSpec


def elaborate(program: Program, *, training: bool = False, **choices: Any) -> Graph:
    """The graph of a program's model; `choices` are fields of `TextSource`."""
    return spec_of(program, training=training, **choices).graph


def spec_of(program: Program, *, training: bool = False, **choices: Any) -> ModelSpec:
    """The spec of a program's model; `choices` are fields of `TextSource`."""
    return TextSource(program, **choices).spec(training=training)
