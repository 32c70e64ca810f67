"""Where a token that the grammar does not allow stands, and what would have fitted there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grammar.lexer import Token
from grammar.source import Span


def kinds(names: str) -> frozenset[str]:
    """A set of terminals, by their names with blanks between."""
    return frozenset(names.split())


BINARY = kinds(
    "IF OR AND EQUALS DIFFERS LESSTHAN AT_MOST MORETHAN AT_LEAST RANGE PLUS MINUS STAR SLASH FLOOR_DIVIDE PERCENT AT "
    "POWER ARROW TRANSPOSE DOT LPAR LSQB"
)
COMPARISONS = kinds("EQUALS DIFFERS LESSTHAN AT_MOST MORETHAN AT_LEAST")
EXPRESSION = kinds("NUMBER STRING TRUE FALSE NAME PRIMED LPAR LSQB MINUS NOT")
DECLARATION = kinds("LAYER CELL MODEL OPTIMIZER FN TRAIN CONST FROM")
STATEMENT = kinds("INPUT PARAM STATE BUFFER TARGET OUTPUT FOR IF ASSERT PRESET NAME PRIMED SETTING")
STATEMENT_WORDS = STATEMENT - {"NAME", "PRIMED", "SETTING", "IF"}
HARD_WORDS = kinds("IF ELSE AND OR NOT TRUE FALSE IN FOR")
NAMES = frozenset({"NAME", "PRIMED", "SETTING"})
SIGNS = BINARY - {"IF", "LPAR", "LSQB", "TRANSPOSE"}  # what a value goes on with
CLOSED_BY = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}


@dataclass(frozen=True)
class Place:
    """A token that does not fit: the tokens of the file, where its statement starts, and what would have fitted."""

    tokens: Sequence[Token]
    start: int
    at: int
    expected: frozenset[str]
    at_top: bool

    @property
    def token(self) -> Token:
        """The token that does not fit."""
        return self.tokens[self.at]

    @property
    def first(self) -> Token:
        """The first token of the statement."""
        return self.tokens[self.start]

    @property
    def before(self) -> Token | None:
        """The token before, where that is of the same statement."""
        return self.tokens[self.at - 1] if self.at > self.start else None

    def following(self, by: int = 1) -> str:
        """The kind of a token behind, empty at the end of the file."""
        return self.tokens[self.at + by].type if self.at + by < len(self.tokens) else ""


def statement(place: Place) -> Sequence[Token]:
    """The tokens of the statement, as far as its line."""
    end = place.at
    while end < len(place.tokens) and place.tokens[end].type not in ("NEWLINE", "$END"):
        end += 1
    return place.tokens[place.start : end]


def here(place: Place) -> tuple[Span, str]:
    """The span of a diagnostic, and its note of what would have fitted."""
    return span_of(place), f"expected {words_for(place.expected)}"


def span_of(place: Place) -> Span:
    """Of the token; at the end of a line, just behind what stands there."""
    span = place.token.span
    if place.token.type in ("NEWLINE", "$END") and place.at > 0:
        behind = place.tokens[place.at - 1].span.end
        return Span(span.source, behind, behind)
    return span


def innermost(place: Place) -> int | None:
    """The index of the bracket that is open around the token, of its statement."""
    depth = 0
    for at in range(place.at - 1, place.start - 1, -1):
        kind = place.tokens[at].type
        if kind in ("RPAR", "RSQB"):
            depth += 1
        elif kind in ("LPAR", "LSQB"):
            if depth == 0:
                return at
            depth -= 1
    return None


def words_for(expected: frozenset[str]) -> str:
    """The allowed terminals as a person would say them."""
    left = set(expected)
    words: list[str] = []
    if left >= DECLARATION:
        return "a declaration: `model`, `layer`, `cell`, `fn`, `optimizer`, `train`, `const` or `from`"
    if "OUTPUT" in left:
        words.append("a statement")
        left -= STATEMENT | {"DOC"}
    elif "NUMBER" in left:
        words.append("an expression")
        left -= EXPRESSION
    elif "PLUS" in left:
        words.append("an operator")
        left -= BINARY | {"NAME", "PRIMED"}
    if left & {"INPUT", "LAYER"}:
        left -= DECLARATION
    for name, said in _SAID.items():
        if name in left:
            words.append(said)
            left.discard(name)
    words += sorted(f"`{name.lower()}`" for name in left if name.isalpha() and name not in ("SETTING", "PRIMED"))
    *most, last = words or ["nothing more"]
    return f"{', '.join(most)} or {last}" if most else last


_SAID = {
    "NAME": "a name",
    "STRING": "a string",
    "DOC": "a docstring",
    "EQUAL": "`=`",
    "TILDE": "`~`",
    "QMARK": "`?`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "LPAR": "`(`",
    "LSQB": "`[`",
    "LBRACE": "`{`",
    "ELLIPSIS": "`...`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "RBRACE": "`}`",
    "DOT": "`.`",
    "NEWLINE": "the end of the line",
    "$END": "the end of the file",
}
