"""Text to syntax tree.

All that is wrong with a file is found in one pass: after a mistake, reading goes on with the next statement, in the
state that the parser had before the one that failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grammar import codes, mistakes
from grammar.automaton import Automaton, Refused
from grammar.builder import Builder
from grammar.diagnostics import Diagnostics, NablacError
from grammar.error_context import EXPRESSION, SIGNS, ErrorContext
from grammar.layout import lay_out
from grammar.lexer import Token, pattern_of, read_tokens
from grammar.limits import MOST_BYTES, MOST_ERRORS
from grammar.reading import read_source
from grammar.source import Source, Span
from grammar.syntax import File
from grammar.table import table
from grammar.unexpected import diagnose

__all__ = ["comments_of", "parse", "read_source"]

_BLOCK_WORDS = frozenset({"LAYER", "CELL", "MODEL", "OPTIMIZER", "FN", "TRAIN", "IF", "FOR"})


def parse(source: Source) -> File:
    """The tree of a source; raises NablacError with every mistake that was found."""
    return parse_part(Span(source, 0, len(source.text)))


def parse_part(part: Span) -> File:
    """The tree of part of a source, which begins and ends between declarations; its spans are of the source."""
    source = part.source
    if part.end - part.start > MOST_BYTES:
        raise NablacError(mistakes.too_large(source, part.end - part.start))
    rules = table()
    pattern = pattern_of(rules.terminals, rules.ignored)
    reading = read_tokens(part, pattern)
    errors = Diagnostics()
    tokens = lay_out(reading, part, pattern.types) if len(reading.mistakes) < MOST_ERRORS else []
    errors.extend(reading.mistakes)
    end = Token("$END", "", Span(source, part.end, part.end))
    found = _Reader(Automaton(rules, Builder()), [*tokens, end], errors).read()
    errors.raise_if_any()
    assert isinstance(found, File)
    return found.replace(span=part)


def comments_of(source: Source) -> list[Token]:
    """The comments of a source, in order; the tree does not hold them."""
    rules = table()
    whole = Span(source, 0, len(source.text))
    return read_tokens(whole, pattern_of(rules.terminals, rules.ignored)).comments


LIMITS = (codes.E126, codes.E127, codes.E128)


@dataclass
class _Reader:
    """The parser, and where to go on after a mistake."""

    automaton: Automaton
    tokens: list[Token]
    errors: Diagnostics

    def __post_init__(self) -> None:
        self.start = 0  # of the statement being read
        self.level = 0  # of blocks around it
        self.astray = False  # outside of any declaration after a mistake, where what follows is of the same mistake
        self._remember(0)

    def read(self) -> Any:
        place, result = 0, None
        while place < len(self.tokens) and not self.errors.full:
            token = self.tokens[place]
            try:
                result = self.automaton.feed(token)
            except Refused:
                self._report(place)
            except NablacError as refused:
                self.errors.extend(refused.diagnostics)
                if any(each.code in LIMITS for each in refused.diagnostics):
                    break  # what nests beyond a limit would be refused again at every level
            else:
                place += 1
                self.level += (token.type == "LBRACE") - (token.type == "RBRACE")
                self.astray = self.astray and token.type != "LBRACE"
                if token.type in ("NEWLINE", "LBRACE"):
                    self._remember(place)
                continue
            if token.type == "$END":
                break
            place = self._recover(place)
        return result

    def _remember(self, place: int) -> None:
        self.start, self.start_level = place, self.level
        self.states, self.values = list(self.automaton.states), list(self.automaton.values)

    def _restore(self) -> None:
        self.level = self.start_level
        self.automaton.states[:], self.automaton.values[:] = self.states, self.values

    def _report(self, place: int) -> None:
        token = self.tokens[place]
        if token.type == "MISTAKE":  # reported where it was found
            return
        # Read the statement again up to the token: refusing it, the parser has left the state that says what fits.
        self._restore()
        for earlier in self.tokens[self.start : place]:
            self.automaton.feed(earlier)
        expected = frozenset(kind for kind in self.automaton.kinds() if self.automaton.accepts(kind))
        at_top = self.start_level == 0
        found = diagnose(ErrorContext(self.tokens, self.start, place, expected, at_top))
        if not (self.astray and found.code == codes.E123):
            self.errors.add(found)
        self.astray = self.astray or at_top

    def _recover(self, place: int) -> int:
        """Leave out the statement that failed; where reading goes on."""
        self._restore()
        depth = brackets = 0
        for at in range(self.start, len(self.tokens)):
            kind = self.tokens[at].type
            if kind == "LBRACE":
                if depth == 0 and brackets == 0 and at >= place and self._starts_block() and self._takes_blocks():
                    return self._enter(at + 1)
                depth += 1
            elif kind == "RBRACE":
                if depth == 0:  # of the block around the statement; refused once, it is left out in its turn
                    at += at == self.start
                    self._remember(at)
                    return at
                depth -= 1
            elif kind in ("LPAR", "LSQB"):
                brackets += 1
            elif kind in ("RPAR", "RSQB"):
                brackets -= 1
            elif kind == "NEWLINE" and depth == 0 and at >= place:
                if at == place and self._goes_on(at):
                    continue
                self._remember(at + 1)
                return at + 1
        self._remember(len(self.tokens) - 1)
        return len(self.tokens) - 1

    def _goes_on(self, end: int) -> bool:
        """Whether a line that ended in a sign goes on in the next, which is none of its own: one mistake, not two."""
        following = [token.type for token in self.tokens[end + 1 : end + 3]]
        is_own = len(following) < 2 or following[0] not in EXPRESSION or following[1] in ("EQUAL", "COMMA", "COLON")
        return self.tokens[end - 1].type in SIGNS and not is_own

    def _starts_block(self) -> bool:
        first, second = self.tokens[self.start].type, self.tokens[self.start + 1].type
        return first in _BLOCK_WORDS or (first in ("NAME", "SETTING") and second in ("NAME", "LBRACE"))

    def _takes_blocks(self) -> bool:
        """Whether a block may stand where the statement began: not among the values of a preset."""
        return self.automaton.accepts(self._head()[0][0])

    def _head(self) -> tuple[tuple[str, str], ...]:
        """What begins a block here, in the place of a head that failed."""
        return (("IF", "if"), ("TRUE", "true")) if self.level else (("LAYER", "layer"), ("NAME", "_"))

    def _enter(self, place: int) -> int:
        """Go on inside of the block whose head failed, as if the head had been right."""
        span = self.tokens[place - 1].span
        for kind, text in (*self._head(), ("LBRACE", "{")):
            self.automaton.feed(Token(kind, text, span))
        self.level += 1
        self._remember(place)
        return place
