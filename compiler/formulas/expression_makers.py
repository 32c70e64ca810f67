"""Constructors of expressions that are written in no file."""

from __future__ import annotations

from collections.abc import Sequence

from grammar import syntax
from grammar.expression_printer import ATOM, print_expression
from grammar.source import Source, Span

NOWHERE = Span(Source("", ""), 0, 0)  # the span of what is not written in a file


def name(text: str, primed: bool = False) -> syntax.Name:
    """A reference."""
    return syntax.Name(text, primed, NOWHERE)


def number(value: float) -> syntax.Expression:
    """A number, with a sign in front of it if it is negative."""
    if value < 0:
        return syntax.Unary("-", number(-value), NOWHERE)
    whole = float(value).is_integer() and abs(value) < 1e15
    return syntax.Number(int(value) if whole else float(value), NOWHERE)


def binary(sign: str, left: syntax.Expression, right: syntax.Expression) -> syntax.Binary:
    """`left sign right`."""
    return syntax.Binary(sign, left, right, NOWHERE, NOWHERE)


def call(function: str, arguments: Sequence[syntax.Expression], **named: syntax.Expression) -> syntax.Call:
    """`function(arguments, name: value)`."""
    written = [syntax.Argument(None, argument, NOWHERE) for argument in arguments]
    written += [syntax.Argument(syntax.Identifier(key, NOWHERE), value, NOWHERE) for key, value in named.items()]
    return syntax.Call(name(function), tuple(written), NOWHERE)


def transposed(x: syntax.Expression) -> syntax.Expression:
    """`x^T`."""
    return syntax.Unary("^T", x, NOWHERE)


class Transposed(syntax.Name):
    """`x^T` of a vector in an outer product, which the language has no notation for."""

    operand: syntax.Expression


def outer(left: syntax.Expression, right: syntax.Expression) -> syntax.Expression:
    """`left right^T`: the products of all items of two vectors."""
    text = print_expression(right, ATOM)
    return binary(" ", left, Transposed(f"{text}^T", False, NOWHERE, right))
