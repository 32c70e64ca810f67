"""Syntax tree to canonical text: uniform spacing and indentation, with comments kept in place.

No command uses it yet; the tests print every tree and parse it again, so that the parser loses nothing.

Choices of layout that help the reader are kept: numbers as written, a blank line between groups of statements, a short
block on one line, a pipe with one stage on each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from grammar.expression_printer import POSTFIX, print_expression, print_text, split_pipe
from grammar.lexer import Token
from grammar.parser import comments_of
from grammar.source import Source, Span
from grammar.syntax import (
    Assert,
    Assign,
    Call,
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
    Pipe,
    Preset,
    Setting,
    Statement,
    TensorTypeSyntax,
    Train,
    TupleOf,
)

INDENT = "    "
WIDTH = 120


def print_file(file: File) -> str:
    """The canonical text of a file; empty for an empty one, else ending in a newline."""
    source = file.span.source
    page = _Page(source, comments_of(source))
    page.doc(file.doc)
    for declaration in file.declarations:
        _declaration(page, declaration)
    page.comments_before(len(source.text) + 1)
    while page.lines and not page.lines[-1]:
        page.lines.pop()
    return "".join(f"{line}\n" for line in page.lines)


@dataclass
class _Page:
    """The lines printed so far, and the comments that are not printed yet."""

    source: Source
    comments: list[Token]
    lines: list[str] = field(default_factory=list)
    level: int = 0
    fresh: bool = True  # no blank line may follow: at the start of the file or of a block
    taken: int = 0

    def line(self, text: str) -> None:
        self.lines.append((INDENT * self.level + text).rstrip())
        self.fresh = False

    def blank(self) -> None:
        if not self.fresh and self.lines and self.lines[-1]:
            self.lines.append("")

    def doc(self, doc: str | None) -> None:
        if doc is None:
            return
        lines = doc.split("\n")
        if len(lines) == 1 and not doc.endswith('"'):
            self.line(f'"""{doc}"""')
        else:
            self.line(f'"""{lines[0]}')
            for line in lines[1:]:
                # Not through `line`: the text of a docstring is kept exactly.
                self.lines.append(INDENT * self.level + line if line else "")
            self.line('"""')

    def comments_before(self, offset: int) -> None:
        """The comments before an offset, on lines of their own."""
        while self.taken < len(self.comments) and self.comments[self.taken].span.start < offset:
            comment = self.comments[self.taken]
            self.taken += 1
            if self.after_blank(comment.span):
                self.blank()
            self.line(_comment(comment))

    def line_with_comment(self, text: str, offset: int) -> None:
        """A line, followed by the comment that ends the source line of `offset`."""
        comment = self.comments[self.taken] if self.taken < len(self.comments) else None
        if (
            comment is not None
            and comment.span.start >= offset
            and comment.span.line == self.source.position(offset)[0]
        ):
            if not self.source.text[offset : comment.span.start].strip(" \t\f\v,;"):
                text = self.with_trailing_comment(text, comment)
        self.line(text)

    def with_trailing_comment(self, text: str, comment: Token) -> str:
        """A line followed by a comment, in the comment's own column if the line is short enough."""
        self.taken += 1
        width = max(len(text) + 2, comment.span.column - 1 - len(INDENT) * self.level)
        return f"{text:<{width}}{_comment(comment)}"

    def after_blank(self, span: Span) -> bool:
        line = span.line
        return line > 1 and not self.source.line(line - 1).strip()

    def on_one_line(self, span: Span) -> bool:
        return span.line == self.source.position(span.end)[0]

    def start(self, span: Span) -> None:
        """What comes before a declaration or a statement: its comments and a blank line."""
        self.comments_before(span.start)
        if self.after_blank(span):
            self.blank()


def _comment(token: Token) -> str:
    return token.text.rstrip()


# Declarations


def _declaration(page: _Page, node: Declaration) -> None:
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
        _block(page, f"train {node.model.text}", node.doc, node.body, node.span)
    else:
        _definition(page, node)
    if isinstance(node, Definition | Train) and not page.on_one_line(node.span):
        page.blank()


