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
ENDS_OF_VALUES = frozenset({"NAME", "PRIMED", "NUMBER", "STRING", "TRUE", "FALSE", "TRANSPOSE", "RPAR", "RSQB"})
ALWAYS_WORDS = frozenset({"if", "else", "and", "or", "not", "true", "false"})


@dataclass
class Layout:
    """The pass from raw tokens to those of the grammar: which line ends end a statement, which words are keywords."""

    types: dict[str, str]  # of signs and keywords, by their text
    brackets: Brackets
    tokens: list[Token] = field(default_factory=list)
    open: list[str] = field(default_factory=list)  # the brackets that are open; `train` for that of a train block
    chained: dict[int, int] = field(default_factory=dict)  # by depth, the number of `else if` in the statement so far

    def run(self, raw: list[Token], part: Span) -> list[Token]:
        """The tokens that the parser takes, with missing brackets added and surplus ones left out."""
        for index, token in enumerate(raw):
            self._close_missing(index, token.span)
            if index in self.brackets.meant:
                token = token._replace(type=self.brackets.meant[index])
            kind = token.type
            if index in self.brackets.ignored:
                continue
            if kind == "NEWLINE":
                if self._ends_statement(raw, index):
                    self._end_statement(token)
            elif kind in ("NAME", "PRIMED"):
                self.tokens.append(self._word(raw, index) if kind == "NAME" else token)
            elif kind == "LBRACE":
                self._open_block(token)
            elif kind == "RBRACE":
                self._close_block(token)
                if not self._else_follows(raw, index):
                    self.chained.pop(len(self.open), None)
                    self._end_statement(Token("NEWLINE", "", Span(part.source, token.span.end, token.span.end)))
            else:
                if index in self.brackets.unclosed:
                    self.tokens.append(Token("MISTAKE", token.text, token.span))
                    continue
                if kind in ("LPAR", "LSQB"):
                    self.open.append(kind)
                elif kind in ("RPAR", "RSQB"):
                    self.open.pop()
                at_start = self._at_start()
                self.tokens.append(token)
                if kind == "DOC" and at_start:
                    self._end_statement(Token("NEWLINE", "", Span(part.source, token.span.end, token.span.end)))
        end = Span(part.source, part.end, part.end)
        self._close_missing(len(raw), end)
        self._end_statement(Token("NEWLINE", "", end))
        return self.tokens

    def _at_start(self) -> bool:
        """Whether the next token starts a statement."""
        in_brackets = bool(self.open) and self.open[-1] in ("LPAR", "LSQB")
        return not in_brackets and (not self.tokens or self.tokens[-1].type in ("NEWLINE", "LBRACE"))

    def _end_statement(self, token: Token) -> None:
        if not self._at_start():
            self.tokens.append(Token("NEWLINE", token.text, token.span))

    def _ends_statement(self, raw: list[Token], index: int) -> bool:
        if self.open and self.open[-1] in ("LPAR", "LSQB"):
            return False
        if raw[index].text == ";":
            return True
        following = _after_newlines(raw, index)
        if following is None:
            return True
        if following.type == "LBRACE":
            return self._at_start()
        if following.text == "else" and self.tokens and self.tokens[-1].type == "RBRACE":
            return False
        return following.type != "ARROW"

    def _open_block(self, token: Token) -> None:
        start = next((index for index in range(len(self.tokens) - 1, -1, -1) if self._is_end(index)), -1)
        first = self.tokens[start + 1].type if start + 1 < len(self.tokens) else ""
        in_train = first == "TRAIN" or (bool(self.open) and self.open[-1] == "train")
        self.tokens.append(token)
        self.open.append("train" if in_train else "LBRACE")

    def _is_end(self, index: int) -> bool:
        return self.tokens[index].type in ("NEWLINE", "LBRACE", "RBRACE")

    def _close_block(self, token: Token) -> None:
        self._end_statement(Token("NEWLINE", "", Span(token.span.source, token.span.start, token.span.start)))
        self.tokens.append(token)
        self.open.pop()

    def _close_missing(self, index: int, span: Span) -> None:
        """Close the unclosed blocks, so that each is reported once, without errors that follow from it."""
        for _ in range(self.brackets.missing.get(index, 0)):
            empty = Span(span.source, span.start, span.start)
            self._close_block(Token("RBRACE", "", empty))
            self.chained.pop(len(self.open), None)
            self._end_statement(Token("NEWLINE", "", empty))

    def _else_follows(self, raw: list[Token], index: int) -> bool:
        following = _after_newlines(raw, index)
        return following is not None and following.text == "else"

    def _word(self, raw: list[Token], index: int) -> Token:
        """A word as a keyword, where it is one, or as a name."""
        token = raw[index]
        word = token.text
        if word not in self.types:
            return self._setting_or_name(raw, index)
        following = raw[index + 1] if index + 1 < len(raw) else None
        sign = following.text if following is not None else ""
        is_keyword = False
        if word in ALWAYS_WORDS:
            before = self.tokens[-1].type if self.tokens else ""
            names_argument = bool(self.open) and self.open[-1] == "LPAR" and before in ("LPAR", "COMMA") and sign == ":"
            is_keyword = before != "DOT" and not names_argument
            if word == "if" and before == "ELSE":
                self._chain(token)
        elif word in ("over", "epoch"):
            is_keyword = self._qualifies_metric(word, following)
        elif word == "in":
            is_keyword = len(self.tokens) > 1 and self.tokens[-2].type == "FOR"
        elif word == "import":
            is_keyword = len(self.tokens) > 1 and self.tokens[-2].type == "FROM"
        elif self._at_start():
            if word in DECLARATION_WORDS:
                is_keyword = not self.open
            elif word in KIND_WORDS or word == "assert":
                is_keyword = sign not in ("=", ",")
            elif word == "output":
                is_keyword = sign != ","
            elif word == "preset":
                after = raw[index + 2].text if index + 2 < len(raw) else ""
                is_keyword = sign == "{" or after == "{"
            else:
                is_keyword = True
        return Token(self.types[word], word, token.span) if is_keyword else self._setting_or_name(raw, index)

    def _qualifies_metric(self, word: str, following: Token | None) -> bool:
        """Whether a word is of `over epoch` behind a value in a train block: three words in a row are no product."""
        before = self.tokens[-1].type if self.tokens else ""
        if word == "epoch":
            return before == "OVER"
        in_train = bool(self.open) and self.open[-1] == "train"
        return in_train and before in ENDS_OF_VALUES and following is not None and following.type == "NAME"

    def _chain(self, token: Token) -> None:
        """Count an `else if`, which nests in the `if` before it; too many are refused before the parser nests them."""
        if len(self.tokens) > 1 and self.tokens[-2].type == "RBRACE":
            depth = len(self.open)
            self.chained[depth] = self.chained.get(depth, 0) + 1
            if self.chained[depth] >= MOST_NESTING:
                raise NablacError(mistakes.nested_too_deeply(token.span))

    def _setting_or_name(self, raw: list[Token], index: int) -> Token:
        token = raw[index]
        if self.open and self.open[-1] == "train" and self._at_start():
            following = raw[index + 1].text if index + 1 < len(raw) else ""
            if following not in ("=", ","):
                return Token("SETTING", token.text, token.span)
        return token


def lay_out(reading: Reading, part: Span, types: dict[str, str]) -> list[Token]:
    """The tokens of a part for the parser; mismatched brackets are added to the mistakes of the reading."""
    brackets = match_brackets(reading.tokens)
    reading.mistakes += brackets.mistakes
    return Layout(types, brackets).run(reading.tokens, part)


def _after_newlines(raw: list[Token], index: int) -> Token | None:
    index += 1
    while index < len(raw) and raw[index].type == "NEWLINE" and raw[index].text != ";":
        index += 1
    return raw[index] if index < len(raw) else None
