"""Text to syntax tree.

All mistakes of a file are found in one pass: after one, parsing goes on with the next statement, in the state that the
parser had before the statement that failed.
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
    """The tree of a source; raises NablacError with all its mistakes."""
    return parse_part(Span(source, 0, len(source.text)))


def parse_part(part: Span) -> File:
    """The tree of a part of a source that begins and ends between declarations; its spans are those of the source."""
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
    tree = _Reader(Automaton(rules, Builder()), [*tokens, end], errors).read()
    errors.raise_if_any()
    assert isinstance(tree, File)
    return tree.replace(span=part)


def comments_of(source: Source) -> list[Token]:
    """The comments of a source, in order; the tree does not hold them."""
    rules = table()
    whole = Span(source, 0, len(source.text))
    return read_tokens(whole, pattern_of(rules.terminals, rules.ignored)).comments


LIMITS = (codes.E126, codes.E127, codes.E128)


@dataclass
class _Reader:
    """The parser with its recovery from mistakes."""

    automaton: Automaton
    tokens: list[Token]
    errors: Diagnostics

    def __post_init__(self) -> None:
        self.start = 0  # of the statement being read
        self.level = 0  # of blocks around it
        self.in_stray_text = False  # after a mistake outside of declarations, what follows there is part of it
        self._remember(0)

    def read(self) -> Any:
        index, result = 0, None
        while index < len(self.tokens) and not self.errors.full:
            token = self.tokens[index]
            try:
                result = self.automaton.feed(token)
            except Refused:
                self._report(index)
            except NablacError as refused:
                self.errors.extend(refused.diagnostics)
                if any(diagnostic.code in LIMITS for diagnostic in refused.diagnostics):
                    break  # nesting beyond a limit would be refused again at every level
            else:
                index += 1
                self.level += (token.type == "LBRACE") - (token.type == "RBRACE")
                self.in_stray_text = self.in_stray_text and token.type != "LBRACE"
                if token.type in ("NEWLINE", "LBRACE"):
                    self._remember(index)
                continue
            if token.type == "$END":
                break
            index = self._recover(index)
        return result

    def _remember(self, index: int) -> None:
        self.start, self.start_level = index, self.level
        self.states, self.values = list(self.automaton.states), list(self.automaton.values)

    def _restore(self) -> None:
        self.level = self.start_level
        self.automaton.states[:], self.automaton.values[:] = self.states, self.values

    def _report(self, index: int) -> None:
        token = self.tokens[index]
        if token.type == "MISTAKE":  # already reported
            return
        # Parse the statement again up to the token: refusing it has changed the state that tells what is expected.
        self._restore()
        for earlier in self.tokens[self.start : index]:
            self.automaton.feed(earlier)
        expected = frozenset(kind for kind in self.automaton.kinds() if self.automaton.accepts(kind))
        at_top_level = self.start_level == 0
        diagnostic = diagnose(ErrorContext(self.tokens, self.start, index, expected, at_top_level))
        if not (self.in_stray_text and diagnostic.code == codes.E123):
            self.errors.add(diagnostic)
        self.in_stray_text = self.in_stray_text or at_top_level

    def _recover(self, refused: int) -> int:
        """Skip the statement that failed; the index where parsing goes on."""
        self._restore()
        depth = brackets = 0
        for index in range(self.start, len(self.tokens)):
            kind = self.tokens[index].type
            if kind == "LBRACE":
                if depth == 0 and brackets == 0 and index >= refused and self._starts_block() and self._takes_blocks():
                    return self._enter(index + 1)
                depth += 1
            elif kind == "RBRACE":
                if depth == 0:  # it closes the block around the statement; if it was refused itself, it is skipped
                    index += index == self.start
                    self._remember(index)
                    return index
                depth -= 1
            elif kind in ("LPAR", "LSQB"):
                brackets += 1
            elif kind in ("RPAR", "RSQB"):
                brackets -= 1
            elif kind == "NEWLINE" and depth == 0 and index >= refused:
                if index == refused and self._goes_on(index):
                    continue
                self._remember(index + 1)
                return index + 1
        self._remember(len(self.tokens) - 1)
        return len(self.tokens) - 1

    def _goes_on(self, end: int) -> bool:
        """Whether a line that ends with an operator continues in the next line: one mistake, not two."""
        following = [token.type for token in self.tokens[end + 1 : end + 3]]
        is_own = len(following) < 2 or following[0] not in EXPRESSION or following[1] in ("EQUAL", "COMMA", "COLON")
        return self.tokens[end - 1].type in SIGNS and not is_own

    def _starts_block(self) -> bool:
        first, second = self.tokens[self.start].type, self.tokens[self.start + 1].type
        return first in _BLOCK_WORDS or (first in ("NAME", "SETTING") and second in ("NAME", "LBRACE"))

    def _takes_blocks(self) -> bool:
        """Whether a block is allowed where the statement began, which it is not in a preset."""
        return self.automaton.accepts(self._head()[0][0])

    def _head(self) -> tuple[tuple[str, str], ...]:
        """A head that begins a block here, instead of the one that failed."""
        return (("IF", "if"), ("TRUE", "true")) if self.level else (("LAYER", "layer"), ("NAME", "_"))

    def _enter(self, index: int) -> int:
        """Go on inside the block whose head failed, as if the head had been correct."""
        span = self.tokens[index - 1].span
        for kind, text in (*self._head(), ("LBRACE", "{")):
            self.automaton.feed(Token(kind, text, span))
        self.level += 1
        self._remember(index)
        return index
