"""Comments that allow a warning: `# nablac: allow W201`, behind a line, or above a statement or a declaration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, did_you_mean
from grammar.lexer import Token
from grammar.parser import comments_of
from grammar.source import Span

_ALLOW = re.compile(r"#\s*nablac:\s*allow\b(?P<codes>[^:(]*)")  # a reason may follow in parentheses or behind a colon


@dataclass(frozen=True)
class Allowances:
    """The warnings that a file allows, each with the span in which it is allowed."""

    spans: tuple[tuple[str, Span], ...]
    mistakes: tuple[Diagnostic, ...]

    def allow(self, diagnostic: Diagnostic) -> bool:
        """Whether a warning is allowed where it is."""
        at = diagnostic.span
        return at is not None and any(
            code == diagnostic.code and span.source is at.source and span.start <= at.start < span.end
            for code, span in self.spans
        )


def allowances_of(tree: syntax.File) -> Allowances:
    """What the comments of a file allow; a comment without a known code is a mistake."""
    spans: list[tuple[str, Span]] = []
    mistakes: list[Diagnostic] = []
    source = tree.span.source
    if "nablac:" not in source.text:
        return Allowances((), ())
    for comment in comments_of(source):
        matched = _ALLOW.match(comment.text)
        if matched is None:
            continue
        where = _span_of(tree, comment)
        named = list(re.finditer(r"[^\s,]+", matched["codes"]))
        if not named:
            message, hint = "this comment allows no warning", "name its code, as in `# nablac: allow W201`"
            mistakes.append(Diagnostic(codes.W101, message, comment.span, hint=hint))
        for word in named:
            code = word.group()
            if code in codes.warnings():
                spans.append((code, where))
                continue
            start = comment.span.start + matched.start("codes") + word.start()
            mistakes.append(_unknown(code, Span(source, start, start + len(code))))
    return Allowances(tuple(spans), tuple(mistakes))


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
