"""From raw tokens to the tokens of the grammar: which newlines end a statement, which words are keywords."""

from __future__ import annotations

from dataclasses import dataclass, field

from grammar import mistakes
from grammar.brackets import Brackets, match_brackets
from grammar.diagnostics import NablacError
from grammar.lexer import Reading, Token
from grammar.limits import MOST_NESTING
from grammar.source import Span

DECLARATION_WORDS = frozenset({"layer", "cell", "model", "optimizer", "fn", "train", "const", "from"})
KIND_WORDS = frozenset({"input", "param", "state", "buffer", "target"})
ALWAYS_WORDS = frozenset({"if", "else", "and", "or", "not", "true", "false"})


@dataclass
class Layout:
    """The pass from raw tokens to those of the grammar: which line ends end a statement, which words are keywords."""

    types: dict[str, str]  # of signs and keywords, by their text
    brackets: Brackets
    made: list[Token] = field(default_factory=list)
    open: list[str] = field(default_factory=list)  # brackets around this place; `train` for that of a train block
    chained: dict[int, int] = field(default_factory=dict)  # at each depth, how many `else if` the statement has so far

    def lay(self, raw: list[Token], part: Span) -> list[Token]:
        """The tokens as the grammar has them, with what the brackets lack or have too much put right."""
        for place, token in enumerate(raw):
            self._close_missing(place, token.span)
            if place in self.brackets.meant:
                token = token._replace(type=self.brackets.meant[place])
            kind = token.type
            if place in self.brackets.ignored:
                continue
            if kind == "NEWLINE":
                if self._ends_statement(raw, place):
                    self._end_statement(token)
            elif kind in ("NAME", "PRIMED"):
                self.made.append(self._word(raw, place) if kind == "NAME" else token)
            elif kind == "LBRACE":
                self._open_block(token)
            elif kind == "RBRACE":
                self._close_block(token)
                if not self._else_follows(raw, place):
                    self.chained.pop(len(self.open), None)
                    self._end_statement(Token("NEWLINE", "", Span(part.source, token.span.end, token.span.end)))
            else:
                if place in self.brackets.unclosed:
                    self.made.append(Token("MISTAKE", token.text, token.span))
                    continue
                if kind in ("LPAR", "LSQB"):
                    self.open.append(kind)
                elif kind in ("RPAR", "RSQB"):
                    self.open.pop()
                at_start = self._at_start()
                self.made.append(token)
                if kind == "DOC" and at_start:
                    self._end_statement(Token("NEWLINE", "", Span(part.source, token.span.end, token.span.end)))
        end = Span(part.source, part.end, part.end)
        self._close_missing(len(raw), end)
        self._end_statement(Token("NEWLINE", "", end))
        return self.made

    def _at_start(self) -> bool:
        """Whether the next token starts a statement."""
        in_brackets = bool(self.open) and self.open[-1] in ("LPAR", "LSQB")
        return not in_brackets and (not self.made or self.made[-1].type in ("NEWLINE", "LBRACE"))

    def _end_statement(self, token: Token) -> None:
        if not self._at_start():
            self.made.append(Token("NEWLINE", token.text, token.span))

    def _ends_statement(self, raw: list[Token], place: int) -> bool:
        if self.open and self.open[-1] in ("LPAR", "LSQB"):
            return False
        if raw[place].text == ";":
            return True
        following = _after_newlines(raw, place)
        if following is None:
            return True
        if following.type == "LBRACE":
            return self._at_start()
        if following.text == "else" and self.made and self.made[-1].type == "RBRACE":
            return False
        return following.type != "ARROW"

    def _open_block(self, token: Token) -> None:
        start = next((place for place in range(len(self.made) - 1, -1, -1) if self._is_end(place)), -1)
        first = self.made[start + 1].type if start + 1 < len(self.made) else ""
        in_train = first == "TRAIN" or (bool(self.open) and self.open[-1] == "train")
        self.made.append(token)
        self.open.append("train" if in_train else "LBRACE")

    def _is_end(self, place: int) -> bool:
        return self.made[place].type in ("NEWLINE", "LBRACE", "RBRACE")

    def _close_block(self, token: Token) -> None:
        self._end_statement(Token("NEWLINE", "", Span(token.span.source, token.span.start, token.span.start)))
        self.made.append(token)
        self.open.pop()

    def _close_missing(self, place: int, span: Span) -> None:
        """Close the blocks that nobody closed, so that each is reported once and not as what follows from it."""
        for _ in range(self.brackets.missing.get(place, 0)):
            empty = Span(span.source, span.start, span.start)
            self._close_block(Token("RBRACE", "", empty))
            self.chained.pop(len(self.open), None)
            self._end_statement(Token("NEWLINE", "", empty))

    def _else_follows(self, raw: list[Token], place: int) -> bool:
        following = _after_newlines(raw, place)
        return following is not None and following.text == "else"

    def _word(self, raw: list[Token], place: int) -> Token:
        """A word as the keyword that it is here, or as a name."""
        token = raw[place]
        word = token.text
        if word not in self.types:
            return self._setting_or_name(raw, place)
        following = raw[place + 1] if place + 1 < len(raw) else None
        sign = following.text if following is not None else ""
        is_keyword = False
        if word in ALWAYS_WORDS:
            before = self.made[-1].type if self.made else ""
            names_argument = bool(self.open) and self.open[-1] == "LPAR" and before in ("LPAR", "COMMA") and sign == ":"
            is_keyword = before != "DOT" and not names_argument
            if word == "if" and before == "ELSE":
                self._chain(token)
        elif word == "in":
            is_keyword = len(self.made) > 1 and self.made[-2].type == "FOR"
        elif word == "import":
            is_keyword = len(self.made) > 1 and self.made[-2].type == "FROM"
        elif self._at_start():
            if word in DECLARATION_WORDS:
                is_keyword = not self.open
            elif word in KIND_WORDS or word == "assert":
                is_keyword = sign not in ("=", ",")
            elif word == "output":
                is_keyword = sign != ","
            elif word == "preset":
                after = raw[place + 2].text if place + 2 < len(raw) else ""
                is_keyword = sign == "{" or after == "{"
            else:
                is_keyword = True
        return Token(self.types[word], word, token.span) if is_keyword else self._setting_or_name(raw, place)

    def _chain(self, token: Token) -> None:
        """An `else if` nests in the `if` before it; so many are refused here, before the parser nests them."""
        if len(self.made) > 1 and self.made[-2].type == "RBRACE":
            depth = len(self.open)
            self.chained[depth] = self.chained.get(depth, 0) + 1
            if self.chained[depth] >= MOST_NESTING:
                raise NablacError(mistakes.nested_too_deeply(token.span))

    def _setting_or_name(self, raw: list[Token], place: int) -> Token:
        token = raw[place]
        if self.open and self.open[-1] == "train" and self._at_start():
            following = raw[place + 1].text if place + 1 < len(raw) else ""
            if following not in ("=", ","):
                return Token("SETTING", token.text, token.span)
        return token


def lay_out(reading: Reading, part: Span, types: dict[str, str]) -> list[Token]:
    """The tokens of a part as the grammar has them; mistakes with brackets are added to those of the reading."""
    brackets = match_brackets(reading.tokens)
    reading.mistakes += brackets.mistakes
    return Layout(types, brackets).lay(reading.tokens, part)


def _after_newlines(raw: list[Token], place: int) -> Token | None:
    place += 1
    while place < len(raw) and raw[place].type == "NEWLINE" and raw[place].text != ";":
        place += 1
    return raw[place] if place < len(raw) else None
