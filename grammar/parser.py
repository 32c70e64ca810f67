"""Text to syntax tree. All that is wrong with a file is found in one pass: after a mistake, reading goes on
with the next statement, in the state that the parser had before the one that failed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_analysis import Shift
from lark.parsers.lalr_parser_state import ParserState

from grammar import mistakes
from grammar.diagnostics import Diagnostics, NablacError
from grammar.layout import lay_out
from grammar.lexer import Pattern, Terminal, Token, pattern_of, read_tokens
from grammar.limits import MOST_BYTES, MOST_ERRORS
from grammar.reading import read_source
from grammar.source import Source, Span
from grammar.syntax import File
from grammar.table import Table, table
from grammar.unexpected import Place, diagnose

__all__ = ["comments_of", "parse", "read_source"]

_BLOCK_WORDS = frozenset({"LAYER", "CELL", "MODEL", "OPTIMIZER", "FN", "TRAIN", "IF", "FOR"})


def parse(source: Source) -> File:
    """The tree of a source; raises NablacError with every mistake that was found."""
    whole = Span(source, 0, len(source.text))
    if len(source.text) > MOST_BYTES:
        raise NablacError(mistakes.too_large(source, len(source.text)))
    rules = table()
    pattern = _pattern(rules)
    reading = read_tokens(source, pattern)
    errors = Diagnostics()
    tokens = lay_out(reading, source, pattern.types) if len(reading.mistakes) < MOST_ERRORS else []
    errors.extend(reading.mistakes)
    end = Token("$END", "", Span(source, len(source.text), len(source.text)))
    found = _Reader(rules.start(), [*tokens, end], errors).read()
    errors.raise_if_any()
    assert isinstance(found, File)
    return replace(found, span=whole)


def comments_of(source: Source) -> list[Token]:
    """The comments of a source, in order; the tree does not hold them."""
    return read_tokens(source, _pattern(table())).comments


def _pattern(rules: Table) -> Pattern:
    terminals = tuple(
        Terminal(each.name, each.pattern.value, each.pattern.type == "re", each.priority) for each in rules.terminals
    )
    return pattern_of(terminals, rules.ignored)


LIMITS = ("E126", "E127", "E128")


@dataclass
class _Reader:
    """The parser, and where to go on after a mistake."""

    state: ParserState[Any]
    tokens: list[Token]
    errors: Diagnostics

    def __post_init__(self) -> None:
        self.start = 0  # of the statement being read
        self.level = 0  # of blocks around it
        self.astray = False  # outside of any declaration after a mistake, where what follows is of the same mistake
        self._remember(0)

    def read(self) -> Any:
        place, result = 0, None
        while place < len(self.tokens) and len(self.errors.found) < MOST_ERRORS:
            token = self.tokens[place]
            try:
                result = self.state.feed_token(token, token.type == "$END")  # type: ignore[arg-type]
            except UnexpectedToken:
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
        self.states, self.values = list(self.state.state_stack), list(self.state.value_stack)

    def _restore(self) -> None:
        self.level = self.start_level
        self.state.state_stack[:], self.state.value_stack[:] = self.states, self.values

    def _report(self, place: int) -> None:
        token = self.tokens[place]
        if token.type == "MISTAKE":  # reported where it was found
            return
        # Read the statement again up to the token: refusing it, the parser has left the state that says what fits.
        self._restore()
        for earlier in self.tokens[self.start : place]:
            self.state.feed_token(earlier)  # type: ignore[arg-type]
        expected = frozenset(kind for kind in self._kinds() if self._accepts(kind))
        at_top = self.start_level == 0
        found = diagnose(Place(self.tokens, self.start, place, expected, at_top))
        if not (self.astray and found.code == "E123"):
            self.errors.add(found)
        self.astray = self.astray or at_top

    def _kinds(self) -> list[str]:
        return [kind for kind in self.state.parse_conf.states[self.state.position] if kind.isupper()]

    def _accepts(self, kind: str) -> bool:
        """Whether a token of this kind could come next; a table of lookaheads alone says so of too many."""
        states, stack = self.state.parse_conf.states, list(self.state.state_stack)
        while kind in states[stack[-1]]:
            action, argument = states[stack[-1]][kind]
            if action is Shift:
                return True
            del stack[len(stack) - len(argument.expansion) :]
            stack.append(states[stack[-1]][argument.origin.name][1])
            if stack[-1] == self.state.parse_conf.end_state:
                return True
        return False

    def _recover(self, place: int) -> int:
        """Leave out the statement that failed; where reading goes on."""
        self._restore()
        depth = brackets = 0
        for at in range(self.start, len(self.tokens)):
            kind = self.tokens[at].type
            if kind == "LBRACE":
                if depth == 0 and brackets == 0 and at >= place and self._starts_block():
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
                self._remember(at + 1)
                return at + 1
        self._remember(len(self.tokens) - 1)
        return len(self.tokens) - 1

    def _starts_block(self) -> bool:
        first, second = self.tokens[self.start].type, self.tokens[self.start + 1].type
        return first in _BLOCK_WORDS or (first in ("NAME", "SETTING") and second in ("NAME", "LBRACE"))

    def _enter(self, place: int) -> int:
        """Go on inside of the block whose head failed, as if the head had been right."""
        span = self.tokens[place - 1].span
        head = (("IF", "if"), ("TRUE", "true")) if self.level else (("LAYER", "layer"), ("NAME", "_"))
        for kind, text in (*head, ("LBRACE", "{")):
            self.state.feed_token(Token(kind, text, span))  # type: ignore[arg-type]
        self.level += 1
        self._remember(place)
        return place
