"""Equations of a model or of its gradient, in sections, as they are printed."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.formulas.symbols import Symbol
from compiler.model_spec import Mode
from grammar import syntax
from grammar.record import Record
from grammar.source import Span


class Equation(Record):
    """`target = sum over ... of value`."""

    target: Symbol
    value: syntax.Expression
    over: tuple[str, ...] = ()


class Group(Record):
    """The gradients that equations of the model give: `of` are these equations, and `span` is where they are."""

    of: tuple[Equation, ...]
    span: Span | None
    equations: tuple[Equation, ...]
    title: str = ""  # of a group that comes from no equation


class Section(Record):
    """The equations of a model, or of one step of a recurrence, from the loss backwards.

    In a step, `path` is that of the cell, whose names are written without it, and `index` the name of the step's
    number. `mode` is that of a whole model.
    """

    path: str
    definition: str
    parts: tuple[Group | Section, ...]
    reverse: bool = False  # whether the forward recurrence runs from the last item to the first
    index: str = ""
    is_gradient: bool = True
    keeps: tuple[Symbol, ...] = ()
    mode: Mode | None = None

    @property
    def is_step(self) -> bool:
        """Whether these are the equations of one step."""
        return bool(self.index)


def heading(section: Section) -> str:
    """What the equations of a model are, as a phrase."""
    mode = f" in {section.mode} mode" if section.mode is not None else ""
    if not section.is_gradient:
        return f"{section.definition}: its equations{mode}, in the order in which they are computed"
    return f"{section.definition}: the gradient of its loss{mode}, from the loss backwards"


def every_equation(section: Section) -> Iterator[tuple[Section, Group, Equation]]:
    """All equations in order, each with its group and the innermost section."""
    for part in section.parts:
        if isinstance(part, Section):
            yield from every_equation(part)
        else:
            yield from ((section, part, equation) for equation in part.equations)
