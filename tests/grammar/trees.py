"""Syntax trees as short texts that can be compared and read: `a + b * c` is `(+ a (* b c))`."""

from __future__ import annotations

from typing import Any

from grammar.parser import parse
from grammar.record import Record
from grammar.source import Source, Span
from grammar.syntax import (
    Argument,
    Assign,
    Attribute,
    Binary,
    Boolean,
    Call,
    Conditional,
    Definition,
    Ellipsis,
    File,
    Index,
    ListOf,
    Name,
    Number,
    Pipe,
    Range,
    Slice,
    Text,
    TupleOf,
    Unary,
)


def parsed(text: str) -> File:
    return parse(Source("case.model", text))


def body(text: str) -> tuple[Any, ...]:
    """The statements of a layer's body."""
    (declaration,) = parsed(f"layer L() {{\n{text}\n}}\n").declarations
    assert isinstance(declaration, Definition)
    return declaration.body


def expression(text: str) -> Any:
    (statement,) = body(f"value = {text}")
    assert isinstance(statement, Assign)
    return statement.value


def brief(node: Any) -> str:
    match node:
        case None:
            return "."
        case Number(value) | Boolean(value):
            return str(value)
        case Text(value):
            return repr(value)
        case Name(text, primed):
            return text + "'" * primed
        case ListOf(items):
            return f"[{' '.join(map(brief, items))}]"
        case TupleOf(items):
            return f"(, {' '.join(map(brief, items))})"
        case Unary(operator, operand):
            return f"({operator} {brief(operand)})"
        case Binary(operator, left, right):
            return f"({'side' if operator == ' ' else operator} {brief(left)} {brief(right)})"
        case Conditional(then, condition, otherwise):
            return f"(if {brief(condition)} {brief(then)} {brief(otherwise)})"
        case Range(start, stop):
            return f"(.. {brief(start)} {brief(stop)})"
        case Argument(name, value):
            return f"{name.text}:{brief(value)}" if name else brief(value)
        case Call(callee, arguments):
            return f"(call {' '.join(map(brief, (callee, *arguments)))})"
        case Pipe(value, stage):
            return f"(-> {brief(value)} {brief(stage)})"
        case Attribute(value, name):
            return f"(. {brief(value)} {name.text})"
        case Slice(start, stop, step):
            return f"(: {brief(start)} {brief(stop)} {brief(step)})"
        case Ellipsis():
            return "..."
        case Index(value, items):
            return f"(index {' '.join(map(brief, (value, *items)))})"
    raise AssertionError(node)


def shape(node: Any) -> Any:
    """A tree without its spans, for comparison."""
    if isinstance(node, Record):
        fields = [name for name in node.fields if not name.endswith("span")]
        return (type(node).__name__, *(shape(getattr(node, name)) for name in fields))
    if isinstance(node, Span):
        return "span"
    return tuple(map(shape, node)) if isinstance(node, tuple) else node
