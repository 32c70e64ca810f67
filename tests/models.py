"""Models from texts: what most tests begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import Program, program_of
from compiler.graph import Graph
from compiler.model_spec import ModelSpec
from grammar.source import Source


def elaborate(source: Program | str, *, training: bool = False, **choices: Any) -> Graph:
    """The graph of a program, or of a text; `choices` are fields of `TextSource`."""
    return spec_of(source, training=training, **choices).graph


def spec_of(source: Program | str, *, training: bool = False, **choices: Any) -> ModelSpec:
    """The spec of a program, or of a text; `choices` are fields of `TextSource`."""
    model = text_source(source, **choices) if isinstance(source, str) else TextSource(source, **choices)
    return model.spec(training=training)


def text_source(text: str, folder: Path = Path(), **choices: Any) -> TextSource:
    """A text as the file `test.model` in a folder, where its relative paths begin."""
    return TextSource(program_of(Source(str(folder / "test.model"), text)), **choices)
