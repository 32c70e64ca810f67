"""Syntax tree to canonical text: uniform spacing and indentation, with comments kept in place.

Choices of layout that help the reader are kept: numbers as written, a blank line between groups of statements, a short
block on one line, a pipe with one stage on each line, brackets with their values on several lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from grammar.bracket_lines import end_of_first_line, is_broken, one_line, print_pieces
from grammar.expression_printer import (
    OR,
    PIPE,
    Brackets,
    Entry,
    Piece,
    print_expression,
    print_text,
    split_at_brackets,
    split_pipe,
)
from grammar.parser import comments_of
from grammar.printed_page import Page
from grammar.source import Span
from grammar.syntax import (
    Assert,
    Assign,
    Const,
    Declaration,
    Declare,
    Definition,
    Ellipsis,
    Expression,
    File,
    For,
    Hyper,
    If,
    Import,
    Output,
    Preset,
    Setting,
    Statement,
    TensorTypeSyntax,
    Train,
    TupleOf,
)


def print_file(file: File) -> str:
    """The canonical text of a file; empty for an empty one, else ending in a newline."""
    source = file.span.source
    page = Page(source, comments_of(source))
    page.doc(file.doc)
    for declaration in file.declarations:
        _declaration(page, declaration)
    page.comments_before(len(source.text) + 1)
    return page.text()


# Declarations


def _declaration(page: Page, node: Declaration) -> None:
    if isinstance(node, Definition | Train) and not page.fresh and not page.on_one_line(node.span):
        first = page.comments[page.taken].span if page.taken < len(page.comments) else node.span
        if first.start >= node.span.start or first.line + 1 >= node.span.line:
            page.blank()
    page.start(node.span)
    if isinstance(node, Const):
        _value(page, f"const {node.name.text} = ", node.value, node.span)
    elif isinstance(node, Import):
        names = ", ".join(name.text for name in node.names)
        _simple(page, f"from {print_text(node.path)} import {names}", node.span)
    elif isinstance(node, Train):
        _block(page, [f"train {node.model.text}"], node.model.span.end, node.doc, node.body, node.span)
    else:
        _definition(page, node)
    if isinstance(node, Definition | Train) and not page.on_one_line(node.span):
        page.blank()


def _definition(page: Page, node: Definition) -> None:
    name = f"{node.kind} {node.name.text}"
    start = page.find("(", node.name.span.end) if node.hypers else node.name.span.end
    end = node.hypers[-1].span.end if node.hypers else node.name.span.end
    entries = tuple(Entry(hyper.default, hyper.span, _before_default(hyper)) for hyper in node.hypers)
    closing = page.find(")", end) + 1 if node.hypers else end
    head: list[str | Brackets] = [name, Brackets("(", entries, ")", Span(page.source, start, closing))]
    if node.kind == "fn" and node.doc is None and len(node.body) == 1:
        (only,) = node.body
        if isinstance(only, Output) and only.name is None and not isinstance(only.value, TupleOf):
            print_pieces(page, [*head, *split_at_brackets([" = ", (only.value, PIPE)])], node.span.end)
            return
    _block(page, head, closing, node.doc, node.body, node.span)


def _before_default(hyper: Hyper) -> str:
    kind = f": {hyper.kind.text}" if hyper.kind is not None else ""
    return f"{hyper.name.text}{kind}" + (" = " if hyper.default is not None else "")


# Statements


def _block(
    page: Page, head: Sequence[str | Brackets], end: int, doc: str | None, body: Sequence[Statement], span: Span
) -> None:
    """`head { ... }`, on one line if it is written so and holds at most one statement; the `{` is behind `end`."""
    opened = page.find("{", end) + 1
    inside = Span(page.source, opened, span.end)
    if not is_broken(page, head):
        page.comments_before(opened)
    if _fits_on_line(page, doc, body, inside) and not is_broken(page, head):
        inner = Page(page.source, [])
        for statement in body:
            _statement(inner, statement, 0)
        if len(inner.lines) <= 1:
            text = f"{one_line(head)} {{ {inner.lines[0]} }}" if inner.lines else f"{one_line(head)} {{ }}"
            if len(text) <= page.width:
                _simple(page, text, span)
                return
    print_pieces(page, [*head, " {"], opened)
    _inside(page, doc, body, span.end)
    _simple(page, "}", span)


def _fits_on_line(page: Page, doc: str | None, body: Sequence[Statement], span: Span) -> bool:
    if doc is not None or len(body) > 1 or any(isinstance(statement, If | For) for statement in body):
        return False
    if page.taken < len(page.comments) and page.comments[page.taken].span.start < span.end:
        return False
    return not body or page.on_one_line(span)


def _inside(page: Page, doc: str | None, body: Sequence[Statement], end: int) -> None:
    with page.indented():
        page.doc(doc)
        width = max((len(setting.name.text) for setting in body if isinstance(setting, Setting)), default=0)
        for statement in body:
            _statement(page, statement, width)
        page.comments_before(end)


def _statement(page: Page, node: Statement, width: int) -> None:
    page.start(node.span)
    match node:
        case Declare():
            _declare(page, node)
        case Assign():
            targets = ", ".join(target.text + ("'" if target.primed else "") for target in node.targets)
            _value(page, f"{targets} = ", node.value, node.span)
        case Output():
            name = f"{node.name.text} = " if node.name is not None else ""
            _value(page, f"output {name}", node.value, node.span)
        case Setting():
            label = f"{node.label.text} = " if node.label is not None else ""
            tail = " over epoch" if node.over_epoch is not None else ""
            _value(page, f"{node.name.text.ljust(width)} {label}", node.value, node.span, tail)
        case Assert():
            condition: list[Piece] = ["assert ", (node.condition, PIPE)]
            message: list[Piece] = [", ", (node.message, PIPE)] if node.message is not None else []
            print_pieces(page, split_at_brackets([*condition, *message]), node.span.end)
        case For():
            loop = split_at_brackets([f"for {node.variable.text} in ", (node.iterable, PIPE)])
            _block(page, loop, node.iterable.span.end, None, node.body, node.span)
        case If():
            _if(page, node)
        case Preset():
            _preset(page, node)


def _declare(page: Page, node: Declare) -> None:
    text: str = node.kind
    for index, name in enumerate(node.names):
        following = node.names[index + 1] if index + 1 < len(node.names) else None
        text += (" " if index == 0 else ", ") + name.name.text + ("?" if name.optional else "")
        if name.type is not None and (following is None or following.type is not name.type):
            text += f": {_type(name.type)}"
    if node.initializer is None:
        _simple(page, text, node.span)
    else:
        _value(page, f"{text} {'~' if node.drawn else '='} ", node.initializer, node.span)


def _type(node: TensorTypeSyntax) -> str:
    dtype = node.dtype.text if node.dtype is not None else ""
    if dtype and not node.dims:
        return dtype
    dims = ", ".join("..." if isinstance(dim, Ellipsis) else print_expression(dim) for dim in node.dims)
    return f"{dtype}[{dims}]"


def _if(page: Page, node: If) -> None:
    head = split_at_brackets(["if ", (node.condition, PIPE)])
    if not node.otherwise:
        _block(page, head, node.condition.span.end, None, node.then, node.span)
        return
    while True:
        opened = page.find("{", node.condition.span.end) + 1
        print_pieces(page, [*head, " {"], opened)
        chained = node.otherwise[0] if len(node.otherwise) == 1 else None
        is_chain = isinstance(chained, If) and _is_else_if(page, node, chained)
        end = node.then[-1].span.end if node.then else opened
        if is_chain and isinstance(chained, If):
            following = split_at_brackets(["} else if ", (chained.condition, PIPE)])
            _inside(page, None, node.then, end_of_first_line(page, following, chained.condition.span.end))
            node, head = chained, following
            continue
        _inside(page, None, node.then, page.find("else", end) if node.otherwise else node.span.end)
        if node.otherwise:
            page.line("} else {")
            _inside(page, None, node.otherwise, node.span.end)
        _simple(page, "}", node.span)
        return


def _is_else_if(page: Page, node: If, chained: If) -> bool:
    """Whether this is an `else if`, as which `else { if ... }` is printed too."""
    return node.span.end >= chained.span.end and page.source is chained.span.source


def _preset(page: Page, node: Preset) -> None:
    entries = tuple(Entry(setting.value, setting.span, f"{setting.name.text} = ") for setting in node.settings)
    braces = Span(page.source, page.find("{", node.name.span.end), node.span.end)
    text = f"preset {node.name.text} "
    print_pieces(page, [text, Brackets("{", entries, "}", braces, "")] if entries else [text + "{ }"], node.span.end)


def _simple(page: Page, text: str, span: Span) -> None:
    """One line that ends where the span ends; the comments inside it come first."""
    if text != "}":
        page.comments_before(span.end)
    page.line_with_comment(text, span.end)


def _value(page: Page, head: str, value: Expression, span: Span, tail: str = "") -> None:
    """`head value tail`; a pipe that is written on several lines, or is too long for one, has a line for each stage."""
    pieces = split_at_brackets([head, (value, PIPE), tail])
    rows = _rows_of_pipe(page, split_pipe(value), len(one_line(pieces)) > page.width)
    if len(rows) < 2:
        print_pieces(page, pieces, span.end)
        return
    start = len(head) - 3  # of the arrows: aligned with the value, or with an arrow in the first line
    for index, row in enumerate(rows):
        parts: list[str | Brackets] = [" " * start + "-> " if index else head]
        for position, stage in enumerate(row):
            parts += split_at_brackets([" -> " if position else "", (stage, OR)])
        is_last = index == len(rows) - 1
        broken = print_pieces(page, [*parts, tail] if is_last else parts, span.end if is_last else row[-1].span.end)
        if index == 0 and len(row) > 1 and not broken:
            start = len(head) + len(print_expression(row[0], level=OR)) + 1


def _rows_of_pipe(page: Page, stages: Sequence[Expression], too_long: bool) -> list[list[Expression]]:
    """The value and the stages of a pipe by lines: as written, or, if that is one line and too long, one on each."""
    rows: list[list[Expression]] = []
    for stage in stages:
        if rows and _same_line(page, rows[-1][-1], stage):
            rows[-1].append(stage)
        else:
            rows.append([stage])
    if too_long and len(rows) == 1 and len(stages) > 2:
        rows = [[*stages[:2]], *([stage] for stage in stages[2:])]
    return rows


def _same_line(page: Page, first: Expression, second: Expression) -> bool:
    return page.source.position(first.span.end)[0] == second.span.line