def _definition(page: _Page, node: Definition) -> None:
    head = f"{node.kind} {node.name.text}("
    indent, first = " " * len(head), True
    for hyper in node.hypers:
        text = _hyper(hyper)
        if not first and len(f"{head} {text}) {{") > WIDTH:
            page.line(head)
            head = indent + text
        else:
            head += text if first else f" {text}"
        head += ","
        first = False
    head = f"{head.removesuffix(',')})"
    if node.kind == "fn" and node.doc is None and len(node.body) == 1:
        (only,) = node.body
        if isinstance(only, Output) and only.name is None and not isinstance(only.value, TupleOf):
            _value(page, f"{head} = ", only.value, node.span)
            return
    _block(page, head, node.doc, node.body, node.span)


def _hyper(node: Hyper) -> str:
    kind = f": {node.kind.text}" if node.kind is not None else ""
    default = f" = {print_expression(node.default)}" if node.default is not None else ""
    return f"{node.name.text}{kind}{default}"


# Statements


def _block(page: _Page, head: str, doc: str | None, body: Sequence[Statement], span: Span, tail: str = "") -> None:
    """`head { ... }`: on one line if it is written so and holds at most one statement."""
    if _fits_on_line(page, doc, body, span):
        inner = _Page(page.source, [])
        for statement in body:
            _statement(inner, statement, 0)
        if len(inner.lines) <= 1:
            text = f"{head} {{ {inner.lines[0]} }}" if inner.lines else f"{head} {{ }}"
            if len(text) + len(INDENT) * page.level <= WIDTH:
                _simple(page, text, span)
                return
    text = f"{head} {{"
    if page.taken < len(page.comments):
        comment = page.comments[page.taken]
        inside = body[0].span.start if body else span.end
        if comment.span.line == span.line and comment.span.start < inside:
            text = page.with_trailing_comment(text, comment)
    page.line(text)
    _inside(page, doc, body, span.end)
    _simple(page, "}", span)


def _fits_on_line(page: _Page, doc: str | None, body: Sequence[Statement], span: Span) -> bool:
    if doc is not None or len(body) > 1 or any(isinstance(statement, If | For) for statement in body):
        return False
    if page.taken < len(page.comments) and page.comments[page.taken].span.start < span.end:
        return False
    return not body or page.on_one_line(span)


def _inside(page: _Page, doc: str | None, body: Sequence[Statement], end: int) -> None:
    page.level += 1
    page.fresh = True
    page.doc(doc)
    width = max((len(setting.name.text) for setting in body if isinstance(setting, Setting)), default=0)
    for statement in body:
        _statement(page, statement, width)
    page.comments_before(end)
    page.level -= 1
    page.fresh = False


def _statement(page: _Page, node: Statement, width: int) -> None:
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
            message = f", {print_expression(node.message)}" if node.message is not None else ""
            _simple(page, f"assert {print_expression(node.condition)}{message}", node.span)
        case For():
            head = f"for {node.variable.text} in {print_expression(node.iterable)}"
            _block(page, head, None, node.body, node.span)
        case If():
            _if(page, node)
        case Preset():
            _preset(page, node)


def _declare(page: _Page, node: Declare) -> None:
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


def _if(page: _Page, node: If) -> None:
    head = f"if {print_expression(node.condition)}"
    if not node.otherwise:
        _block(page, head, None, node.then, node.span)
        return
    while True:
        page.line(f"{head} {{")
        chained = node.otherwise[0] if len(node.otherwise) == 1 else None
        is_chain = isinstance(chained, If) and _is_else_if(page, node, chained)
        end = node.otherwise[0].span.start if node.otherwise else node.span.end
        _inside(page, None, node.then, min(end, _end_of(node.then, node.span.end)))
        if is_chain and isinstance(chained, If):
            node, head = chained, f"}} else if {print_expression(chained.condition)}"
            continue
        if node.otherwise:
            page.line("} else {")
            _inside(page, None, node.otherwise, node.span.end)
        _simple(page, "}", node.span)
        return


