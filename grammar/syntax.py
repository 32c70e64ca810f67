"""The syntax tree: what is written, and where. Small records, in which nothing is computed.

Nodes compare by identity; the last field of each is its `span`.
"""

from __future__ import annotations

from typing import Literal

from grammar.record import Record
from grammar.source import Span


class Identifier(Record):
    """A name in a declaration or before an argument; `text` has no prime."""

    text: str
    span: Span


# Expressions


class Number(Record):
    """`3`, `0.5`, `1e-3`: an int or a float, as written."""

    value: int | float
    span: Span


class Text(Record):
    """`"same"`; in assertion messages `{expression}` interpolates."""

    value: str
    span: Span


class Boolean(Record):
    """`true` or `false`."""

    value: bool
    span: Span


class Name(Record):
    """A reference. `primed` is `h'`, the next value of `h`. `_` is the piped value."""

    text: str
    primed: bool
    span: Span


class ListOf(Record):
    """`[a, b]`."""

    items: tuple[Expression, ...]
    span: Span


class Unary(Record):
    """`-x`, `not x`, and the postfix transpose `x^T` (operator `"^T"`)."""

    operator: Literal["-", "not", "^T"]
    operand: Expression
    span: Span


class Binary(Record):
    """`+ - * / // % @ ** == != < <= > >= and or`, `" "` for names side by side; `operator_span` is that of the sign."""

    operator: str
    left: Expression
    right: Expression
    operator_span: Span
    span: Span


class Conditional(Record):
    """`then if condition else otherwise`."""

    then: Expression
    condition: Expression
    otherwise: Expression
    span: Span


class Range(Record):
    """`start..stop`: the integers of a `for` loop, or the bounds of a range to search."""

    start: Expression
    stop: Expression
    span: Span


class Argument(Record):
    """`value` or `name: value` in a call."""

    name: Identifier | None
    value: Expression
    span: Span


class Call(Record):
    """`callee(argument, name: argument)`."""

    callee: Expression
    arguments: tuple[Argument, ...]
    span: Span


class Pipe(Record):
    """`value -> stage`."""

    value: Expression
    stage: Expression
    span: Span


class Attribute(Record):
    """`value.name`."""

    value: Expression
    name: Identifier
    span: Span


class Slice(Record):
    """`start:stop:step` inside an index; each may be absent."""

    start: Expression | None
    stop: Expression | None
    step: Expression | None
    span: Span


class Ellipsis(Record):
    """`...` inside an index or a shape."""

    span: Span


class Index(Record):
    """`value[items]`, NumPy's basic indexing; a tensor as an item gathers."""

    value: Expression
    items: tuple[Expression | Slice | Ellipsis, ...]
    span: Span


class TupleOf(Record):
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


class TensorTypeSyntax(Record):
    """`f32[batch, time, 2*n + 1]`; `dtype` is None if not written, `dims` may hold one Ellipsis."""

    dtype: Identifier | None
    dims: tuple[Expression | Ellipsis, ...]
    span: Span


# Statements


class Declared(Record):
    """One name of an `input`, `param`, `state`, `buffer` or `target`; `optional` is the `?` of an input."""

    name: Identifier
    type: TensorTypeSyntax | None  # None in an optimizer's `state m, v = 0`
    optional: bool
    span: Span


class Declare(Record):
    """`kind names: type ~ initializer` (`drawn`) or `kind names: type = initializer`."""

    kind: Literal["input", "param", "state", "buffer", "target"]
    names: tuple[Declared, ...]
    initializer: Expression | None
    drawn: bool
    span: Span


class Assign(Record):
    """`a, b = value`; a primed target is the next value of a state or buffer."""

    targets: tuple[Name, ...]
    value: Expression
    span: Span


class Output(Record):
    """`output value`, or `output name = value`; `name` is None if not written."""

    name: Identifier | None
    value: Expression
    span: Span


class For(Record):
    """`for variable in iterable { ... }`."""

    variable: Identifier
    iterable: Expression
    body: tuple[Statement, ...]
    span: Span


class If(Record):
    """`if condition { ... } else { ... }`; for an `else if`, `otherwise` is a single `If`."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span


class Assert(Record):
    """`assert condition, message`."""

    condition: Expression
    message: Expression | None
    span: Span


class Setting(Record):
    """`name value` or `name label = value over epoch` of a `train` block, or `name = value` of a preset."""

    name: Identifier
    label: Identifier | None
    value: Expression
    span: Span
    over_epoch: Span | None = None  # of the words `over epoch` behind a metric


class Preset(Record):
    """`preset base { width = 512, heads = 8 }`."""

    name: Identifier
    settings: tuple[Setting, ...]
    span: Span


Statement = Declare | Assign | Output | For | If | Assert | Setting | Preset


# Declarations


class Hyper(Record):
    """`name`, `name: kind`, `name = default` or `name: kind = default`."""

    name: Identifier
    kind: Identifier | None
    default: Expression | None
    span: Span


class Definition(Record):
    """A `layer`, `cell`, `model`, `optimizer` or `fn`; `fn f(x) = e` has one unnamed Output as its body."""

    kind: Literal["layer", "cell", "model", "optimizer", "fn"]
    name: Identifier
    hypers: tuple[Hyper, ...]
    doc: str | None
    body: tuple[Statement, ...]
    span: Span


class Train(Record):
    """`train Model { ... }`."""

    model: Identifier
    doc: str | None
    body: tuple[Statement, ...]
    span: Span


class Const(Record):
    """`const name = value`."""

    name: Identifier
    value: Expression
    span: Span


class Import(Record):
    """`from "file.model" import A, B`."""

    path: Text
    names: tuple[Identifier, ...]
    span: Span


Declaration = Definition | Train | Const | Import


class File(Record):
    """All declarations of a file, in order."""

    doc: str | None
    declarations: tuple[Declaration, ...]
    span: Span
