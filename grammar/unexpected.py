"""What to say about a token that the grammar does not allow where it stands."""

from __future__ import annotations

from grammar import codes, habits
from grammar.diagnostics import Diagnostic, Label, did_you_mean
from grammar.mistakes import article
from grammar.place import (
    COMPARISONS,
    EXPRESSION,
    HARD_WORDS,
    NAMES,
    SIGNS,
    STATEMENT_WORDS,
    Place,
    here,
    innermost,
    kinds,
    words_for,
)
from grammar.source import Span


def diagnose(place: Place) -> Diagnostic:
    """What to say of a token that does not fit: the first rule that knows the mistake, or what was expected."""
    for rule in (
        _docstring,
        habits.foreign_word,
        habits.comment,
        habits.decorator,
        habits.foreign_import,
        habits.formatted_text,
        habits.loop_in_parentheses,
        _else_alone,
        _declaration_inside,
        _statement_at_top,
        _keyword_as_name,
        habits.compound_assignment,
        habits.definition_with_equals,
        _equals_sign,
        habits.partial_target,
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
    return Diagnostic(codes.E113, _generally(place), *here(place), hint=_hint(place))


def _describe(place: Place) -> str:
    kind, text, _ = place.token
    if kind in NAMES:
        return f"name `{_short(text)}`"
    if kind == "NUMBER":
        return f"number `{_short(text)}`"
    if kind == "STRING":
        return "string"
    return f"`{_short(text)}`"


def _generally(place: Place) -> str:
    kind, text, span = place.token
    if kind == "$END" or (kind == "NEWLINE" and span.start >= len(span.source.text)):
        return "unexpected end of the file"
    if kind == "NEWLINE":
        return "unexpected `;`" if text == ";" else "unexpected end of the line" if text else "unexpected `}`"
    return f"unexpected {_describe(place)}"


def _hint(place: Place) -> str | None:
    kind, text, _ = place.token
    if kind in NAMES and place.before is not None and place.before.type == "RBRACE":
        return did_you_mean(text, ("else",))
    if kind in NAMES and "NEWLINE" in place.expected and (text in WORDS or place.following() == "EQUAL"):
        return "statements on one line are separated by `;`"
    if kind == "QMARK" and "IF" in place.expected:
        return "a choice is `a if condition else b`"
    if kind == "LBRACE" and place.before is not None and place.before.text.endswith("_"):
        state = place.before.text.rstrip("_")
        return f"write `{state}` for the state before the step and `{state}'` for the one after it"
    if kind == "LBRACE" and "NUMBER" in place.expected:
        return "braces hold blocks of statements; a list is `[a, b]`"
    if kind == "QMARK" and "ELLIPSIS" in place.expected:
        return "name a size that is known only when the model runs, as in `[batch, 4]`"
    if kind == "COLON" and place.expected == {"EQUAL"} and place.before is not None:
        return f"write `{place.before.text} = ...`"
    if kind == "COLON" and place.first.type == "OUTPUT" and place.before is not None and place.at == place.start + 2:
        return f"write `output {place.before.text} = ...`"
    if kind in SIGNS and place.at == place.start and not place.at_top:
        return "only `->` continues the line before; otherwise use parentheses"
    if kind == "NEWLINE" and place.before is not None and place.before.type in SIGNS:
        return _going_on(place.before.text)
    if kind == "PLUS" and "NUMBER" in place.expected:
        return "remove the `+`"
    if kind in _OPERANDS and "STAR" in place.expected and place.at > place.start:
        return _beside(place)
    return None


_OPERANDS = kinds("NAME PRIMED NUMBER")


def _beside(place: Place) -> str | None:
    """Products that a textbook writes without a sign, beyond that of a matrix and a tensor by their names."""
    before, (kind, text, _) = place.tokens[place.at - 1], place.token
    if "NUMBER" in (kind, before.type):
        return f"multiply by a number with `*`: `{_short(before.text)} * {_short(text)}`"
    first = place.tokens[place.at - 2] if place.at - 2 >= place.start else None
    if before.type in NAMES and first is not None and first.type in NAMES:
        three = (_short(each) for each in (first.text, before.text, text))
        return "only two factors may stand side by side, a matrix and a tensor: `{} ({} {})`".format(*three)
    if before.type in ("RPAR", "RSQB"):
        return (
            "only a named matrix and a tensor multiply side by side; otherwise use `*` (elementwise) or `@` (matrices)"
        )
    return None


def _going_on(sign: str) -> str:
    """How a statement that ends in a sign goes on over its line."""
    return "begin the next line with `->`" if sign == "->" else "put an expression of several lines in parentheses"


# One mistake each; None where it is not that one


def _docstring(place: Place) -> Diagnostic | None:
    if place.token.type != "DOC":
        return None
    note = "not at the start of a file or a declaration"
    hint = "move it to the start of the declaration, or make it a comment, `# ...`"
    return Diagnostic(codes.E125, "misplaced docstring", place.token.span, note, hint=hint)


def _else_alone(place: Place) -> Diagnostic | None:
    if place.token.type != "ELSE" or place.at != place.start:
        return None
    return Diagnostic(codes.E119, "`else` without an `if`", place.token.span, "no `if` block ends just before it")


def _declaration_inside(place: Place) -> Diagnostic | None:
    first = place.first
    if place.at_top or first.text not in ("layer", "cell", "model", "optimizer", "fn", "train", "const", "from"):
        return None
    if first.type not in ("NAME", "SETTING") or place.start + 1 >= len(place.tokens):
        return None
    if place.tokens[place.start + 1].type not in ("NAME", "STRING") or place.at <= place.start:
        return None
    note = "declarations belong at the top level of a file"
    hint = "close the block before it, or move it out"
    return Diagnostic(
        codes.E124, f"a `{first.text}` cannot be declared inside another declaration", first.span, note, hint=hint
    )


def _statement_at_top(place: Place) -> Diagnostic | None:
    if not place.at_top or place.at != place.start or place.token.type in ("NEWLINE", "$END"):
        return None
    word = place.token.text
    near = did_you_mean(word, ("layer", "cell", "model", "optimizer", "train", "const", "from"))
    if place.token.type in STATEMENT_WORDS or place.token.type == "IF":
        message, hint = f"`{word}` outside a declaration", "move it into a `model` or a `layer`"
    elif place.token.type in NAMES and place.following() in ("EQUAL", "COMMA"):
        message = "an equation outside a declaration"
        hint = f"move it into a `model` or a `layer`, or write `const {word} = ...`"
    elif place.token.type == "NAME" and near:
        message, hint = f"`{_short(word)}` does not start a declaration", near
    else:
        message, hint = f"{_describe(place)} outside a declaration", None
    return Diagnostic(codes.E123, message, *here(place), hint=hint)


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
    return Diagnostic(codes.E117, f"`{text}` cannot be a name", span, note, hint=f"use another name, such as `{text}_`")


def _equals_sign(place: Place) -> Diagnostic | None:
    if place.token.type == "EQUALS" and place.at == place.start + 1 and place.first.type in NAMES:
        return Diagnostic(codes.E115, "`==` compares", *here(place), hint="write `=` to define a name")
    if place.token.type != "EQUAL":
        return None
    span, before = place.token.span, place.before
    opener = innermost(place)
    if opener is not None and opener > place.start and place.tokens[opener].type == "LPAR" and before is not None:
        if before.type == "NAME" and place.tokens[place.at - 2].type in ("LPAR", "COMMA"):
            hint = f"write `{before.text}: ...`"
            return Diagnostic(codes.E114, "a named argument is written with `:`", span, "not with `=`", hint=hint)
    if place.first.type == "OUTPUT" and place.at == place.start + 1:
        hint = "write `output value`, or `output name = value`"
        return Diagnostic(codes.E133, "`output` takes a value, not `=`", *here(place), hint=hint)
    inside = opener is not None or place.first.type in ("IF", "ASSERT", "FOR")
    if before is not None and before.type in NAMES and not inside and place.at > place.start + 1:
        hint = "statements on one line are separated by `;`"
        return Diagnostic(
            codes.E113, "a second `=` in one statement", span, f"expected {words_for(place.expected)}", hint=hint
        )
    note = "`=` defines a name"
    if inside or "EQUALS" in place.expected:
        if before is not None and before.type in EXPRESSION | {"RPAR", "RSQB"} and not habits.is_part(place):
            return Diagnostic(codes.E115, "`=` does not compare", span, note, hint="write `==` to compare")
    return None


def _chained_comparison(place: Place) -> Diagnostic | None:
    if place.token.type not in COMPARISONS or "NUMBER" in place.expected:
        return None
    earlier = next(
        (at for at in range(place.at - 1, place.start - 1, -1) if place.tokens[at].type in COMPARISONS), None
    )
    if earlier is None:
        return None
    labels = (Label(place.tokens[earlier].span, "first here"),)
    hint = "write `a < b and b < c`"
    return Diagnostic(codes.E122, "comparisons do not chain", place.token.span, "a second comparison", labels, hint)


def _tuple(place: Place) -> Diagnostic | None:
    if place.token.type != "COMMA" or "RPAR" not in place.expected or place.expected & {"COMMA", "NUMBER"}:
        return None
    opener = innermost(place)
    if opener is None:
        return None
    label = Label(place.tokens[opener].span, "opened here")
    hint = "write several values as a list: `[a, b]`"
    return Diagnostic(
        codes.E130, "parentheses enclose a single expression", place.token.span, *_note(place), (label,), hint
    )


def _note(place: Place) -> tuple[str]:
    return (f"expected {words_for(place.expected)}",)


def _initializer(place: Place) -> Diagnostic | None:
    kinds = ("INPUT", "PARAM", "STATE", "BUFFER", "TARGET")
    if place.token.type not in ("COMMA", "EQUAL", "TILDE") or place.first.type not in kinds:
        return None
    signs = ("EQUAL", "TILDE")
    if not any(token.type in signs for token in place.tokens[place.start : place.at]) or innermost(place) is not None:
        return None
    hint = f"start a second `{place.first.text}` on a separate line"
    note = "the initial value ends the statement and applies to all its names"
    return Diagnostic(codes.E135, "a statement has at most one initial value", place.token.span, note, hint=hint)


def _missing_name(place: Place) -> Diagnostic | None:
    named = KIND_NAMES.get(place.before.type) if place.before is not None else None
    if named is None or place.expected & {"NUMBER"} or "NAME" not in place.expected:
        return None
    span, note = here(place)
    return Diagnostic(codes.E120, f"{named} has no name", span, note)


KIND_NAMES = {
    kind.upper(): f"{article(kind)} `{kind}`"
    for kind in kinds("input param state buffer target layer cell model optimizer fn const preset for")
} | {"TRAIN": "the model of a `train` block"}


def _missing_brace(place: Place) -> Diagnostic | None:
    if "LBRACE" not in place.expected:
        return None
    if place.token.type == "COLON":
        hint = "write `{` here, and `}` after the block"
        return Diagnostic(codes.E116, "a block starts with `{`, not with `:`", place.token.span, hint=hint)
    if place.token.type == "NEWLINE" or (place.at > place.start and place.first.type in ("IF", "FOR")):
        if place.first.type == "FN" and place.token.type != "NEWLINE":
            return None
        started = f"the block of this `{place.first.text}`"
        label = (Label(place.first.span, "starts here"),)
        return Diagnostic(codes.E116, f"{started} has no `{{`", *here(place), label)
    return None


def _missing_type(place: Place) -> Diagnostic | None:
    before = place.before
    if (
        before is None
        or before.type != "COLON"
        or place.first.type not in ("INPUT", "PARAM", "STATE", "BUFFER", "TARGET")
    ):
        return None
    if innermost(place) is not None:
        return None
    hint = "a type looks like `f32[batch, time, 1]`, `[batch, features]` or `bool`"
    return Diagnostic(codes.E121, "a type is missing after `:`", *here(place), hint=hint)


def _bare_expression(place: Place) -> Diagnostic | None:
    if place.at != place.start + 1 or place.first.type not in ("NAME", "PRIMED") or place.at_top:
        return None
    if "COMMA" not in place.expected:  # in a preset
        return None
    near = did_you_mean(place.first.text, WORDS) if place.token.type in NAMES else None
    hint = near or habits.declared_type(place) or "name the value, `y = ...`, or return it, `output ...`"
    message = "expected a statement"
    note = f"expected {words_for(place.expected)} after it"
    return Diagnostic(codes.E131, message, place.first.span, note, hint=hint)


WORDS = (*sorted(word.lower() for word in STATEMENT_WORDS), "if")


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
