"""From the parser's rules to the syntax tree: one method for each rule of `model.lark`, called with its children.

Children keep their punctuation, so that a rule's span runs from its first child to its last.
"""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple, cast

from grammar import mistakes
from grammar.diagnostics import NablacError
from grammar.lexer import Token, number_of, text_of
from grammar.limits import MOST_EXPRESSION_DEPTH
from grammar.source import Span
from grammar.syntax import (
    Argument,
    Assert,
    Assign,
    Attribute,
    Binary,
    Boolean,
    Call,
    Conditional,
    Const,
    Declaration,
    Declare,
    Declared,
    Definition,
    Ellipsis,
    Expression,
    File,
    For,
    Hyper,
    Identifier,
    If,
    Import,
    Index,
    ListOf,
    Name,
    Number,
    Output,
    Pipe,
    Preset,
    Range,
    Setting,
    Slice,
    Statement,
    TensorTypeSyntax,
    Text,
    Train,
    TupleOf,
    Unary,
)


class Part(NamedTuple):
    """An expression before it is part of the tree: its span with parentheses, and the depth of its nesting."""

    node: Any
    span: Span
    depth: int


class Block(NamedTuple):
    """A block in braces: its docstring and its statements."""

    doc: str | None
    body: tuple[Statement, ...]
    span: Span


class Group(NamedTuple):
    """Several parts of one kind, with the brackets around them."""

    items: tuple[Any, ...]
    span: Span


Children = list[Any]


