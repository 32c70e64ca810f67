"""The context of a syntax error: the unexpected token, its statement, and the terminals that were expected."""

from __future__ import annotations

from collections.abc import Sequence

from grammar.lexer import Token
from grammar.record import ValueRecord
from grammar.source import Span


def kinds(names: str) -> frozenset[str]:
    """A set of terminals, from their names separated by spaces."""
    return frozenset(names.split())


BINARY = kinds(
    "IF OR AND EQUALS DIFFERS LESSTHAN AT_MOST MORETHAN AT_LEAST RANGE PLUS MINUS STAR SLASH FLOOR_DIVIDE PERCENT AT "
    "POWER ARROW TRANSPOSE DOT LPAR LSQB OVER"
)
COMPARISONS = kinds("EQUALS DIFFERS LESSTHAN AT_MOST MORETHAN AT_LEAST")
EXPRESSION = kinds("NUMBER STRING TRUE FALSE NAME PRIMED LPAR LSQB MINUS NOT")
DECLARATION = kinds("LAYER CELL MODEL OPTIMIZER FN TRAIN CONST FROM")
STATEMENT = kinds("INPUT PARAM STATE BUFFER TARGET OUTPUT FOR IF ASSERT PRESET NAME PRIMED SETTING")
STATEMENT_WORDS = STATEMENT - {"NAME", "PRIMED", "SETTING", "IF"}
HARD_WORDS = kinds("IF ELSE AND OR NOT TRUE FALSE IN FOR")
NAMES = frozenset({"NAME", "PRIMED", "SETTING"})
SIGNS = BINARY - {"IF", "LPAR", "LSQB", "TRANSPOSE", "OVER"}  # that continue an expression
CLOSED_BY = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}


class ErrorContext(ValueRecord):
    """An unexpected token, its statement, and what was expected instead."""

    tokens: Sequence[Token]  # of the file
    start: int  # the index of the statement's first token
    index: int  # of the unexpected token
    expected: frozenset[str]  # terminals
    at_top_level: bool  # whether the statement is outside of any declaration

    @property
    def token(self) -> Token:
        """The unexpected token."""
        return self.tokens[self.index]

    @property
    def first(self) -> Token:
        """The first token of the statement."""
        return self.tokens[self.start]

    @property
    def previous(self) -> Token | None:
        """The token before it, if it belongs to the same statement."""
        return self.tokens[self.index - 1] if self.index > self.start else None

    def following(self, offset: int = 1) -> str:
        """The kind of the token `offset` places after it; empty past the end of the file."""
        return self.tokens[self.index + offset].type if self.index + offset < len(self.tokens) else ""


def statement_tokens(context: ErrorContext) -> Sequence[Token]:
    """The tokens of the statement, up to the end of the line."""
    end = context.index
    while end < len(context.tokens) and context.tokens[end].type not in ("NEWLINE", "$END"):
        end += 1
    return context.tokens[context.start : end]


def span_and_note(context: ErrorContext) -> tuple[Span, str]:
    """The span of a diagnostic, and its note of what was expected."""
    return span_of(context), f"expected {describe_expected(context.expected)}"


def span_of(context: ErrorContext) -> Span:
    """The span of the token; at the end of a line, the position after the last token."""
    span = context.token.span
    if context.token.type in ("NEWLINE", "$END") and context.index > 0:
        end = context.tokens[context.index - 1].span.end
        return Span(span.source, end, end)
    return span


def innermost_bracket(context: ErrorContext) -> int | None:
    """The index of the innermost bracket of the statement that is open at the token."""
    depth = 0
    for index in range(context.index - 1, context.start - 1, -1):
        kind = context.tokens[index].type
        if kind in ("RPAR", "RSQB"):
            depth += 1
        elif kind in ("LPAR", "LSQB"):
            if depth == 0:
                return index
            depth -= 1
    return None


def describe_expected(expected: frozenset[str]) -> str:
    """The expected terminals in words."""
    remaining = set(expected)
    words: list[str] = []
    if remaining >= DECLARATION:
        return "a declaration: `model`, `layer`, `cell`, `fn`, `optimizer`, `train`, `const` or `from`"
    if "OUTPUT" in remaining:
        words.append("a statement")
        remaining -= STATEMENT | {"DOC"}
    elif "NUMBER" in remaining:
        words.append("an expression")
        remaining -= EXPRESSION
    elif "PLUS" in remaining:
        words.append("an operator")
        remaining -= BINARY | {"NAME", "PRIMED"}
    if remaining & {"INPUT", "LAYER"}:
        remaining -= DECLARATION
    for name, description in _DESCRIPTIONS.items():
        if name in remaining:
            words.append(description)
            remaining.discard(name)
    words += sorted(f"`{name.lower()}`" for name in remaining if name.isalpha() and name not in ("SETTING", "PRIMED"))
    *most, last = words or ["nothing more"]
    return f"{', '.join(most)} or {last}" if most else last


_DESCRIPTIONS = {
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
