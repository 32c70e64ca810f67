"""What may be searched in a program: its variables, and what has been chosen for those that an elaboration reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from grammar import syntax
from grammar.source import Span

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Numbers:
    """The numbers from `low` to `high`, both included: whole ones where both bounds are written as such."""

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


@dataclass(frozen=True)
class Options:
    """The options of a `choice`: the names of what is called, or where these are not different the whole texts."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Variable:
    """A range or a `choice` that an elaboration reached. Its span says which it is, its name is for people."""

    name: str
    span: Span
    candidates: Numbers | Options


Choose = Callable[[Variable], "int | float"]  # a number among the candidates, or the index of an option


def choose_default(variable: Variable) -> int | float:
    """The value of a variable where nothing is searched: of a range the middle, of a choice the first option."""
    return variable.candidates.default if isinstance(variable.candidates, Numbers) else 0


@dataclass(frozen=True)
class Chosen:
    """A variable with its value, and the options of which it is the index."""

    variable: Variable
    value: int | float
    options: tuple[syntax.Expression, ...] = ()

    @property
    def option(self) -> syntax.Expression | None:
        """The expression that is evaluated in the place of a choice."""
        return self.options[int(self.value)] if self.options else None


@dataclass(eq=False)
class Search:
    """Asks `choose` once for each variable, however often and in how many modes of a model it is evaluated.

    What has no name in `names` keeps its default: ranges of the library, or of a message. Without `names` the search is
    one of choices alone.
    """

    choose: Choose
    names: Mapping[Span, str] | None = None
    chosen: dict[Span, Chosen] = field(default_factory=dict)

    def covers_range(self, span: Span) -> bool:
        """Whether a range that is written there is a variable of this search."""
        return self.names is not None and span in self.names

    def covers_choice(self, span: Span) -> bool:
        """Whether a choice that is written there is one."""
        return not span.source.library if self.names is None else span in self.names

    def value(self, span: Span, candidates: Numbers | Options, options: tuple[syntax.Expression, ...] = ()) -> Chosen:
        """What is chosen for the variable at `span`; ValueError where `choose` answers with no candidate."""
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
