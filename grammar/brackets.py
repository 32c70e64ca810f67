"""Matching of brackets before parsing, so that a missing one is reported where it was opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile

from grammar import mistakes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.lexer import Token
from grammar.limits import MOST_ERRORS, MOST_NESTING

CLOSERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
_SIGNS = {"RPAR": ")", "RSQB": "]"}
_DECLARATIONS = frozenset({"layer", "cell", "model", "optimizer", "fn", "train", "const"})


@dataclass
class Brackets:
    """The mismatched brackets, by the indices of their tokens."""

    unclosed: set[int] = field(default_factory=set)  # `(` and `[` without a closer
    ignored: set[int] = field(default_factory=set)  # closers without an opener
    meant: dict[int, str] = field(default_factory=dict)  # closers of the wrong kind, and the kind that was meant
    missing: dict[int, int] = field(default_factory=dict)  # how many `}` are missing before a token
    mistakes: list[Diagnostic] = field(default_factory=list)

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a mistake, up to as many as are shown."""
        if len(self.mistakes) < MOST_ERRORS:
            self.mistakes.append(diagnostic)


def match_brackets(tokens: list[Token]) -> Brackets:
    """Match the brackets. Where a `}` is missing, a block ends before the next declaration."""
    brackets = _match(tokens, stop_at_declarations=False)
    return _match(tokens, stop_at_declarations=True) if brackets.missing else brackets


def _match(tokens: list[Token], stop_at_declarations: bool) -> Brackets:
    brackets = Brackets()
    opened: list[int] = []
    pairs: dict[int, int] = {}
    for index, token in enumerate(tokens):
        kind = token.type
        if kind in CLOSERS:
            opened.append(index)
            if len(opened) > MOST_NESTING:
                raise NablacError(mistakes.nested_too_deeply(token.span))
        elif kind in ("RPAR", "RSQB", "RBRACE"):
            _close(tokens, index, opened, pairs, brackets)
        elif stop_at_declarations and opened and token.text in _DECLARATIONS and _starts_declaration(tokens, index):
            _report_unclosed(tokens, index, opened, pairs, brackets)
    _report_unclosed(tokens, len(tokens), opened, pairs, brackets)
    return brackets


def _close(tokens: list[Token], index: int, opened: list[int], pairs: dict[int, int], brackets: Brackets) -> None:
    kind = tokens[index].type
    for above, opener in enumerate(reversed(opened)):
        if CLOSERS[tokens[opener].type] == kind:
            for unclosed in opened[len(opened) - above :]:
                brackets.unclosed.add(unclosed)
                brackets.report(mistakes.unclosed_bracket(tokens[unclosed].span, tokens[index].span))
            del opened[len(opened) - above - 1 :]
            pairs[opener] = index
            return
        if tokens[opener].type == "LBRACE":  # a `)` does not reach out of its block
            break
    if opened and tokens[opened[-1]].type != "LBRACE" and kind != "RBRACE":  # one slip, not two mistakes
        opener = opened.pop()
        meant = CLOSERS[tokens[opener].type]
        pairs[opener], brackets.meant[index] = index, meant
        brackets.report(mistakes.wrong_closer(tokens[opener].span, tokens[index].span, _SIGNS[meant]))
        return
    brackets.ignored.add(index)
    brackets.report(mistakes.unmatched_closer(tokens[index].span))


def _report_unclosed(
    tokens: list[Token], index: int, opened: list[int], pairs: dict[int, int], brackets: Brackets
) -> None:
    """Report all brackets that are still open here."""
    for opener in opened:
        if tokens[opener].type == "LBRACE":
            brackets.missing[index] = brackets.missing.get(index, 0) + 1
        else:
            brackets.unclosed.add(opener)
        if len(brackets.mistakes) < MOST_ERRORS:
            suspect = _by_indentation(tokens, opener, index, pairs)
            brackets.report(mistakes.unclosed_bracket(tokens[suspect].span, None))
    opened.clear()


def _by_indentation(tokens: list[Token], opener: int, end: int, pairs: dict[int, int]) -> int:
    """The `{` whose `}` is indented less than its line: likelier unclosed than the outermost one."""
    if tokens[opener].type == "LBRACE":
        for inner in sorted(takewhile(lambda inner: inner > opener, reversed(pairs))):  # closed since it was opened
            if inner < end and tokens[inner].type == "LBRACE":
                close = tokens[pairs[inner]].span
                text = close.source.line(close.line)
                if text.lstrip().startswith("}") and close.column - 1 < _indentation(tokens[inner]):
                    return inner
    return opener


def _indentation(token: Token) -> int:
    text = token.span.source.line(token.span.line)
    return len(text) - len(text.lstrip())


def _starts_declaration(tokens: list[Token], index: int) -> bool:
    following = tokens[index + 1].type if index + 1 < len(tokens) else ""
    return tokens[index].span.column == 1 and following == "NAME"
