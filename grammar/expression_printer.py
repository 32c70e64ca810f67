"""Expressions to canonical text, with only the parentheses that are needed, or that tell `and` from `or`.

Nothing here is recursive: an expression may be a thousand operators deep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grammar.lexer import ESCAPES
from grammar.source import Span
from grammar.syntax import (
    Argument,
    Attribute,
    Binary,
    Boolean,
    Call,
    Conditional,
    Ellipsis,
    Expression,
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

# Precedence levels, loosest first, in the order of the rules of model.lark.
PIPE, TERNARY, OR, AND, NOT, COMPARISON, RANGE, SUM, PRODUCT, SIGN, POWER, POSTFIX, ATOM = range(13)
_BINARY = {"or": OR, "and": AND, "+": SUM, "-": SUM, "**": POWER, " ": POWER}
_BINARY |= dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), COMPARISON)
_BINARY |= dict.fromkeys(("*", "/", "//", "%", "@"), PRODUCT)

_Node = Expression | Argument | Slice | Ellipsis


@dataclass(frozen=True)
class Entry:
    """One of the values in brackets, after a text such as `name = `; the span includes the text."""

    node: _Node | None
    span: Span
    text: str = ""


@dataclass(frozen=True)
class Brackets:
    """Brackets around values, which may stand on lines of their own; `span` is from the opening to the closing one."""

    opening: str
    entries: tuple[Entry, ...]
    closing: str
    span: Span
    comma: str = ","  # after the last entry of a line

    @property
    def flat(self) -> str:
        """The text on one line."""
        return _text([self])

    def pieces_on_one_line(self) -> list[Piece]:
        """The text on one line, as pieces."""
        space = " " if self.opening == "{" else ""
        return [self.opening + space, *_separated(self.entries), space + self.closing]


Piece = str | Brackets | tuple[_Node, int]  # a node, and the lowest level that needs no parentheses


def print_expression(node: _Node, level: int = PIPE) -> str:
    """An expression as text, in parentheses if it binds less tightly than `level`."""
    return _text([(node, level)])


def split_at_brackets(pieces: Sequence[Piece]) -> list[str | Brackets]:
    """The text of some pieces, cut at its outermost brackets."""
    return _written(pieces, inside=False)


def _text(pieces: Sequence[Piece]) -> str:
    return "".join(piece for piece in _written(pieces, inside=True) if isinstance(piece, str))


def _written(pieces: Sequence[Piece], inside: bool) -> list[str | Brackets]:
    """The pieces as text, with the brackets as text too if `inside`."""
    pending = list(reversed(pieces))
    written: list[str | Brackets] = []
    while pending:
        piece = pending.pop()
        if isinstance(piece, str):
            written.append(piece)
        elif isinstance(piece, Brackets):
            if inside or not piece.entries:
                pending.extend(reversed(piece.pieces_on_one_line()))
            else:
                written.append(piece)
        else:
            expression, lowest = piece
            parts = _pieces(expression)
            pending.extend(reversed(parts if level_of(expression) >= lowest else ["(", *parts, ")"]))
    return written


def print_text(node: Text) -> str:
    """A string in quotes, with its escapes."""
    escapes = {value: escape for escape, value in ESCAPES.items()}
    return '"' + "".join(escapes.get(sign, sign) for sign in node.value) + '"'


def split_pipe(node: Expression) -> list[Expression]:
    """The value and the stages of `value -> stage -> stage`."""
    stages: list[Expression] = []
    while isinstance(node, Pipe):
        stages.append(node.stage)
        node = node.value
    return [node, *reversed(stages)]


def level_of(node: _Node) -> int:
    """How tightly the outermost operator of an expression binds."""
    match node:
        case TupleOf() | Pipe() | Argument() | Slice():
            return PIPE
        case Conditional():
            return TERNARY
        case Binary(operator):
            return _BINARY[operator]
        case Range():
            return RANGE
        case Unary("not"):
            return NOT
        case Unary("-"):
            return SIGN
        case Unary() | Call() | Index() | Attribute():
            return POSTFIX
        case _:
            return ATOM


def _pieces(node: _Node) -> list[Piece]:
    match node:
        case Number():
            return [_number(node)]
        case Text():
            return [print_text(node)]
        case Boolean(value):
            return ["true" if value else "false"]
        case Name(text, primed):
            return [text + ("'" if primed else "")]
        case Ellipsis():
            return ["..."]
        case ListOf(items):
            return [_brackets("[", items, "]", node.span)]
        case TupleOf(items):
            return _separated(tuple(Entry(item, item.span) for item in items))
        case Unary("-", operand):
            return ["-", (operand, SIGN)]
        case Unary("not", operand):
            return ["not ", (operand, NOT)]
        case Unary(_, operand):
            return [(operand, POSTFIX), "^T"]
        case Binary(" ", first, second):
            return [(first, POSTFIX if isinstance(first, Unary) else ATOM), " ", (second, ATOM)]
        case Binary("or", first, second):  # `and` inside `or` is easier to read in parentheses
            return [(first, _level_in_or(first, OR)), " or ", (second, _level_in_or(second, AND))]
        case Binary("**", base, exponent):
            return [(base, POSTFIX), " ** ", (exponent, SIGN)]
        case Binary(operator, first, second):
            level = _BINARY[operator]
            return [(first, level + (level == COMPARISON)), f" {operator} ", (second, level + 1)]
        case Conditional(then, condition, otherwise):
            return [(then, OR), " if ", (condition, OR), " else ", (otherwise, TERNARY)]
        case Range(start, stop):
            sign = ".." if _is_short(start) and _is_short(stop) else " .. "
            return [(start, SUM), sign, (stop, SUM)]
        case Pipe(value, stage):
            return [(value, OR if isinstance(value, Conditional) else PIPE), " -> ", (stage, OR)]
        case Argument(name, value):
            return [f"{name.text}: " if name is not None else "", (value, PIPE)]
        case Call(callee, arguments):
            return [(callee, POSTFIX), _brackets("(", arguments, ")", _behind(callee, node))]
        case Index(value, items):
            return [(value, POSTFIX), _brackets("[", items, "]", _behind(value, node))]
        case Attribute(value, name):
            return [*(["(", (value, PIPE), ")"] if isinstance(value, Number) else [(value, POSTFIX)]), f".{name.text}"]
        case Slice(start, stop, step):
            ends: list[Piece] = [*([(start, PIPE)] if start else []), ":", *([(stop, PIPE)] if stop else [])]
            return [*ends, ":", (step, PIPE)] if step else ends
    raise AssertionError(node)


def _level_in_or(node: Expression, level: int) -> int:
    return NOT if isinstance(node, Binary) and node.operator == "and" else level


def _brackets(opening: str, items: Sequence[_Node], closing: str, span: Span) -> Brackets:
    return Brackets(opening, tuple(Entry(item, item.span) for item in items), closing, span)


def _behind(before: Expression, node: Call | Index) -> Span:
    """The span of the brackets behind an expression, which may be in parentheses itself."""
    opening = "(" if isinstance(node, Call) else "["
    start = node.span.source.text.find(opening, before.span.end, node.span.end)
    return Span(node.span.source, max(start, before.span.end), node.span.end)


def _separated(entries: Sequence[Entry]) -> list[Piece]:
    pieces: list[Piece] = []
    for index, entry in enumerate(entries):
        pieces += [", " * bool(index) + entry.text]
        if entry.node is not None:
            pieces.append((entry.node, PIPE))
    return pieces


def _is_short(node: Expression) -> bool:
    """Whether `..` needs no spaces beside an end of a range."""
    if isinstance(node, Number):
        written = _number(node)
        return written[0].isdigit() and written[-1].isdigit()
    return level_of(node) >= POSTFIX


def _number(node: Number) -> str:
    """A number as it is written in the source, if known."""
    written = node.span.text if node.span is not None else ""
    try:
        same = type(node.value)(written.replace("_", "")) == node.value
    except ValueError:
        same = False
    return written if same else repr(node.value)
