"""What is said to those who write as in another language: Python, C, PyTorch."""

from __future__ import annotations

import re

from grammar import codes
from grammar.diagnostics import Diagnostic
from grammar.lexer import Token
from grammar.place import CLOSED_BY, NAMES, Place, here, statement
from grammar.source import Span

# The word that starts the line, and what is written here.
FOREIGN_STATEMENTS = {
    "def": "a function is `fn name(x) = ...`, a layer `layer Name(...) { ... }`",
    "class": "a layer is `layer Name(...) { ... }`, a model `model Name(...) { ... }`",
    "import": 'import names of another file with `from "file.model" import Name`',
    "function": "a function is `fn name(x) = ...`",
    "func": "a function is `fn name(x) = ...`",
    "return": "write `output value`",
    "elif": "write `else if`",
    "while": "loop over a range with `for i in 0..n { ... }`, or along an axis with a `cell`",
    "let": "write `name = value`",
    "var": "write `name = value`",
    "pass": "an empty block is `{ }`",
    "with": "there are no context managers; write the statements in order",
    "try": "there are no exceptions; state what must hold with `assert condition, message`",
    "raise": "write `assert condition, message`",
    "print": "`nablac run` prints the outputs of a model",
    "del": "names do not need to be deleted",
    "global": "a definition can read its own names and the declarations of the file",
}
_NO_COMMENT = "comments start with `#`"
_QUOTIENT_OF_WORDS = re.compile(r"//\s*(?:\w+\s+)*$")
FOREIGN_WORDS = {
    "lambda": "declare a function with `fn name(x) = ...` and pass its name",
    "is": "compare with `==`",
    "mod": "a remainder is `%`",
    "div": "an integer quotient is `//`",
    "then": "a choice is `a if condition else b`",
}


def foreign_word(place: Place) -> Diagnostic | None:
    """`def`, `class`, `return`, `None` and other words of Python."""
    first = place.first
    habit = FOREIGN_STATEMENTS.get(first.text)
    if habit is not None and first.type in ("NAME", "SETTING") and place.at <= place.start + 1:
        return Diagnostic(codes.E118, f"`{first.text}` is not a word of the language", first.span, hint=habit)
    for token in place.tokens[max(place.start, place.at - 2) : place.at + 1]:  # two names in a row are still a product
        if token.type == "NAME" and token.text in FOREIGN_WORDS:
            hint = FOREIGN_WORDS[token.text]
            return Diagnostic(codes.E118, f"`{token.text}` is not a word of the language", token.span, hint=hint)
        if token.type == "NAME" and token.text == "for":
            hint = "repeat statements with `for i in 0..n { ... }`, on separate lines"
            return Diagnostic(codes.E118, "`for` does not belong inside an expression", token.span, hint=hint)
    return None


def comment(place: Place) -> Diagnostic | None:
    """`// text`, `/* text */` and `-- text`, where a value could not go on so."""
    token, before = place.token, place.before
    could_end = place.at == place.start or "NEWLINE" in place.expected
    if token.type == "FLOOR_DIVIDE" and could_end:
        return _no_comment(token, token)
    if token.type == "SLASH" and could_end and place.following() == "STAR":
        return _no_comment(token, place.tokens[place.at + 1])
    if token.type == "STAR" and before is not None and before.type == "SLASH":
        return _no_comment(before, token)
    if token.type == "MINUS" and place.at == place.start and place.following() == "MINUS":
        return _no_comment(token, place.tokens[place.at + 1])
    first = place.at - 1
    while first > place.start and place.tokens[first].type == "NAME":
        first -= 1
    if token.type in ("NAME", "COLON") and first < place.at - 1 and place.tokens[first].type == "FLOOR_DIVIDE":
        return _no_comment(place.tokens[first], place.tokens[first])  # words in a row
    return None


def comment_hint(name: Span) -> str | None:
    """What is said of an unknown name among words after `//`, which divide as they stand."""
    before = name.source.text[: name.start].rpartition("\n")[2]
    return _NO_COMMENT if _QUOTIENT_OF_WORDS.search(before) else None


def _no_comment(first: Token, last: Token) -> Diagnostic:
    span = first.span.to(last.span)
    return Diagnostic(codes.E118, f"`{span.text}` does not start a comment", span, hint=_NO_COMMENT)


