"""Diagnostics for the syntax of other languages: Python, C, PyTorch."""

from __future__ import annotations

import re

from grammar import codes
from grammar.diagnostics import Diagnostic
from grammar.error_context import CLOSED_BY, NAMES, ErrorContext, span_and_note, statement_tokens
from grammar.lexer import Token
from grammar.source import Span

# The first word of a statement, and what to write instead.
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
    "then": "a conditional is `a if condition else b`",
}


def foreign_word(context: ErrorContext) -> Diagnostic | None:
    """`def`, `class`, `return`, `None` and other words of Python."""
    first = context.first
    replacement = FOREIGN_STATEMENTS.get(first.text)
    if replacement is not None and first.type in ("NAME", "SETTING") and context.index <= context.start + 1:
        return Diagnostic(codes.E118, f"there is no `{first.text}` statement", first.span, hint=replacement)
    # The word may be up to two tokens earlier: two names in a row are still a product.
    for token in context.tokens[max(context.start, context.index - 2) : context.index + 1]:
        if token.type == "NAME" and token.text in FOREIGN_WORDS:
            hint = FOREIGN_WORDS[token.text]
            return Diagnostic(codes.E118, f"`{token.text}` is not part of the language", token.span, hint=hint)
        if token.type == "NAME" and token.text == "for":
            hint = "repeat statements with `for i in 0..n { ... }`, on separate lines"
            return Diagnostic(codes.E118, "`for` cannot be part of an expression", token.span, hint=hint)
    return None


def comment(context: ErrorContext) -> Diagnostic | None:
    """`// text`, `/* text */` and `-- text`, where no expression could continue in that way."""
    token, previous = context.token, context.previous
    could_end = context.index == context.start or "NEWLINE" in context.expected
    if token.type == "FLOOR_DIVIDE" and could_end:
        return _no_comment(token, token)
    if token.type == "SLASH" and could_end and context.following() == "STAR":
        return _no_comment(token, context.tokens[context.index + 1])
    if token.type == "STAR" and previous is not None and previous.type == "SLASH":
        return _no_comment(previous, token)
    if token.type == "MINUS" and context.index == context.start and context.following() == "MINUS":
        return _no_comment(token, context.tokens[context.index + 1])
    first = context.index - 1
    while first > context.start and context.tokens[first].type == "NAME":
        first -= 1
    if token.type in ("NAME", "COLON") and first < context.index - 1 and context.tokens[first].type == "FLOOR_DIVIDE":
        return _no_comment(context.tokens[first], context.tokens[first])  # words in a row
    return None


def comment_hint(name: Span) -> str | None:
    """The hint for an unknown name in a row of words after `//`, which is a division."""
    before = name.source.text[: name.start].rpartition("\n")[2]
    return _NO_COMMENT if _QUOTIENT_OF_WORDS.search(before) else None


def _no_comment(first: Token, last: Token) -> Diagnostic:
    span = first.span.to(last.span)
    return Diagnostic(codes.E118, f"`{span.text}` does not start a comment", span, hint=_NO_COMMENT)


def decorator(context: ErrorContext) -> Diagnostic | None:
    """`@name` before a declaration."""
    if context.token.type != "AT" or context.index != context.start:
        return None
    return Diagnostic(codes.E118, "there are no decorators", context.token.span, hint="remove the line")


def foreign_import(context: ErrorContext) -> Diagnostic | None:
    """`from torch import nn`, `import *`, `import A as B`."""
    if context.first.type != "FROM":
        return None
    token, previous = context.token, context.previous
    if token.type == "NAME" and context.index == context.start + 1:
        hint = 'import names of another file with `from "file.model" import Name`; the library needs no import'
        return Diagnostic(codes.E118, "`from` takes a file name in quotes", token.span, hint=hint)
    if token.type == "STAR" and previous is not None and previous.type == "IMPORT":
        return Diagnostic(codes.E118, "`*` cannot be imported", token.span, hint="name each import: `import A, B`")
    if token.text == "as":
        return Diagnostic(
            codes.E118, "imports cannot be renamed", token.span, hint="remove the `as`, and use the imported name"
        )
    return None