def _is_else_if(page: _Page, node: If, chained: If) -> bool:
    """Whether this is an `else if`, as which `else { if ... }` is printed too."""
    return node.span.end >= chained.span.end and page.source is chained.span.source


def _end_of(body: Sequence[Statement], otherwise: int) -> int:
    return body[-1].span.end if body else otherwise


def _preset(page: _Page, node: Preset) -> None:
    settings = [f"{setting.name.text} = {print_expression(setting.value)}" for setting in node.settings]
    text = f"preset {node.name.text} {{ {', '.join(settings)} }}" if settings else f"preset {node.name.text} {{ }}"
    has_comment = page.taken < len(page.comments) and page.comments[page.taken].span.start < node.span.end
    if page.on_one_line(node.span) and not has_comment and len(text) + len(INDENT) * page.level <= WIDTH:
        _simple(page, text, node.span)
        return
    page.line(f"preset {node.name.text} {{")
    page.level += 1
    page.fresh = True
    for setting, line in zip(node.settings, settings, strict=True):
        page.start(setting.span)
        _simple(page, line, setting.span)
    page.comments_before(node.span.end)
    page.level -= 1
    _simple(page, "}", node.span)


def _simple(page: _Page, text: str, span: Span) -> None:
    """One line that ends where the span ends; the comments inside it come first."""
    if text != "}":
        page.comments_before(span.end)
    page.line_with_comment(text, span.end)


def _value(page: _Page, head: str, value: Expression, span: Span, tail: str = "") -> None:
    """`head value tail`; a pipe that is written on several lines, or is too long for one, has a line for each stage."""
    text = head + print_expression(value) + tail
    stages = split_pipe(value) if isinstance(value, Pipe) else []
    too_long = len(text) + len(INDENT) * page.level > WIDTH
    if isinstance(value, Call) and value.arguments and (too_long or not page.on_one_line(value.span)):
        _long_call(page, head, value, span, tail)
        return
    if len(stages) < 2 or not (too_long or _is_broken(page, stages)):
        _simple(page, text, span)
        return
    first, *rest = stages
    heads = head + print_expression(first, level=1)
    if _same_line(page, first, rest[0]) or not _is_broken(page, stages):
        second, *rest = rest
        arrow = " " * (len(heads) + 1)
        heads += f" -> {print_expression(second, level=1)}"
        ends = [second.span.end]
    else:
        arrow = " " * (len(head) - 3)  # aligns the stages with the value
        ends = [first.span.end]
    lines = [heads]
    for before, stage in zip([first, *stages[1:]][len(stages) - len(rest) - 1 :], rest, strict=False):
        if _same_line(page, before, stage):
            lines[-1] += f" -> {print_expression(stage, level=1)}"
            ends[-1] = stage.span.end
        else:
            lines.append(f"{arrow}-> {print_expression(stage, level=1)}")
            ends.append(stage.span.end)
    if len(lines) == 1 and too_long:  # it was written on one line: a line for each stage
        lines = [heads, *(f"{arrow}-> {print_expression(stage, level=1)}" for stage in rest)]
        ends = [ends[0], *(stage.span.end for stage in rest)]
    lines[-1] += tail
    page.comments_before(ends[0] - 1)
    for index, (line, end) in enumerate(zip(lines, ends, strict=True)):
        if index:
            page.comments_before(end)
        page.line_with_comment(line, span.end if index == len(lines) - 1 else end)


def _long_call(page: _Page, head: str, call: Call, span: Span, tail: str) -> None:
    """A call with a line for each argument."""
    page.line(f"{head}{print_expression(call.callee, level=POSTFIX)}(")
    page.level += 1
    for argument in call.arguments:
        page.comments_before(argument.span.start)
        page.line_with_comment(f"{print_expression(argument)},", argument.span.end)
    page.comments_before(span.end)
    page.level -= 1
    page.line_with_comment(f"){tail}", span.end)


def _same_line(page: _Page, first: Expression, second: Expression) -> bool:
    return page.source.position(first.span.end)[0] == second.span.line


def _is_broken(page: _Page, stages: Sequence[Expression]) -> bool:
    return any(not _same_line(page, *pair) for pair in pairwise(stages))
