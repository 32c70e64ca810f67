"""Expressions to canonical text, with only the parentheses that are needed.

Nothing here is recursive: an expression may be a thousand operators deep.
"""

from __future__ import annotations

from grammar.lexer import ESCAPES
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
_Piece = str | tuple[_Node, int]  # a node, and the lowest level that needs no parentheses


def print_expression(node: _Node, level: int = PIPE) -> str:
    """An expression as text, in parentheses if it binds less tightly than `level`."""
    pending: list[_Piece] = [(node, level)]
    written: list[str] = []
    while pending:
        piece = pending.pop()
        if isinstance(piece, str):
            written.append(piece)
            continue
        expression, lowest = piece
        pieces = _pieces(expression)
        if level_of(expression) < lowest:
            pieces = ["(", *pieces, ")"]
        pending.extend(reversed(pieces))
    return "".join(written)


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


def _pieces(node: _Node) -> list[_Piece]:
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
            return ["[", *_separated(items), "]"]
        case TupleOf(items):
            return _separated(items)
        case Unary("-", operand):
            return ["-", (operand, SIGN)]
        case Unary("not", operand):
            return ["not ", (operand, NOT)]
        case Unary(_, operand):
            return [(operand, POSTFIX), "^T"]
        case Binary(" ", first, second):
            return [(first, POSTFIX if isinstance(first, Unary) else ATOM), " ", (second, ATOM)]
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
            return [(callee, POSTFIX), "(", *_separated(arguments), ")"]
        case Index(value, items):
            return [(value, POSTFIX), "[", *_separated(items), "]"]
        case Attribute(value, name):
            return [*(["(", (value, PIPE), ")"] if isinstance(value, Number) else [(value, POSTFIX)]), f".{name.text}"]
        case Slice(start, stop, step):
            ends: list[_Piece] = [*([(start, PIPE)] if start else []), ":", *([(stop, PIPE)] if stop else [])]
            return [*ends, ":", (step, PIPE)] if step else ends
    raise AssertionError(node)


def _separated(items: tuple[_Node, ...]) -> list[_Piece]:
    pieces: list[_Piece] = []
    for index, item in enumerate(items):
        pieces += [", ", (item, PIPE)] if index else [(item, PIPE)]
    return pieces


def _is_short(node: Expression) -> bool:
    return isinstance(node.value, int) if isinstance(node, Number) else level_of(node) >= POSTFIX


def _number(node: Number) -> str:
    """A number as it is written in the source, if known."""
    written = node.span.text if node.span is not None else ""
    try:
        same = type(node.value)(written.replace("_", "")) == node.value
    except ValueError:
        same = False
    return written if same else repr(node.value)