def formatted_text(context: ErrorContext) -> Diagnostic | None:
    """`f"{name}"`."""
    previous = context.previous
    if context.token.type != "STRING" or previous is None or previous.text not in ("f", "F"):
        return None
    hint = "remove the `f`; the messages of assertions interpolate `{name}` without it"
    return Diagnostic(codes.E118, "a string has no prefix", previous.span, hint=hint)


def loop_in_parentheses(context: ErrorContext) -> Diagnostic | None:
    """`for (i in 0..n)`."""
    if context.first.type != "FOR" or context.token.type != "LPAR" or context.index != context.start + 1:
        return None
    hint = "write `for i in 0..n { ... }`"
    return Diagnostic(codes.E118, "`for` takes no parentheses", context.token.span, hint=hint)


def definition_with_equals(context: ErrorContext) -> Diagnostic | None:
    """`model M = Sequential(...)`."""
    word = context.first.text
    if context.token.type != "EQUAL" or context.first.type not in ("MODEL", "LAYER", "CELL", "OPTIMIZER"):
        return None
    hint = f"a {word} is a block: `{word} {context.tokens[context.start + 1].text} {{ ... }}`"
    return Diagnostic(codes.E113, "unexpected `=`", *span_and_note(context), hint=hint)


def declared_type(context: ErrorContext) -> str | None:
    """The hint for `W: [4, 3] ~ f()` and `y: f32[batch] = x`, which lack a word such as `param`."""
    if context.token.type != "COLON":
        return None
    name, kinds = context.first.text, {token.type for token in statement_tokens(context)}
    if "TILDE" in kinds:
        return f"did you mean `param {name}: ...`?"
    if "EQUAL" in kinds:
        return f"the type of a value is inferred, `{name} = ...`; a parameter is declared by `param {name}: ...`"
    return f"did you mean `input {name}: ...`?"


def compound_assignment(context: ErrorContext) -> Diagnostic | None:
    """`x += 1`, however it is spaced."""
    previous = context.previous
    if context.token.type != "EQUAL" or previous is None or previous.span.end != context.token.span.start:
        return _compound_start(context)
    if previous.text not in ("+", "-", "*", "/", "%", "@", "**", "//"):
        return None
    return _compound(context, context.index - 1)


def _compound_start(context: ErrorContext) -> Diagnostic | None:
    """`x += 1`, where the operator itself is unexpected."""
    if context.index != context.start + 1 or context.following() != "EQUAL":
        return None
    if context.token.text not in ("+", "-", "*", "/", "%", "@", "**", "//"):
        return None
    return _compound(context, context.index)


def _compound(context: ErrorContext, sign: int) -> Diagnostic:
    token, equal = context.tokens[sign], context.tokens[sign + 1]
    name = context.first.text
    span = token.span.to(equal.span)
    return Diagnostic(
        codes.E132,
        f"`{token.text}=` is not an operator",
        span,
        hint=f"give the result a new name, `new_{name} = {name} {token.text} ...`",
    )


def is_part(context: ErrorContext) -> bool:
    """Whether the statement begins with an index or a member: `x[` or `x.`."""
    return (
        context.first.type in NAMES
        and context.start + 1 < len(context.tokens)
        and (context.tokens[context.start + 1].type in ("LSQB", "DOT"))
    )


def partial_target(context: ErrorContext) -> Diagnostic | None:
    """`x[0] = 1` and `x.a = 1`."""
    if not is_part(context):
        return None
    depth = 0
    for index in range(context.start, min(len(context.tokens), context.start + 200)):
        kind = context.tokens[index].type
        depth += (kind in CLOSED_BY) - (kind in CLOSED_BY.values())
        if kind == "NEWLINE":
            return None
        if kind == "EQUAL" and depth == 0:
            target = context.first.span.to(context.tokens[index - 1].span)
            note = "only a name can be assigned"
            last = context.tokens[index - 1]
            if context.tokens[context.start + 1].type == "DOT" and last.type in NAMES:
                return Diagnostic(
                    codes.E129, "a name cannot contain a dot", target, note, hint=f"write `{last.text} = ...`"
                )
            hint = "build the whole tensor at once, with `concat`, `where` or `stack`"
            return Diagnostic(codes.E129, "a part of a tensor cannot be assigned", target, note, hint=hint)
    return None
