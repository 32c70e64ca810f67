"""Which bracket closes which, found before parsing so that a missing one is reported where it was opened."""

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
    """Places are indices of tokens."""

    unclosed: set[int] = field(default_factory=set)  # `(` and `[` that nothing closes
    ignored: set[int] = field(default_factory=set)  # closers that close nothing
    meant: dict[int, str] = field(default_factory=dict)  # closers of the wrong kind, and the kind that they stand for
    missing: dict[int, int] = field(default_factory=dict)  # how many `}` are wanting before a place
    mistakes: list[Diagnostic] = field(default_factory=list)

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a mistake, unless as many are kept as are shown."""
        if len(self.mistakes) < MOST_ERRORS:
            self.mistakes.append(diagnostic)


def match_brackets(tokens: list[Token]) -> Brackets:
    """Which brackets pair up, and what is wrong with the others; a missing `}` ends a block before a declaration."""
    found = _match(tokens, stop_at_declarations=False)
    return _match(tokens, stop_at_declarations=True) if found.missing else found


def _match(tokens: list[Token], stop_at_declarations: bool) -> Brackets:
    found = Brackets()
    opened: list[int] = []
    pairs: dict[int, int] = {}
    for place, token in enumerate(tokens):
        kind = token.type
        if kind in CLOSERS:
            opened.append(place)
            if len(opened) > MOST_NESTING:
                raise NablacError(mistakes.nested_too_deeply(token.span))
        elif kind in ("RPAR", "RSQB", "RBRACE"):
            _close(tokens, place, opened, pairs, found)
        elif stop_at_declarations and opened and token.text in _DECLARATIONS and _starts_declaration(tokens, place):
            _abandon(tokens, place, opened, pairs, found)
    _abandon(tokens, len(tokens), opened, pairs, found)
    return found


def _close(tokens: list[Token], place: int, opened: list[int], pairs: dict[int, int], found: Brackets) -> None:
    kind = tokens[place].type
    for above, opener in enumerate(reversed(opened)):
        if CLOSERS[tokens[opener].type] == kind:
            for unclosed in opened[len(opened) - above :]:
                found.unclosed.add(unclosed)
                found.report(mistakes.unclosed_bracket(tokens[unclosed].span, tokens[place].span))
            del opened[len(opened) - above - 1 :]
            pairs[opener] = place
            return
        if tokens[opener].type == "LBRACE":  # a `)` does not reach out of its block
            break
    if opened and tokens[opened[-1]].type != "LBRACE" and kind != "RBRACE":  # one slip of the hand, not two mistakes
        opener = opened.pop()
        meant = CLOSERS[tokens[opener].type]
        pairs[opener], found.meant[place] = place, meant
        found.report(mistakes.wrong_closer(tokens[opener].span, tokens[place].span, _SIGNS[meant]))
        return
    found.ignored.add(place)
    found.report(mistakes.unmatched_closer(tokens[place].span))


def _abandon(tokens: list[Token], place: int, opened: list[int], pairs: dict[int, int], found: Brackets) -> None:
    """Nothing closes what is open here."""
    for opener in opened:
        if tokens[opener].type == "LBRACE":
            found.missing[place] = found.missing.get(place, 0) + 1
        else:
            found.unclosed.add(opener)
        if len(found.mistakes) < MOST_ERRORS:
            blamed = _by_indentation(tokens, opener, place, pairs)
            found.report(mistakes.unclosed_bracket(tokens[blamed].span, None))
    opened.clear()


def _by_indentation(tokens: list[Token], opener: int, end: int, pairs: dict[int, int]) -> int:
    """The `{` whose `}` is indented less than its line: likelier to want one than the outermost, which is left over."""
    if tokens[opener].type == "LBRACE":
        for inner in sorted(takewhile(lambda each: each > opener, reversed(pairs))):  # those closed since it was opened
            if inner < end and tokens[inner].type == "LBRACE":
                close = tokens[pairs[inner]].span
                text = close.source.line(close.line)
                if text.lstrip().startswith("}") and close.column - 1 < _indentation(tokens[inner]):
                    return inner
    return opener


def _indentation(token: Token) -> int:
    text = token.span.source.line(token.span.line)
    return len(text) - len(text.lstrip())


def _starts_declaration(tokens: list[Token], place: int) -> bool:
    following = tokens[place + 1].type if place + 1 < len(tokens) else ""
    return tokens[place].span.column == 1 and following == "NAME"
