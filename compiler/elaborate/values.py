"""What an expression can be worth at compile time, besides numbers, texts, lists, sizes and tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from compiler.dims import Dim, Size
from compiler.graph import Operator, Value
from compiler.types import DType
from grammar import syntax
from grammar.source import Span


class Nothing:
    """`none`: an optional input or argument that was not given."""

    def __repr__(self) -> str:
        return "none"


class Unknown:
    """The value of an expression that has been reported already; using it is silent."""


NONE = Nothing()
UNKNOWN = Unknown()


@dataclass(frozen=True, eq=False)
class Argument:
    """One argument of a call, evaluated; `span` is the value's, `named_at` the name's where it has one."""

    name: str | None
    value: Any
    span: Span
    named_at: Span | None = None


@dataclass(frozen=True, eq=False)
class Defined:
    """A definition with the names of its file."""

    syntax: syntax.Definition
    scope: Scope

    @property
    def name(self) -> str:
        return self.syntax.name.text

    @property
    def kind(self) -> str:
        return self.syntax.kind


@dataclass(eq=False)
class Instance:
    """A layer, cell, model or optimizer with its hyperparameters; its path is claimed when it is first needed."""

    defined: Defined
    hypers: dict[str, Any]
    span: Span
    path: str | None = None
    parameters: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Builtin:
    """A function of the compiler's own; `call(session, arguments, span)`.

    `bind` alone tells whether the arguments fit its parameters, where these are fixed.
    """

    name: str
    call: Callable[[Any, list[Argument], Span], Any]
    bind: Callable[[Any, list[Argument], Span], dict[str, Argument]] | None = None


@dataclass(frozen=True, eq=False)
class Primitive:
    """An operator as a function of the language."""

    operator: type[Operator]


@dataclass(frozen=True, eq=False)
class ScanOf:
    """`scan(cell)`: waits for the sequences."""

    cell: Instance
    options: dict[str, Argument]


@dataclass(frozen=True, eq=False)
class Module:
    """A named group of functions, as `random`."""

    name: str
    members: dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """`start..stop`: what a `for` walks, or the ends of a search axis."""

    start: Any
    stop: Any


@dataclass(frozen=True, eq=False)
class SearchAxis:
    """A hyperparameter that `tune` may vary; `default` serves otherwise."""

    kind: str
    values: tuple[Any, ...]

    @property
    def default(self) -> Any:
        if self.kind == "choice":
            return self.values[0]
        low, high = self.values
        middle = (low * high) ** 0.5 if self.kind == "log" else (low + high) / 2
        return int(middle) if isinstance(low, int) and isinstance(high, int) else middle


class Scope:
    """Names and their values; an inner scope sees the outer one."""

    def __init__(self, outer: Scope | None = None, names: dict[str, Any] | None = None) -> None:
        self.outer = outer
        self.names: dict[str, Any] = names if names is not None else {}

    def find(self, name: str) -> Any:
        """The value of a name; KeyError when no scope has it."""
        scope = self
        while name not in scope.names:
            if scope.outer is None:
                return scope.missing(name)
            scope = scope.outer
        return scope.names[name]

    def missing(self, name: str) -> Any:
        """What the outermost scope makes of a name that it does not hold."""
        raise KeyError(name)

    def declares(self, name: str) -> bool:
        """Whether a file or a body gives the name its value, and not the outermost scope: library and language."""
        scope = self
        while scope.outer is not None:
            if name in scope.names:
                return True
            scope = scope.outer
        return False

    def __contains__(self, name: str) -> bool:
        try:
            self.find(name)
        except KeyError:
            return False
        return True

    def known(self) -> Iterator[str]:
        """Every name seen from here."""
        yield from self.names
        if self.outer is not None:
            yield from self.outer.known()


@dataclass(eq=False)
class Lazy:
    """A `const` whose value is not asked for yet."""

    syntax: syntax.Const
    scope: Scope
    busy: bool = False


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    return isinstance(value, (int, Dim)) and not isinstance(value, bool)


def describe(value: Any) -> str:
    """A value as a message names it: `the number 3`, `a tensor f32[batch, 4]`, `the layer Dense`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str() if not isinstance(value, DType):
            return f'the text "{value}"' if len(value) < 40 else "a text"
        case DType():
            return f"the dtype {value}"
        case Dim():
            return f"the size {value}"
        case list():
            return f"a list of {len(value)}"
        case tuple():
            return f"{len(value)} values"
        case Value():
            return f"a tensor {value.type}"
        case Instance():
            article = "an" if value.defined.kind == "optimizer" else "a"
            return f"{article} {value.defined.kind} {value.defined.name}"
        case Defined():
            return f"the {'function' if value.kind == 'fn' else value.kind} {value.name}"
        case Builtin():
            return f"the function {value.name}"
        case Primitive():
            return f"the function {value.operator.name}"
        case ScanOf():
            return "a scan"
        case Interval() | SearchAxis():
            return "a range"
        case Nothing():
            return "none"
        case Module():
            return f"the module {value.name}"
    return "a value"


def show(value: Any) -> str:
    """A value as an assertion's message prints it."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return "[" + ", ".join(map(show, value)) + "]"
        case Value():
            return str(value.type)
        case int() | float() | str() | Dim():
            return str(value)
    return describe(value)


def size_text(sizes: tuple[Size, ...] | list[Size]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"
