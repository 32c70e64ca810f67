"""Text to tokens, by the terminals of `model.lark`, and the mistakes in single tokens.

Where it is clear what was meant, a mistake is repaired, so that the rest of the line is still read.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from grammar import mistakes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.limits import MOST_ERRORS, MOST_INTEGER_DIGITS, MOST_TOKENS
from grammar.source import Source, Span

ESCAPES = {'\\"': '"', "\\\\": "\\", "\\n": "\n", "\\t": "\t"}
# Operators of other languages, and what each is read as once it has been reported.
FOREIGN = {"&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "^": "**"}
LOOKALIKES = {
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "*",
    "\N{MIDDLE DOT}": "*",
    "\N{CIRCLED DOT OPERATOR}": "*",
    "\N{RING OPERATOR}": "*",
    "\N{DIVISION SIGN}": "/",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{NOT EQUAL TO}": "!=",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{HORIZONTAL ELLIPSIS}": "...",
}
BLANKS = "\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}\N{IDEOGRAPHIC SPACE}\N{NARROW NO-BREAK SPACE}\ufeff"
CURLY_QUOTES = "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
CURLY_QUOTES += "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}`"

# What no terminal matches, tried in this order after all terminals.
_LEFT_OVER = (
    ("UNCLOSED_DOC", r'"""[\s\S]*'),
    ("UNCLOSED_STRING", r'"[^\r\n]*'),
    ("BAD_NUMBER", r"[0-9](?:[\w.]*\w|\.(?!\.))?|[0-9]"),
    ("FOREIGN", r"&&?|\|\|?|!|\^"),
    ("STRAY", r"[\s\S]"),
)
# A run of these is one mistake: control characters and symbols outside ASCII.
_UNKNOWN = re.compile(r"[^\w\s!-/:-@\[-`{-~]+")


class Token(NamedTuple):
    """A token: a piece of text that is one terminal of the grammar."""

    type: str  # a terminal of the grammar
    text: str
    span: Span


class Pattern(NamedTuple):
    """The terminals of the grammar as one regular expression, and by their text."""

    expression: re.Pattern[str]
    types: dict[str, str]  # of signs and keywords, by their text
    ignored: frozenset[str]


class Terminal(NamedTuple):
    """A terminal as the grammar declares it: a literal text, or a regular expression with a priority."""

    name: str
    text: str
    is_expression: bool
    priority: int


@dataclass
class Reading:
    """The tokens of a source, its comments, and the mistakes in them."""

    tokens: list[Token] = field(default_factory=list)
    comments: list[Token] = field(default_factory=list)
    mistakes: list[Diagnostic] = field(default_factory=list)


@cache
def pattern_of(terminals: tuple[Terminal, ...], ignored: frozenset[str]) -> Pattern:
    """One expression for all terminals, longer signs first, and then for what no terminal matches."""
    expressions = sorted(
        (terminal for terminal in terminals if terminal.is_expression), key=lambda terminal: -terminal.priority
    )
    literals = [terminal for terminal in terminals if not terminal.is_expression]
    signs = sorted((literal.text for literal in literals if not _is_word(literal.text)), key=len)
    parts = [f"(?P<{terminal.name}>{terminal.text})" for terminal in expressions]
    parts.append(f"(?P<SIGN>{'|'.join(re.escape(sign) for sign in reversed(signs))})")
    parts += [f"(?P<{name}>{expression})" for name, expression in _LEFT_OVER]
    types = {literal.text: literal.name for literal in literals}
    return Pattern(re.compile("|".join(parts)), types, ignored)


def read_tokens(part: Span, pattern: Pattern) -> Reading:
    """Split part of a text into tokens, up to `MOST_ERRORS` mistakes; NablacError beyond `MOST_TOKENS` tokens."""
    reading, source = Reading(), part.source
    tokens, types, ignored = reading.tokens, pattern.types, pattern.ignored
    text, match, position = source.text, pattern.expression.match, part.start
    while (matched := match(text, position, part.end)) is not None:
        kind, end = matched.lastgroup or "STRAY", matched.end()
        if kind == "SIGN":
            word = matched.group()
            tokens.append(Token(types[word], word, Span(source, position, end)))
        elif kind not in ignored:
            token = Token(kind, matched.group(), Span(source, position, end))
            if kind == "NEWLINE":
                if not tokens or tokens[-1].type != kind or token.text == ";" or tokens[-1].text == ";":
                    tokens.append(token)  # one for several blank lines
            elif kind in ("NAME", "PRIMED", "TRANSPOSE", "DOC"):
                tokens.append(token)
            else:
                end = _check(token, reading, types)
        elif kind == "COMMENT":
            reading.comments.append(Token(kind, matched.group(), Span(source, position, end)))
        position = end
        if len(tokens) > MOST_TOKENS:
            raise NablacError(mistakes.too_many_tokens(tokens[-1].span))
        if len(reading.mistakes) >= MOST_ERRORS:
            break
    return reading


