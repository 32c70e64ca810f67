"""Compile-time values: everything that an expression can evaluate to, besides numbers, texts, sizes and tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeGuard

from compiler.dims import Dim, Size
from compiler.graph import Operator, Value
from compiler.types import DType
from grammar import syntax
from grammar.record import Record, ValueRecord
from grammar.source import Span


class Nothing:
    """`none`: an optional input or argument that is absent."""

    def __repr__(self) -> str:
        return "none"


class Unknown:
    """The value of an expression with a reported error; using it reports nothing further."""


NONE = Nothing()
UNKNOWN = Unknown()


class Argument(Record):
    """One argument of a call, evaluated; `span` is the value's, `named_at` the name's where it has one."""

    name: str | None
    value: CompileTimeValue
    span: Span
    named_at: Span | None = None


class Defined(Record):
    """A layer, cell, model, optimizer or function, and the scope of the file that defines it."""

    syntax: syntax.Definition
    scope: Scope

    @property
    def name(self) -> str:
        """The name that its file gives it."""
        return self.syntax.name.text

    @property
    def kind(self) -> str:
        """Its keyword: `layer`, `cell`, `model`, `optimizer` or `fn`."""
        return self.syntax.kind


@dataclass(eq=False)
class Instance:
    """A layer, cell, model or optimizer with its hyperparameters; its path is assigned when it is first needed."""

    defined: Defined
    hypers: dict[str, CompileTimeValue]
    span: Span
    path: str | None = None
    parameters: dict[str, Value] = field(default_factory=dict)


class Builtin(Record):
    """A function implemented by the compiler; `call(session, arguments, span)`.

    `bind` binds the arguments to the parameters without calling it, where these are fixed.
    """

    name: str
    call: Callable[[Any, list[Argument], Span], CompileTimeValue]
    bind: Callable[[Any, list[Argument], Span], dict[str, Argument]] | None = None


class Primitive(Record):
    """An operator as a function of the language."""

    operator: type[Operator]


Applicable = Instance | Defined | Builtin | Primitive  # to arguments or tensors


class ScanOf(Record):
    """`scan(cell)`, to be applied to sequences."""

    cell: Instance
    options: dict[str, Argument]


class Module(Record):
    """A named group of functions, such as `random`."""

    name: str
    members: dict[str, CompileTimeValue]


class Interval(ValueRecord):
    """`start..stop`, written at `span`: what a `for` iterates over, or the bounds of a search range."""

    start: CompileTimeValue
    stop: CompileTimeValue
    span: Span


class Scope:
    """Names and their values; lookups continue in the outer scope."""

    def __init__(self, outer: Scope | None = None, names: dict[str, CompileTimeValue] | None = None) -> None:
        self.outer = outer
        self.names: dict[str, CompileTimeValue] = names if names is not None else {}

    def find(self, name: str) -> CompileTimeValue:
        """The value of a name; KeyError if no scope has it."""
        scope = self
        while name not in scope.names:
            if scope.outer is None:
                return scope.missing(name)
            scope = scope.outer
        return scope.names[name]

    def missing(self, name: str) -> CompileTimeValue:
        """The value of a name that the outermost scope does not hold; KeyError if there is none."""
        raise KeyError(name)

    def declares(self, name: str) -> bool:
        """Whether a file or a body defines the name, rather than the outermost scope, the library and the language."""
        return self.outer is not None and (name in self.names or self.outer.declares(name))

    def __contains__(self, name: str) -> bool:
        try:
            self.find(name)
        except KeyError:
            return False
        return True

    def known(self) -> Iterator[str]:
        """Every name that is visible here."""
        yield from self.names
        if self.outer is not None:
            yield from self.outer.known()


@dataclass(eq=False)
class Lazy:
    """A `const` that has not been evaluated yet."""

    syntax: syntax.Const
    scope: Scope
    busy: bool = False


CompileTimeValue: TypeAlias = (
    "bool | int | float | str | Dim | list[CompileTimeValue] | tuple[CompileTimeValue, ...] | Value | Interval"
    " | Defined | Instance | Builtin | Primitive | ScanOf | Module | Lazy | Nothing | Unknown"
)  # a dtype is a `str` too: check for it first


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number; a boolean is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_size(value: object) -> TypeGuard[Size]:
    """Whether a value can be the size of an axis: a whole number, or a polynomial over named dims."""
    return isinstance(value, (int, Dim)) and not isinstance(value, bool)


def describe(value: CompileTimeValue) -> str:
    """A value as diagnostics describe it: `the number 3`, `a tensor f32[batch, 4]`, `the layer Dense`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case DType():
            return f"the dtype {value}"
        case str():
            return f'the text "{value}"' if len(value) < 40 else "a text"
        case Dim():
            return f"the size {value}"
        case list():
            return f"a list of {len(value)} item{'s' * (len(value) != 1)}" if value else "an empty list"
        case tuple():
            return f"{len(value)} values"
        case Value():
            return f"a tensor {value.type}"
        case Interval():
            return "a range"
        case Nothing():
            return "none"
    return _describe_named(value)


def _describe_named(value: CompileTimeValue) -> str:
    """The description of a value that is defined under a name."""
    match value:
        case Instance():
            return f"an instance of {value.defined.kind} {value.defined.name}"
        case Defined():
            return f"the {'function' if value.kind == 'fn' else value.kind} {value.name}"
        case Builtin():
            return f"the function {value.name}"
        case Primitive():
            return f"the function {value.operator.name}"
        case ScanOf():
            return "a scan"
        case Module():
            return f"the module {value.name}"
    return "a value"


def show(value: CompileTimeValue) -> str:
    """A value as it is printed in the message of an assertion."""
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
    """Sizes as diagnostics show a shape: `[batch, 4]`."""
    return "[" + ", ".join(map(str, sizes)) + "]"
