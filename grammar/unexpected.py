"""What to say about a token that the grammar does not allow where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grammar.diagnostics import Diagnostic, Label, did_you_mean
from grammar.lexer import Token
from grammar.mistakes import article
from grammar.source import Span


def kinds(names: str) -> frozenset[str]:
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
CLOSED_BY = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}

# Habits from other languages: the word that starts the line, and what is written here.
FOREIGN_STATEMENTS = {
    "def": "a function is `fn name(x) = ...`, a layer `layer Name(...) { ... }`",
    "class": "a layer is `layer Name(...) { ... }`, a model `model Name(...) { ... }`",
    "import": 'names of another file are taken by `from "file.model" import Name`',
    "function": "a function is `fn name(x) = ...`",
    "func": "a function is `fn name(x) = ...`",
    "return": "a result is given by `output value`",
    "elif": "write `else if`",
    "while": "loops run over a range, `for i in 0..n { ... }`, or as a `cell` along an axis",
    "let": "write `name = value`, without a word before it",
    "var": "write `name = value`, without a word before it",
    "pass": "an empty block is `{ }`",
    "with": "a block has no context here; write its statements in order",
    "try": "nothing is caught here; `assert condition, message` states what must hold",
    "raise": "write `assert condition, message`",
    "print": "`nablac run` prints what a model gives by `output`",
    "del": "names need no deleting",
    "global": "a definition sees its own names and the declarations of the file",
}
FOREIGN_WORDS = {
    "lambda": "a function is declared by `fn name(x) = ...` and passed by its name",
    "is": "compare by `==`",
    "mod": "a remainder is `%`",
    "div": "an integer quotient is `//`",
    "then": "a choice is `a if condition else b`",
}


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
        return self.tokens[self.at]

    @property
    def first(self) -> Token:
        return self.tokens[self.start]

    @property
    def before(self) -> Token | None:
        return self.tokens[self.at - 1] if self.at > self.start else None

    def following(self, by: int = 1) -> str:
        return self.tokens[self.at + by].type if self.at + by < len(self.tokens) else ""


def diagnose(place: Place) -> Diagnostic:
    for rule in (
        _docstring,
        _foreign,
        _else_alone,
        _declaration_inside,
        _statement_at_top,
        _keyword_as_name,
        _compound_assignment,
        _equals_sign,
        _indexed_target,
        _chained_comparison,
        _tuple,
        _initializer,
        _missing_name,
        _missing_brace,
        _missing_type,
        _bare_expression,
    ):
        found = rule(place)
        if found is not None:
            return found
    return Diagnostic("E113", _generally(place), *_here(place), hint=_hint(place))


def _here(place: Place) -> tuple[Span, str]:
    return _span(place), f"expected {words_for(place.expected)}"


def _span(place: Place) -> Span:
    """Of the token; at the end of a line, just behind what stands there."""
    span = place.token.span
    if place.token.type in ("NEWLINE", "$END") and place.at > 0:
        behind = place.tokens[place.at - 1].span.end
        return Span(span.source, behind, behind)
    return span


def _found(place: Place) -> str:
    kind, text, _ = place.token
    if kind in NAMES:
        return f"the name `{_short(text)}`"
    if kind == "NUMBER":
        return f"the number `{_short(text)}`"
    if kind == "STRING":
        return "a string"
    return f"`{_short(text)}`"


def _generally(place: Place) -> str:
    kind, text, span = place.token
    if kind == "$END" or (kind == "NEWLINE" and span.start >= len(span.source.text)):
        return "the file ends too early"
    if kind == "NEWLINE":
        return "`;` comes too early" if text == ";" else "the line ends too early" if text else "`}` comes too early"
    return f"{_found(place)} does not fit here"


def _hint(place: Place) -> str | None:
    kind, text, _ = place.token
    if kind in NAMES and place.before is not None and place.before.type == "RBRACE":
        return did_you_mean(text, ("else",))
    if kind in NAMES and "NEWLINE" in place.expected and (text in WORDS or place.following() == "EQUAL"):
        return "statements on one line are separated by `;`"
    if kind == "QMARK" and "IF" in place.expected:
        return "a choice is `a if condition else b`"
    if kind == "LBRACE" and "NUMBER" in place.expected:
        return "braces hold blocks of statements; a list is `[a, b]`"
    if kind == "PLUS" and "NUMBER" in place.expected:
        return "a value needs no `+` before it"
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


# One mistake each; None where it is not that one


def _docstring(place: Place) -> Diagnostic | None:
    if place.token.type != "DOC":
        return None
    note = "not the first thing of a file or of a declaration"
    hint = "move it to the start of its declaration, or make it a comment, `# ...`"
    return Diagnostic("E125", "a docstring does not belong here", place.token.span, note, hint=hint)


def _foreign(place: Place) -> Diagnostic | None:
    first = place.first
    habit = FOREIGN_STATEMENTS.get(first.text)
    if habit is not None and first.type in ("NAME", "SETTING") and place.at <= place.start + 1:
        return Diagnostic("E118", f"`{first.text}` is not a word of the language", first.span, hint=habit)
    for token in place.tokens[max(place.start, place.at - 2) : place.at + 1]:  # two names in a row are still a product
        if token.type == "NAME" and token.text in FOREIGN_WORDS:
            hint = FOREIGN_WORDS[token.text]
            return Diagnostic("E118", f"`{token.text}` is not a word of the language", token.span, hint=hint)
        if token.type == "NAME" and token.text == "for":
            hint = "repeat statements by `for i in 0..n { ... }`, on lines of their own"
            return Diagnostic("E118", "`for` does not belong inside an expression", token.span, hint=hint)
    return None


def _else_alone(place: Place) -> Diagnostic | None:
    if place.token.type != "ELSE" or place.at != place.start:
        return None
    return Diagnostic("E119", "`else` without an `if`", place.token.span, "no `if` block ends just before it")


def _declaration_inside(place: Place) -> Diagnostic | None:
    first = place.first
    if place.at_top or first.text not in ("layer", "cell", "model", "optimizer", "fn", "train", "const", "from"):
        return None
    if first.type not in ("NAME", "SETTING") or place.start + 1 >= len(place.tokens):
        return None
    if place.tokens[place.start + 1].type not in ("NAME", "STRING") or place.at <= place.start:
        return None
    note = "declarations stand at the top of a file"
    hint = "close the block before it, or move it out"
    return Diagnostic(
        "E124", f"a `{first.text}` is declared inside of another declaration", first.span, note, hint=hint
    )


def _statement_at_top(place: Place) -> Diagnostic | None:
    if not place.at_top or place.at != place.start or place.token.type in ("NEWLINE", "$END"):
        return None
    word = place.token.text
    near = did_you_mean(word, ("layer", "cell", "model", "optimizer", "train", "const", "from"))
    if place.token.type in STATEMENT_WORDS or place.token.type == "IF":
        message, hint = f"`{word}` does not belong outside of a declaration", "put it into a `model` or a `layer`"
    elif place.token.type in NAMES and place.following() in ("EQUAL", "COMMA"):
        message = "an equation does not belong outside of a declaration"
        hint = f"put it into a `model` or a `layer`, or write `const {word} = ...`"
    elif place.token.type == "NAME" and near:
        message, hint = f"`{_short(word)}` starts no declaration", near
    else:
        message, hint = f"{_found(place)} does not belong outside of a declaration", None
    return Diagnostic("E123", message, *_here(place), hint=hint)


def _keyword_as_name(place: Place) -> Diagnostic | None:
    kind, text, span = place.token
    if (
        kind == "EQUAL"
        and place.at == place.start + 1
        and place.first.type in (HARD_WORDS | STATEMENT_WORDS) - {"OUTPUT"}
    ):
        kind, text, span = place.first
        return _not_a_name(text, span)
    if kind not in HARD_WORDS | STATEMENT_WORDS or kind in place.expected:
        return None
    before = place.before
    starts_equation = place.at == place.start and place.following() == "EQUAL"
    wanted = "NAME" in place.expected and "OUTPUT" not in place.expected
    if kind in ("IF", "ELSE", "AND", "OR") and "NUMBER" in place.expected and before is not None:
        return None  # a missing operand
    if starts_equation or wanted:
        return _not_a_name(text, span)
    return None


def _not_a_name(text: str, span: Span) -> Diagnostic:
    note = f"`{text}` is a keyword"
    return Diagnostic("E117", f"`{text}` cannot be a name", span, note, hint=f"another name would do: `{text}_`")


def _compound_assignment(place: Place) -> Diagnostic | None:
    before = place.before
    if place.token.type != "EQUAL" or before is None or before.span.end != place.token.span.start:
        return _compound_start(place)
    if before.text not in ("+", "-", "*", "/", "%", "@", "**", "//"):
        return None
    return _compound(place, place.at - 1)


def _compound_start(place: Place) -> Diagnostic | None:
    """`x += 1`, where the sign alone is already wrong."""
    if place.at != place.start + 1 or place.following() != "EQUAL":
        return None
    if place.token.text not in ("+", "-", "*", "/", "%", "@", "**", "//"):
        return None
    return _compound(place, place.at)


def _compound(place: Place, sign: int) -> Diagnostic:
    token, equal = place.tokens[sign], place.tokens[sign + 1]
    name = place.first.text
    span = token.span.to(equal.span)
    return Diagnostic(
        "E132",
        f"`{token.text}=` is not an operator",
        span,
        hint=f"give the result a name of its own, `new_{name} = {name} {token.text} ...`",
    )


def _equals_sign(place: Place) -> Diagnostic | None:
    if place.token.type == "EQUALS" and place.at == place.start + 1 and place.first.type in NAMES:
        return Diagnostic("E115", "`==` compares", *_here(place), hint="write `=` to give a name its value")
    if place.token.type != "EQUAL":
        return None
    span, before = place.token.span, place.before
    opener = _innermost(place)
    if opener is not None and opener > place.start and place.tokens[opener].type == "LPAR" and before is not None:
        if before.type == "NAME" and place.tokens[place.at - 2].type in ("LPAR", "COMMA"):
            hint = f"write `{before.text}: ...`"
            return Diagnostic("E114", "a named argument is written with `:`", span, "not with `=`", hint=hint)
    if place.first.type == "OUTPUT" and place.at == place.start + 1:
        hint = "write `output value`, or `output name = value`"
        return Diagnostic("E133", "`output` is followed by what it gives", *_here(place), hint=hint)
    inside = opener is not None or place.first.type in ("IF", "ASSERT", "FOR")
    if before is not None and before.type in NAMES and not inside and place.at > place.start + 1:
        hint = "statements on one line are separated by `;`"
        return Diagnostic(
            "E113", "a second `=` in one statement", span, f"expected {words_for(place.expected)}", hint=hint
        )
    note = "`=` gives a name its value"
    if inside or "EQUALS" in place.expected:
        if before is not None and before.type in EXPRESSION | {"RPAR", "RSQB"} and not _is_indexed(place):
            return Diagnostic("E115", "`=` does not compare", span, note, hint="write `==` to compare")
    return None


def _innermost(place: Place) -> int | None:
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


def _is_indexed(place: Place) -> bool:
    return (
        place.first.type in NAMES
        and place.start + 1 < len(place.tokens)
        and (place.tokens[place.start + 1].type in ("LSQB", "DOT"))
    )


def _indexed_target(place: Place) -> Diagnostic | None:
    if not _is_indexed(place):
        return None
    depth = 0
    for at in range(place.start, min(len(place.tokens), place.start + 200)):
        kind = place.tokens[at].type
        depth += (kind in CLOSED_BY) - (kind in CLOSED_BY.values())
        if kind == "NEWLINE":
            return None
        if kind == "EQUAL" and depth == 0:
            target = place.first.span.to(place.tokens[at - 1].span)
            note = "only whole names are given a value"
            hint = "make the whole tensor at once, with `concat`, `where` or `stack`"
            return Diagnostic("E129", "a part of a tensor cannot be assigned", target, note, hint=hint)
    return None


def _chained_comparison(place: Place) -> Diagnostic | None:
    if place.token.type not in COMPARISONS or "NUMBER" in place.expected:
        return None
    earlier = next(
        (at for at in range(place.at - 1, place.start - 1, -1) if place.tokens[at].type in COMPARISONS), None
    )
    if earlier is None:
        return None
    labels = (Label(place.tokens[earlier].span, "the first is here"),)
    hint = "write `a < b and b < c`"
    return Diagnostic("E122", "comparisons do not chain", place.token.span, "a second comparison", labels, hint)


def _tuple(place: Place) -> Diagnostic | None:
    if place.token.type != "COMMA" or "RPAR" not in place.expected or place.expected & {"COMMA", "NUMBER"}:
        return None
    opener = _innermost(place)
    if opener is None:
        return None
    label = Label(place.tokens[opener].span, "opened here")
    hint = "several values in one place are a list: `[a, b]`"
    return Diagnostic("E130", "parentheses hold one expression", place.token.span, *_note(place), (label,), hint)


def _note(place: Place) -> tuple[str]:
    return (f"expected {words_for(place.expected)}",)


def _initializer(place: Place) -> Diagnostic | None:
    kinds = ("INPUT", "PARAM", "STATE", "BUFFER", "TARGET")
    if place.token.type not in ("COMMA", "EQUAL", "TILDE") or place.first.type not in kinds:
        return None
    signs = ("EQUAL", "TILDE")
    if not any(token.type in signs for token in place.tokens[place.start : place.at]) or _innermost(place) is not None:
        return None
    hint = f"start a second `{place.first.text}` on a line of its own"
    note = "an initial value ends the statement, and is that of all its names"
    return Diagnostic("E135", "one statement has one initial value", place.token.span, note, hint=hint)


def _missing_name(place: Place) -> Diagnostic | None:
    named = KIND_NAMES.get(place.before.type) if place.before is not None else None
    if named is None or place.expected & {"NUMBER"} or "NAME" not in place.expected:
        return None
    span, note = _here(place)
    return Diagnostic("E120", f"{named} has no name", span, note)


KIND_NAMES = {
    kind.upper(): f"{article(kind)} `{kind}`"
    for kind in kinds("input param state buffer target layer cell model optimizer fn const preset for")
} | {"TRAIN": "the model of a `train` block"}


def _missing_brace(place: Place) -> Diagnostic | None:
    if "LBRACE" not in place.expected:
        return None
    if place.token.type == "COLON":
        hint = "write `{` here, and `}` after the block"
        return Diagnostic("E116", "a block starts with `{`, not with `:`", place.token.span, hint=hint)
    if place.token.type == "NEWLINE" or (place.at > place.start and place.first.type in ("IF", "FOR")):
        if place.first.type == "FN" and place.token.type != "NEWLINE":
            return None
        started = f"the block of this `{place.first.text}`"
        label = (Label(place.first.span, "starts here"),)
        return Diagnostic("E116", f"{started} has no `{{`", *_here(place), label)
    return None


def _missing_type(place: Place) -> Diagnostic | None:
    before = place.before
    if (
        before is None
        or before.type != "COLON"
        or place.first.type not in ("INPUT", "PARAM", "STATE", "BUFFER", "TARGET")
    ):
        return None
    if _innermost(place) is not None:
        return None
    hint = "a type looks like `f32[batch, time, 1]`, `[batch, features]` or `bool`"
    return Diagnostic("E121", "a type is missing after `:`", *_here(place), hint=hint)


def _bare_expression(place: Place) -> Diagnostic | None:
    if place.at != place.start + 1 or place.first.type not in ("NAME", "PRIMED") or place.at_top:
        return None
    if "COMMA" not in place.expected:  # in a preset
        return None
    near = did_you_mean(place.first.text, WORDS) if place.token.type in NAMES else None
    hint = near or "give its value a name, `y = ...`, or make it a result, `output ...`"
    message = "a statement starts with a keyword, or gives a name its value"
    note = f"expected {words_for(place.expected)} after it"
    return Diagnostic("E131", message, place.first.span, note, hint=hint)


WORDS = (*sorted(word.lower() for word in STATEMENT_WORDS), "if")


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