def number_of(token: Token) -> int | float:
    """The value of a number, whose digits may be grouped by underscores."""
    digits = token.text.replace("_", "")
    return int(digits) if digits.isdecimal() else float(digits)


def text_of(token: Token) -> str:
    """The value of a string: without its quotes, its escapes replaced."""
    return re.sub(r"\\.", lambda escape: ESCAPES.get(escape.group(), escape.group()), token.text[1:-1])


def _check(token: Token, reading: Reading, types: dict[str, str]) -> int:
    """Add a token, repaired if it is a mistake; the offset where reading goes on."""
    kind, text, span = token
    add = reading.mistakes.append
    if kind == "NUMBER":
        digits = text.replace("_", "")
        if digits.isdecimal() and len(digits) > MOST_INTEGER_DIGITS:
            add(mistakes.integer_too_long(span))
            token = Token(kind, "1", span)
        elif not math.isfinite(float(digits)):
            add(mistakes.number_too_large(span))
            token = Token(kind, "1.0", span)
    elif kind == "BAD_NUMBER":
        add(mistakes.malformed_number(span))
        token = Token("NUMBER", "1", span)
    elif kind == "STRING":
        for escape in re.finditer(r"\\.", text) if "\\" in text else ():
            if escape.group() not in ESCAPES:
                start = span.start + escape.start()
                add(mistakes.unknown_escape(Span(span.source, start, start + 2)))
    elif kind == "UNCLOSED_DOC":
        add(mistakes.unclosed_docstring(Span(span.source, span.start, span.start + 3)))
        token = Token("DOC", '""""""', span)
    elif kind == "UNCLOSED_STRING":
        # A bracket or comma at the end of the line more likely belongs to the code than to the string.
        span = Span(span.source, span.start, span.start + len(text.rstrip(")]}, \t")))
        add(mistakes.unclosed_string(span))
        token = Token("STRING", '""', span)
    elif kind == "FOREIGN":
        add(mistakes.power_written_as_caret(span) if text == "^" else mistakes.foreign_sign(text, FOREIGN[text], span))
        token = Token(types[FOREIGN[text]], FOREIGN[text], span)
    else:
        return _check_stray(span, reading, types)
    reading.tokens.append(token)
    return span.end


def _check_stray(span: Span, reading: Reading, types: dict[str, str]) -> int:
    source, start = span.source, span.start
    sign, before = source.text[start], source.text[start - 1 : start] or " "
    if sign == "'":
        close = source.text.find("'", start + 1, _line_end(source, start))
        if before.isalnum() or before in "_')]":
            reading.mistakes.append(mistakes.misplaced_prime(span))
            return span.end
        if close >= 0:
            span = Span(source, start, close + 1)
            reading.mistakes.append(mistakes.single_quotes(span))
            reading.tokens.append(Token("STRING", '""', span))
            return span.end
    if sign in CURLY_QUOTES:
        ends = [source.text.find(quote, start + 1, _line_end(source, start)) for quote in CURLY_QUOTES]
        close = min((end for end in ends if end >= 0), default=-1)
        if close >= 0:
            span = Span(source, start, close + 1)
            reading.tokens.append(Token("STRING", '""', span))
            reading.mistakes.append(mistakes.curly_quotes(span))
            return span.end
    likely = LOOKALIKES.get(sign)
    if likely is None and (run := _UNKNOWN.match(source.text, start)) is not None:
        span = Span(source, start, run.end())
    if likely is not None:
        reading.tokens.append(Token(types[likely], likely, span))
    elif sign not in BLANKS and (not reading.tokens or reading.tokens[-1].type != "MISTAKE"):
        reading.tokens.append(Token("MISTAKE", sign, span))
    reading.mistakes.append(mistakes.stray_character(span, likely, sign in BLANKS))
    return span.end


def _line_end(source: Source, start: int) -> int:
    """The end of the line, or an offset past any plausible string."""
    most = start + 200
    ends = [end for end in (source.text.find(sign, start, most) for sign in "\r\n") if end >= 0]
    return min(ends, default=most)


def _is_word(text: str) -> bool:
    return text.isidentifier()
