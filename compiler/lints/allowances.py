"""Comments that allow a warning: `# nablac: allow W201`, behind a line, or above a statement or a declaration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, did_you_mean
from grammar.lexer import Token
from grammar.parser import comments_of
from grammar.source import Span

_COMMENT = re.compile(r"#\s*nablac\b(?P<colon>\s*:)?\s*(?P<word>[A-Za-z]+)(?P<code>[\s:]+[A-Z]\d{3}\b)?", re.IGNORECASE)
_ALLOW = re.compile(r"#\s*nablac:\s*allow\b(?P<codes>[^:(]*)")  # a reason may follow in parentheses or behind a colon


@dataclass(frozen=True)
class Allowance:
    """A warning that a comment allows, the span in which it does, and that of its code in the comment."""

    code: str
    where: Span
    written: Span

    def allows(self, diagnostic: Diagnostic) -> bool:
        """Whether this allows a warning where it is."""
        at, where = diagnostic.span, self.where
        is_inside = at is not None and where.source is at.source and where.start <= at.start < where.end
        return is_inside and self.code == diagnostic.code


@dataclass(frozen=True)
class Allowances:
    """The warnings that a file allows, and the mistakes in the comments that should allow some."""

    all: tuple[Allowance, ...]
    mistakes: tuple[Diagnostic, ...]

    def apply(self, warnings: Sequence[Diagnostic]) -> list[Diagnostic]:
        """The warnings that are not allowed, those on the comments, and W102 for what allows none of the warnings."""
        left = [warning for warning in warnings if not any(one.allows(warning) for one in self.all)]
        unused = [one for one in self.all if not any(one.allows(warning) for warning in warnings)]
        return [*left, *self.mistakes, *map(_unused, unused)]


def allowances_of(tree: syntax.File) -> Allowances:
    """What the comments of a file allow; a comment without a known code is a mistake."""
    allowances: list[Allowance] = []
    mistakes: list[Diagnostic] = []
    source = tree.span.source
    if "nablac" not in source.text.lower():
        return Allowances((), ())
    for comment in comments_of(source):
        matched = _ALLOW.match(comment.text)
        if matched is None:
            mistakes += _almost(comment)
            continue
        where = _span_of(tree, comment)
        named = list(re.finditer(r"[^\s,]+", matched["codes"]))
        if not named:
            message, hint = "this comment allows no warning", "name its code, as in `# nablac: allow W201`"
            mistakes.append(Diagnostic(codes.W101, message, comment.span, hint=hint))
        for word in named:
            code = word.group()
            start = comment.span.start + matched.start("codes") + word.start()
            written = Span(source, start, start + len(code))
            if code in codes.warnings():
                allowances.append(Allowance(code, where, written))
            else:
                mistakes.append(_unknown(code, written))
    return Allowances(tuple(allowances), tuple(mistakes))


def _almost(comment: Token) -> Iterator[Diagnostic]:
    """A mistake where a comment is nearly `# nablac: allow CODE`."""
    matched = _COMMENT.match(comment.text)
    if matched is None:
        return
    word = matched["word"].lower()
    is_near = word == "allow" or did_you_mean(word, ["allow"]) is not None
    if sum((is_near, matched["colon"] is not None, matched["code"] is not None)) < 2:
        return
    written = Span(comment.span.source, comment.span.start, comment.span.start + matched.end("word"))
    hint = "write it as `# nablac: allow W201`"
    yield Diagnostic(codes.W101, "this comment allows no warning", written, hint=hint)


def _unused(allowance: Allowance) -> Diagnostic:
    message, hint = f"there is no warning {allowance.code} here to allow", "remove the code, or the comment"
    return Diagnostic(codes.W102, message, allowance.written, hint=hint)


def _unknown(code: str, span: Span) -> Diagnostic:
    if code in codes.declared():
        return Diagnostic(codes.W101, f"{code} is an error, which cannot be allowed", span)
    hint = did_you_mean(code, codes.warnings()) or "`nablac explain` lists all codes"
    return Diagnostic(codes.W101, f"there is no warning `{code}`", span, hint=hint)


def _span_of(tree: syntax.File, comment: Token) -> Span:
    """Where a comment allows: its own line, or, if it stands alone, the statement or declaration below it."""
    source, line = comment.span.source, comment.span.line
    start = source.line_starts[line - 1]
    if source.text[start : comment.span.start].strip():
        return Span(source, start, comment.span.start)
    below = next((span for span in _spans(tree) if span.start >= comment.span.end), None)
    return below if below is not None else comment.span


def _spans(tree: syntax.File) -> Iterator[Span]:
    """The spans of all declarations and statements, in the order of the text."""
    pending: list[syntax.Declaration | syntax.Statement] = list(reversed(tree.declarations))
    while pending:
        node = pending.pop()
        yield node.span
        match node:
            case syntax.Definition(body=body) | syntax.Train(body=body) | syntax.For(body=body):
                pending += reversed(body)
            case syntax.If(then=then, otherwise=otherwise):
                pending += reversed([*then, *otherwise])
