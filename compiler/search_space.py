"""The search space of a program: its variables, their candidates, and the values chosen in an elaboration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from grammar import syntax
from grammar.record import ValueRecord
from grammar.source import Span

Scale = Literal["linear", "log"]


class Numbers(ValueRecord):
    """The numbers from `low` to `high`, both included; only whole numbers if both bounds are written as such."""

    low: int | float
    high: int | float
    scale: Scale
    is_whole: bool

    @property
    def default(self) -> int | float:
        """The arithmetic or geometric mean."""
        middle: float = (self.low * self.high) ** 0.5 if self.scale == "log" else (self.low + self.high) / 2
        return int(middle) if self.is_whole else middle

    def __str__(self) -> str:
        return f"a range of {'whole numbers' if self.is_whole else 'floats'} from {self.low} to {self.high}"


class Options(ValueRecord):
    """The options of a `choice`: the names of their callees, or if these are not distinct the whole texts."""

    texts: tuple[str, ...]


class Variable(ValueRecord):
    """A range or a `choice` that an elaboration reached; it is identified by its span, and named for people."""

    name: str
    span: Span
    candidates: Numbers | Options


Choose = Callable[[Variable], "int | float"]  # a number among the candidates, or the index of an option


def choose_default(variable: Variable) -> int | float:
    """The value of a variable without a search: the middle of a range, the first option of a choice."""
    return variable.candidates.default if isinstance(variable.candidates, Numbers) else 0


class Chosen(ValueRecord):
    """A variable and its value; for a choice, the index of one of `options`."""

    variable: Variable
    value: int | float
    options: tuple[syntax.Expression, ...] = ()

    @property
    def option(self) -> syntax.Expression | None:
        """The chosen expression; None for a range."""
        return self.options[int(self.value)] if self.options else None


@dataclass(eq=False)
class Search:
    """Values chosen by calling `choose` once for each variable, however often it is evaluated, in all modes of a model.

    Ranges and choices without a name in `names`, such as those of the library, keep their defaults. Without `names`,
    only choices are searched.
    """

    choose: Choose
    names: Mapping[Span, str] | None = None
    chosen: dict[Span, Chosen] = field(default_factory=dict)

    def covers_range(self, span: Span) -> bool:
        """Whether the range at a span is a variable of this search."""
        return self.names is not None and span in self.names

    def covers_choice(self, span: Span) -> bool:
        """Whether the choice at a span is a variable of this search."""
        return not span.source.library if self.names is None else span in self.names

    def value(self, span: Span, candidates: Numbers | Options, options: tuple[syntax.Expression, ...] = ()) -> Chosen:
        """The value of the variable at `span`; ValueError if `choose` returns a value that is not a candidate."""
        if span not in self.chosen:
            variable = Variable(self.names[span] if self.names is not None else "", span, candidates)
            self.chosen[span] = Chosen(variable, _checked(variable, self.choose(variable)), options)
        return self.chosen[span]


def _checked(variable: Variable, value: int | float) -> int | float:
    candidates = variable.candidates
    if isinstance(candidates, Options):
        is_candidate = value == int(value) and 0 <= value < len(candidates.texts)
        exact: int | float = int(value)
    else:
        is_candidate = candidates.low <= value <= candidates.high and (not candidates.is_whole or value == int(value))
        exact = int(value) if candidates.is_whole else float(value)
    if not is_candidate:
        raise ValueError(f"{value} is not a candidate of `{variable.name}`: {candidates}")
    return exact