def decorator(place: Place) -> Diagnostic | None:
    """`@name` before a declaration."""
    if place.token.type != "AT" or place.at != place.start:
        return None
    return Diagnostic(codes.E118, "there are no decorators", place.token.span, hint="remove the line")


def foreign_import(place: Place) -> Diagnostic | None:
    """`from torch import nn`, `import *`, `import A as B`."""
    if place.first.type != "FROM":
        return None
    token, before = place.token, place.before
    if token.type == "NAME" and place.at == place.start + 1:
        hint = 'import names of another file with `from "file.model" import Name`; the library needs no import'
        return Diagnostic(codes.E118, "`from` takes a file name in quotes", token.span, hint=hint)
    if token.type == "STAR" and before is not None and before.type == "IMPORT":
        return Diagnostic(codes.E118, "`*` cannot be imported", token.span, hint="name each import: `import A, B`")
    if token.text == "as":
        return Diagnostic(
            codes.E118, "`as` is not a word of the language", token.span, hint="imports cannot be renamed"
        )
    return None


def formatted_text(place: Place) -> Diagnostic | None:
    """`f"{name}"`."""
    before = place.before
    if place.token.type != "STRING" or before is None or before.text not in ("f", "F"):
        return None
    hint = "messages interpolate `{name}` without an `f`"
    return Diagnostic(codes.E118, "`f` does not belong before a string", before.span, hint=hint)


def loop_in_parentheses(place: Place) -> Diagnostic | None:
    """`for (i in 0..n)`."""
    if place.first.type != "FOR" or place.token.type != "LPAR" or place.at != place.start + 1:
        return None
    hint = "write `for i in 0..n { ... }`"
    return Diagnostic(codes.E118, "`for` takes no parentheses", place.token.span, hint=hint)


def definition_with_equals(place: Place) -> Diagnostic | None:
    """`model M = Sequential(...)`."""
    word = place.first.text
    if place.token.type != "EQUAL" or place.first.type not in ("MODEL", "LAYER", "CELL", "OPTIMIZER"):
        return None
    hint = f"a {word} is a block: `{word} {place.tokens[place.start + 1].text} {{ ... }}`"
    return Diagnostic(codes.E113, "unexpected `=`", *here(place), hint=hint)


def declared_type(place: Place) -> str | None:
    """What is said to `W: [4, 3] ~ f()` and `y: f32[batch] = x`, which have no word before them."""
    if place.token.type != "COLON":
        return None
    name, kinds = place.first.text, {token.type for token in statement(place)}
    if "TILDE" in kinds:
        return f"did you mean `param {name}: ...`?"
    if "EQUAL" in kinds:
        return f"the type of a value is inferred, `{name} = ...`; a parameter is declared by `param {name}: ...`"
    return f"did you mean `input {name}: ...`?"


def compound_assignment(place: Place) -> Diagnostic | None:
    """`x += 1`, however it is spaced."""
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
        codes.E132,
        f"`{token.text}=` is not an operator",
        span,
        hint=f"give the result a new name, `new_{name} = {name} {token.text} ...`",
    )


def is_part(place: Place) -> bool:
    """Whether the statement begins with a part of a value: `x[` or `x.`."""
    return (
        place.first.type in NAMES
        and place.start + 1 < len(place.tokens)
        and (place.tokens[place.start + 1].type in ("LSQB", "DOT"))
    )


def partial_target(place: Place) -> Diagnostic | None:
    """`x[0] = 1` and `x.a = 1`."""
    if not is_part(place):
        return None
    depth = 0
    for at in range(place.start, min(len(place.tokens), place.start + 200)):
        kind = place.tokens[at].type
        depth += (kind in CLOSED_BY) - (kind in CLOSED_BY.values())
        if kind == "NEWLINE":
            return None
        if kind == "EQUAL" and depth == 0:
            target = place.first.span.to(place.tokens[at - 1].span)
            note = "only a name can be assigned"
            last = place.tokens[at - 1]
            if place.tokens[place.start + 1].type == "DOT" and last.type in NAMES:
                return Diagnostic(
                    codes.E129, "a name cannot contain a dot", target, note, hint=f"write `{last.text} = ...`"
                )
            hint = "make the whole tensor at once, with `concat`, `where` or `stack`"
            return Diagnostic(codes.E129, "a part of a tensor cannot be assigned", target, note, hint=hint)
    return None