class Builder:
    """Builds the tree of a file bottom up: a method for each rule of the grammar, called with the rule's children."""

    # Declarations

    def file(self, children: Children) -> File:
        doc = children[0] if children and _is(children[0], "DOC") else None
        declarations = tuple(cast(list[Declaration], _nodes(children)))
        span = _span(children) if children else None
        return File(_dedented(doc), declarations, span)  # type: ignore[arg-type]  # parser.py gives an empty file its span

    def definition(self, children: Children) -> Definition:
        kind, name, *hypers, block = children
        items = hypers[0].items if hypers else ()
        return Definition(kind.text, _identifier(name), items, block.doc, block.body, _span(children))

    def function(self, children: Children) -> Definition:
        name, last = _identifier(children[1]), children[-1]
        hypers = next((child.items for child in children if isinstance(child, Group)), ())
        if isinstance(last, Block):
            return Definition("fn", name, hypers, last.doc, last.body, _span(children))
        body = (Output(None, last.node, last.span),)
        return Definition("fn", name, hypers, None, body, _span(children))

    def train(self, children: Children) -> Train:
        _, name, block = children
        return Train(_identifier(name), block.doc, block.body, _span(children))

    def const(self, children: Children) -> Const:
        return Const(_identifier(children[1]), children[3].node, _span(children))

    def import_names(self, children: Children) -> Import:
        path = Text(text_of(children[1]), children[1].span)
        return Import(path, tuple(_identifier(name) for name in children[3::2]), _span(children))

    def hypers(self, children: Children) -> Group:
        return Group(tuple(_nodes(children)), _span(children))

    def hyper(self, children: Children) -> Hyper:
        kind = _identifier(children[2]) if len(children) > 2 and _is(children[1], "COLON") else None
        default = children[-1].node if isinstance(children[-1], Part) else None
        return Hyper(_identifier(children[0]), kind, default, _span(children))

    def block(self, children: Children) -> Block:
        doc = children[1] if _is(children[1], "DOC") else None
        return Block(_dedented(doc), tuple(_nodes(children)), _span(children))

    # Statements

    def declare(self, children: Children) -> Declare:
        kind = children[0]
        names = _share_types([child for child in children if isinstance(child, Declared)])
        last = children[-1] if isinstance(children[-1], Part) else None
        if kind.text != "state":
            for name in names:
                if name.type is None:
                    raise NablacError(mistakes.missing_type(kind.text, name))
        drawn = last is not None and _is(children[-2], "TILDE")
        return Declare(kind.text, names, last.node if last else None, drawn, _span(children))

    def declared(self, children: Children) -> Declared:
        optional = len(children) > 1 and _is(children[1], "QMARK")
        type = children[-1] if isinstance(children[-1], TensorTypeSyntax) else None
        return Declared(_identifier(children[0]), type, optional, _span(children))

    def scalar(self, children: Children) -> TensorTypeSyntax:
        return TensorTypeSyntax(_identifier(children[0]), (), _span(children))

    def tensor(self, children: Children) -> TensorTypeSyntax:
        dtype = _identifier(children[0]) if _is(children[0], "NAME") else None
        dims = tuple(part.node for part in children if isinstance(part, Part))
        ellipses = [part.span for part in children if isinstance(part, Part) and isinstance(part.node, Ellipsis)]
        if len(ellipses) > 1:
            raise NablacError(mistakes.second_ellipsis(ellipses[0], ellipses[1]))
        return TensorTypeSyntax(dtype, dims, _span(children))

    def assign(self, children: Children) -> Assign:
        targets = tuple(child for child in children if isinstance(child, Name))
        return Assign(targets, children[-1].node, _span(children))

    def target(self, children: Children) -> Name:
        return _name(children[0])

    def output(self, children: Children) -> Output:
        name = _identifier(children[1]) if isinstance(children[1], Token) else None
        return Output(name, children[-1].node, _span(children))

    def values(self, children: Children) -> Part:
        if len(children) == 1:
            return cast(Part, children[0])
        return self._join(TupleOf(_expressions(children), _span(children)), children)

    def for_each(self, children: Children) -> For:
        _, variable, _, iterable, block = children
        return For(_identifier(variable), iterable.node, block.body, _span(children))

    def if_else(self, children: Children) -> If:
        otherwise = children[4] if len(children) > 3 else None
        rest = (otherwise,) if isinstance(otherwise, If) else otherwise.body if otherwise else ()
        return If(children[1].node, children[2].body, rest, _span(children))

    def assertion(self, children: Children) -> Assert:
        message = children[3].node if len(children) > 3 else None
        return Assert(children[1].node, message, _span(children))

    def setting(self, children: Children) -> Setting:
        label = _identifier(children[1]) if isinstance(children[1], Token) else None
        value = next(child for child in children if isinstance(child, Part))
        over_epoch = _span(children[-2:]) if _is(children[-1], "EPOCH") else None
        return Setting(_identifier(children[0]), label, value.node, _span(children), over_epoch)

    def preset(self, children: Children) -> Preset:
        return Preset(_identifier(children[1]), tuple(_nodes(children)), _span(children))

    def preset_value(self, children: Children) -> Setting:
        return Setting(_identifier(children[0]), None, children[2].node, _span(children))

    # Expressions

    def pipe(self, children: Children) -> Part:
        before, arrow = children[0], children[1]
        last = before.node.stage if isinstance(before.node, Pipe) else before.node
        if isinstance(last, Conditional) and last.span.end == before.span.end:  # it is not in parentheses
            raise NablacError(mistakes.conditional_in_a_pipe(last.span, arrow.span))
        return self._join(Pipe(children[0].node, children[2].node, _span(children)), children)

    def conditional(self, children: Children) -> Part:
        then, condition, otherwise = _expressions(children)
        return self._join(Conditional(then, condition, otherwise, _span(children)), children)

    def binary(self, children: Children) -> Part:
        left, sign, right = children
        return self._join(Binary(sign.text, left.node, right.node, sign.span, _span(children)), children)

    def side_by_side(self, children: Children) -> Part:
        left, right = (child.node if isinstance(child, Part) else _name(child) for child in children)
        between = Span(left.span.source, left.span.end, right.span.start)
        return self._join(Binary(" ", left, right, between, _span(children)), children)

    def unary(self, children: Children) -> Part:
        return self._join(Unary(children[0].text, children[1].node, _span(children)), children)

    def span_of_values(self, children: Children) -> Part:
        return self._join(Range(children[0].node, children[2].node, _span(children)), children)

    def call(self, children: Children) -> Part:
        arguments = tuple(child for child in children if isinstance(child, Part) and child is not children[0])
        call = Call(children[0].node, tuple(argument.node for argument in arguments), _span(children))
        return self._join(call, children)

    def argument(self, children: Children) -> Part:
        (value,) = children
        return Part(Argument(None, value.node, value.span), value.span, value.depth)

    def named_argument(self, children: Children) -> Part:
        name, _, value = children
        span = _span(children)
        return Part(Argument(_identifier(name), value.node, span), span, value.depth)

    def index(self, children: Children) -> Part:
        value, *items = _expressions(children)
        return self._join(Index(value, tuple(items), _span(children)), children)

    def slice(self, children: Children) -> Part:
        bounds: list[Expression | None] = [None]
        for child in children:
            if isinstance(child, Token):
                bounds.append(None)
            else:
                bounds[-1] = child.node
        start, stop, step = (*bounds, None)[:3]
        return self._join(Slice(start, stop, step, _span(children)), children)

    def ellipsis(self, children: Children) -> Part:
        return Part(Ellipsis(_span(children)), _span(children), 1)

    def attribute(self, children: Children) -> Part:
        return self._join(Attribute(children[0].node, _identifier(children[2]), _span(children)), children)

    def transposed(self, children: Children) -> Part:
        return self._join(Unary("^T", children[0].node, _span(children)), children)

    def number(self, children: Children) -> Part:
        (token,) = children
        return Part(Number(number_of(token), token.span), token.span, 1)

    def text(self, children: Children) -> Part:
        (token,) = children
        return Part(Text(text_of(token), token.span), token.span, 1)

    def boolean(self, children: Children) -> Part:
        (token,) = children
        return Part(Boolean(token.text == "true", token.span), token.span, 1)

    def name(self, children: Children) -> Part:
        (token,) = children
        return Part(_name(token), token.span, 1)

    def group(self, children: Children) -> Part:
        return Part(children[1].node, _span(children), children[1].depth)

    def list_of(self, children: Children) -> Part:
        return self._join(ListOf(_expressions(children), _span(children)), children)

    def _join(self, node: Any, children: Children) -> Part:
        depth = 1 + max((child.depth for child in children if isinstance(child, Part)), default=0)
        if depth > MOST_EXPRESSION_DEPTH:
            raise NablacError(mistakes.too_deep(node.span))
        return Part(node, node.span, depth)


def _is(child: Any, type: str) -> bool:
    return isinstance(child, Token) and child.type == type


def _nodes(children: Children) -> list[Any]:
    return [child for child in children if not isinstance(child, Token)]


def _expressions(children: Children) -> tuple[Any, ...]:
    return tuple(child.node for child in children if isinstance(child, Part))


def _span(children: Children) -> Span:
    first: Span = children[0].span
    return first.to(children[-1].span) if len(children) > 1 else first


def _identifier(token: Token) -> Identifier:
    return Identifier(token.text, token.span)


def _name(token: Token) -> Name:
    return Name(token.text.removesuffix("'"), token.type == "PRIMED", token.span)


def _dedented(token: Token | None) -> str | None:
    """A docstring without its quotes and its indentation."""
    if token is None:
        return None
    first, _, rest = "\n".join(token.text[3:-3].splitlines()).partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip()


def _share_types(names: list[Declared]) -> tuple[Declared, ...]:
    """`W, U: [a, b]`: a name without a type has that of the next name with one."""
    shared: list[Declared] = []
    type = None
    for name in reversed(names):
        type = name.type or type
        shared.append(name if name.type else Declared(name.name, type, name.optional, name.span))
    return tuple(reversed(shared))
