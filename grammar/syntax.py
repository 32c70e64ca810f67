"""The syntax tree: what the person wrote, and where. Small frozen dataclasses, nothing computed.

Nodes compare by identity; `span` is the last field of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grammar.source import Span


@dataclass(frozen=True, eq=False, slots=True)
class Identifier:
    """A name where it is declared or given; `text` is without a prime."""

    text: str
    span: Span


# Expressions


@dataclass(frozen=True, eq=False, slots=True)
class Number:
    """`3`, `0.5`, `1e-3`: an int or a float, as written."""

    value: int | float
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Text:
    """`"same"`; in assertion messages `{expression}` interpolates."""

    value: str
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Boolean:
    value: bool
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """A reference. `primed` is `h'`, the next value of `h`. `_` is the piped value."""

    text: str
    primed: bool
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Unary:
    """`-x`, `not x`, and the postfix transpose `x^T` (operator `"^T"`)."""

    operator: Literal["-", "not", "^T"]
    operand: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Binary:
    """`+ - * / // % @ ** == != < <= > >= and or`, `" "` for names side by side; `operator_span` is the sign alone."""

    operator: str
    left: Expression
    right: Expression
    operator_span: Span
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Conditional:
    """`then if condition else otherwise`."""

    then: Expression
    condition: Expression
    otherwise: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Range:
    """`start..stop`: integers of a `for`, or the ends of a search axis."""

    start: Expression
    stop: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Argument:
    """`value` or `name: value` in a call."""

    name: Identifier | None
    value: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    callee: Expression
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Pipe:
    """`value -> stage`."""

    value: Expression
    stage: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Attribute:
    """`value.name`."""

    value: Expression
    name: Identifier
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """`start:stop:step` inside an index; each may be absent."""

    start: Expression | None
    stop: Expression | None
    step: Expression | None
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Ellipsis:
    """`...` inside an index or a shape."""

    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Index:
    """`value[items]`, NumPy's basic indexing; a tensor item gathers."""

    value: Expression
    items: tuple[Expression | Slice | Ellipsis, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class TupleOf:
    """`a, b` on the right of an assignment or after `output`."""

    items: tuple[Expression, ...]
    span: Span


Expression = (
    Number
    | Text
    | Boolean
    | Name
    | ListOf
    | Unary
    | Binary
    | Conditional
    | Range
    | Call
    | Pipe
    | Attribute
    | Index
    | TupleOf
)


# Types


@dataclass(frozen=True, eq=False, slots=True)
class TensorTypeSyntax:
    """`f32[batch, time, 2*n + 1]`; `dtype` absent where not written, `dims` may hold one Ellipsis."""

    dtype: Identifier | None
    dims: tuple[Expression | Ellipsis, ...]
    span: Span


# Statements


@dataclass(frozen=True, eq=False, slots=True)
class Declared:
    """One name of an `input`, `param`, `state`, `buffer` or `target`; `optional` is the `?` of an input."""

    name: Identifier
    type: TensorTypeSyntax | None  # absent in an optimizer's `state m, v = 0`
    optional: bool
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Declare:
    """`kind names: type ~ initializer` or `= initializer`; `drawn` tells which sign stood there."""

    kind: Literal["input", "param", "state", "buffer", "target"]
    names: tuple[Declared, ...]
    initializer: Expression | None
    drawn: bool
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Assign:
    """`a, b = value`; a primed target is the next value of a state or buffer."""

    targets: tuple[Name, ...]
    value: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """`output value`, or `output name = value`; `name` absent where not written."""

    name: Identifier | None
    value: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class For:
    variable: Identifier
    iterable: Expression
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class If:
    """`else if` is an `If` alone in `otherwise`."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Assert:
    condition: Expression
    message: Expression | None
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Setting:
    """`name value` of a `train` block, or `name = value` of a preset."""

    name: Identifier
    value: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Preset:
    """`preset base { width = 512, heads = 8 }`."""

    name: Identifier
    settings: tuple[Setting, ...]
    span: Span


Statement = Declare | Assign | Output | For | If | Assert | Setting | Preset


# Declarations


@dataclass(frozen=True, eq=False, slots=True)
class Hyper:
    """`name`, `name: kind`, `name = default` or `name: kind = default`."""

    name: Identifier
    kind: Identifier | None
    default: Expression | None
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Definition:
    """A `layer`, `cell`, `model`, `optimizer` or `fn`; `fn f(x) = e` has one unnamed Output as its body."""

    kind: Literal["layer", "cell", "model", "optimizer", "fn"]
    name: Identifier
    hypers: tuple[Hyper, ...]
    doc: str | None
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Train:
    """`train Model { ... }`."""

    model: Identifier
    doc: str | None
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Const:
    """`const name = value`."""

    name: Identifier
    value: Expression
    span: Span


@dataclass(frozen=True, eq=False, slots=True)
class Import:
    """`from "file.model" import A, B`."""

    path: Text
    names: tuple[Identifier, ...]
    span: Span


Declaration = Definition | Train | Const | Import


@dataclass(frozen=True, eq=False, slots=True)
class File:
    doc: str | None
    declarations: tuple[Declaration, ...]
    span: Span
