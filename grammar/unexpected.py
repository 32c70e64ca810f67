"""The diagnostic for an unexpected token."""

from __future__ import annotations

from grammar import codes, foreign_syntax
from grammar.diagnostics import Diagnostic, Label, did_you_mean
from grammar.error_context import (
    COMPARISONS,
    EXPRESSION,
    HARD_WORDS,
    NAMES,
    SIGNS,
    STATEMENT_WORDS,
    ErrorContext,
    describe_expected,
    innermost_bracket,
    kinds,
    span_and_note,
)
from grammar.mistakes import article
from grammar.source import Span


def diagnose(context: ErrorContext) -> Diagnostic:
    """The diagnostic of the first rule that recognizes the mistake, else E113 with what was expected."""
    for rule in (
        _docstring,
        foreign_syntax.foreign_word,
        foreign_syntax.comment,
        foreign_syntax.decorator,
        foreign_syntax.foreign_import,
        foreign_syntax.formatted_text,
        foreign_syntax.loop_in_parentheses,
        _else_without_if,
        _declaration_inside,
        _statement_at_top,
        _keyword_as_name,
        foreign_syntax.compound_assignment,
        foreign_syntax.definition_with_equals,
        _equals_sign,
        foreign_syntax.partial_target,
        _chained_comparison,
        _tuple,
        _initializer,
        _missing_name,
        _missing_brace,
        _missing_type,
        _bare_expression,
    ):
        diagnostic = rule(context)
        if diagnostic is not None:
            return diagnostic
    return Diagnostic(codes.E113, _message(context), *span_and_note(context), hint=_hint(context))


def _describe(context: ErrorContext) -> str:
    kind, text, _ = context.token
    if kind in NAMES:
        return f"name `{_short(text)}`"
    if kind == "NUMBER":
        return f"number `{_short(text)}`"
    if kind == "STRING":
        return "string"
    return f"`{_short(text)}`"


def _message(context: ErrorContext) -> str:
    kind, text, span = context.token
    if kind == "$END" or (kind == "NEWLINE" and span.start >= len(span.source.text)):
        return "unexpected end of the file"
    if kind == "NEWLINE":
        return "unexpected `;`" if text == ";" else "unexpected end of the line" if text else "unexpected `}`"
    return f"unexpected {_describe(context)}"


def _hint(context: ErrorContext) -> str | None:
    kind, text, _ = context.token
    if "EPOCH" in context.expected:
        return "a metric of all examples at once is `metric auc(score, label) over epoch`"
    if kind in NAMES and context.previous is not None and context.previous.type == "RBRACE":
        return did_you_mean(text, ("else",))
    if kind in NAMES and "NEWLINE" in context.expected and (text in WORDS or context.following() == "EQUAL"):
        return "statements on one line are separated by `;`"
    if kind == "QMARK" and "IF" in context.expected:
        return "a conditional is `a if condition else b`"
    if kind == "LBRACE" and context.previous is not None and context.previous.text.endswith("_"):
        state = context.previous.text.rstrip("_")
        return f"write `{state}` for the state before the step and `{state}'` for the one after it"
    if kind == "LBRACE" and "NUMBER" in context.expected:
        return "braces hold blocks of statements; a list is `[a, b]`"
    if kind == "QMARK" and "ELLIPSIS" in context.expected:
        return "name a size that is known only when the model runs, as in `[batch, 4]`"
    if kind == "COLON" and context.expected == {"EQUAL"} and context.previous is not None:
        return f"write `{context.previous.text} = ...`"
    if (
        kind == "COLON"
        and context.first.type == "OUTPUT"
        and context.previous is not None
        and context.index == context.start + 2
    ):
        return f"write `output {context.previous.text} = ...`"
    if kind in SIGNS and context.index == context.start and not context.at_top_level:
        return "only `->` can continue the previous line; otherwise use parentheses"
    if kind == "NEWLINE" and context.previous is not None and context.previous.type in SIGNS:
        return _continuation_hint(context.previous.text)
    if kind == "PLUS" and "NUMBER" in context.expected:
        return "remove the `+`"
    if kind in _OPERANDS and "STAR" in context.expected and context.index > context.start:
        return _product_hint(context)
    return None


_OPERANDS = kinds("NAME PRIMED NUMBER")


def _product_hint(context: ErrorContext) -> str | None:
    """The hint for a product without a sign, as in textbooks; here only `W x` is one, a named matrix and a tensor."""
    previous, (kind, text, _) = context.tokens[context.index - 1], context.token
    if "NUMBER" in (kind, previous.type):
        return f"multiply by a number with `*`: `{_short(previous.text)} * {_short(text)}`"
    first = context.tokens[context.index - 2] if context.index - 2 >= context.start else None
    if previous.type in NAMES and first is not None and first.type in NAMES:
        factors = (_short(factor) for factor in (first.text, previous.text, text))
        return "only two factors can be written side by side, a matrix and a tensor: `{} ({} {})`".format(*factors)
    if previous.type in ("RPAR", "RSQB"):
        return (
            "only a named matrix and a tensor multiply side by side; otherwise use `*` (elementwise) or `@` (matrices)"
        )
    return None


def _continuation_hint(sign: str) -> str:
    """How to continue a statement whose line ends with an operator."""
    return (
        "begin the next line with `->`" if sign == "->" else "put an expression that spans several lines in parentheses"
    )


# One function for each mistake; None if it is another one


def _docstring(context: ErrorContext) -> Diagnostic | None:
    if context.token.type != "DOC":
        return None
    note = "not at the start of a file or a declaration"
    hint = "move it to the start of the declaration, or make it a comment, `# ...`"
    return Diagnostic(codes.E125, "misplaced docstring", context.token.span, note, hint=hint)


def _else_without_if(context: ErrorContext) -> Diagnostic | None:
    if context.token.type != "ELSE" or context.index != context.start:
        return None
    return Diagnostic(codes.E119, "`else` without an `if`", context.token.span, "no `if` block ends just before it")


def _declaration_inside(context: ErrorContext) -> Diagnostic | None:
    first = context.first
    if context.at_top_level or first.text not in (
        "layer",
        "cell",
        "model",
        "optimizer",
        "fn",
        "train",
        "const",
        "from",
    ):
        return None
    if first.type not in ("NAME", "SETTING") or context.start + 1 >= len(context.tokens):
        return None
    if context.tokens[context.start + 1].type not in ("NAME", "STRING") or context.index <= context.start:
        return None
    note = "declarations belong at the top level of a file"
    hint = "close the previous block, or move this declaration out of it"
    return Diagnostic(
        codes.E124, f"a `{first.text}` cannot be declared inside another declaration", first.span, note, hint=hint
    )


def _statement_at_top(context: ErrorContext) -> Diagnostic | None:
    if not context.at_top_level or context.index != context.start or context.token.type in ("NEWLINE", "$END"):
        return None
    word = context.token.text
    near = did_you_mean(word, ("layer", "cell", "model", "optimizer", "train", "const", "from"))
    if context.token.type in STATEMENT_WORDS or context.token.type == "IF":
        message, hint = f"`{word}` outside a declaration", "move it into a `model` or a `layer`"
    elif context.token.type in NAMES and context.following() in ("EQUAL", "COMMA"):
        message = "an equation outside a declaration"
        hint = f"move it into a `model` or a `layer`, or write `const {word} = ...`"
    elif context.token.type == "NAME" and near:
        message, hint = f"`{_short(word)}` does not start a declaration", near
    else:
        message, hint = f"{_describe(context)} outside a declaration", None
    return Diagnostic(codes.E123, message, *span_and_note(context), hint=hint)


def _keyword_as_name(context: ErrorContext) -> Diagnostic | None:
    kind, text, span = context.token
    if (
        kind == "EQUAL"
        and context.index == context.start + 1
        and context.first.type in (HARD_WORDS | STATEMENT_WORDS) - {"OUTPUT"}
    ):
        kind, text, span = context.first
        return _not_a_name(text, span)
    if kind not in HARD_WORDS | STATEMENT_WORDS or kind in context.expected:
        return None
    previous = context.previous
    starts_equation = context.index == context.start and context.following() == "EQUAL"
    expects_name = "NAME" in context.expected and "OUTPUT" not in context.expected
    if kind in ("IF", "ELSE", "AND", "OR") and "NUMBER" in context.expected and previous is not None:
        return None  # a missing operand
    if starts_equation or expects_name:
        return _not_a_name(text, span)
    return None


def _not_a_name(text: str, span: Span) -> Diagnostic:
    note = f"`{text}` is a keyword"
    return Diagnostic(codes.E117, f"`{text}` cannot be a name", span, note, hint=f"use another name, such as `{text}_`")


def _equals_sign(context: ErrorContext) -> Diagnostic | None:
    if context.token.type == "EQUALS" and context.index == context.start + 1 and context.first.type in NAMES:
        return Diagnostic(codes.E115, "`==` compares", *span_and_note(context), hint="write `=` to define a name")
    if context.token.type != "EQUAL":
        return None
    span, previous = context.token.span, context.previous
    opener = innermost_bracket(context)
    if opener is not None and opener > context.start and context.tokens[opener].type == "LPAR" and previous is not None:
        if previous.type == "NAME" and context.tokens[context.index - 2].type in ("LPAR", "COMMA"):
            hint = f"write `{previous.text}: ...`"
            return Diagnostic(codes.E114, "a named argument is written with `:`", span, "not with `=`", hint=hint)
    if context.first.type == "OUTPUT" and context.index == context.start + 1:
        hint = "write `output value`, or `output name = value`"
        return Diagnostic(codes.E133, "`output` takes a value, not `=`", *span_and_note(context), hint=hint)
    inside = opener is not None or context.first.type in ("IF", "ASSERT", "FOR")
    if previous is not None and previous.type in NAMES and not inside and context.index > context.start + 1:
        hint = "statements on one line are separated by `;`"
        return Diagnostic(
            codes.E113,
            "a second `=` in one statement",
            span,
            f"expected {describe_expected(context.expected)}",
            hint=hint,
        )
    note = "`=` defines a name"
    if inside or "EQUALS" in context.expected:
        if (
            previous is not None
            and previous.type in EXPRESSION | {"RPAR", "RSQB"}
            and not foreign_syntax.is_part(context)
        ):
            return Diagnostic(codes.E115, "`=` does not compare", span, note, hint="write `==` to compare")
    return None


def _chained_comparison(context: ErrorContext) -> Diagnostic | None:
    if context.token.type not in COMPARISONS or "NUMBER" in context.expected:
        return None
    earlier = next(
        (
            index
            for index in range(context.index - 1, context.start - 1, -1)
            if context.tokens[index].type in COMPARISONS
        ),
        None,
    )
    if earlier is None:
        return None
    labels = (Label(context.tokens[earlier].span, "first here"),)
    hint = "write `a < b and b < c`"
    return Diagnostic(codes.E122, "comparisons do not chain", context.token.span, "a second comparison", labels, hint)


def _tuple(context: ErrorContext) -> Diagnostic | None:
    if context.token.type != "COMMA" or "RPAR" not in context.expected or context.expected & {"COMMA", "NUMBER"}:
        return None
    opener = innermost_bracket(context)
    if opener is None:
        return None
    label = Label(context.tokens[opener].span, "opened here")
    hint = "write several values as a list: `[a, b]`"
    return Diagnostic(
        codes.E130, "parentheses enclose a single expression", context.token.span, *_note(context), (label,), hint
    )


def _note(context: ErrorContext) -> tuple[str]:
    return (f"expected {describe_expected(context.expected)}",)


def _initializer(context: ErrorContext) -> Diagnostic | None:
    kinds = ("INPUT", "PARAM", "STATE", "BUFFER", "TARGET")
    if context.token.type not in ("COMMA", "EQUAL", "TILDE") or context.first.type not in kinds:
        return None
    signs = ("EQUAL", "TILDE")
    if (
        not any(token.type in signs for token in context.tokens[context.start : context.index])
        or innermost_bracket(context) is not None
    ):
        return None
    hint = f"start a second `{context.first.text}` on a separate line"
    note = "the initial value ends the statement and applies to all its names"
    return Diagnostic(codes.E135, "a statement has at most one initial value", context.token.span, note, hint=hint)


def _missing_name(context: ErrorContext) -> Diagnostic | None:
    declaration = KIND_NAMES.get(context.previous.type) if context.previous is not None else None
    if declaration is None or context.expected & {"NUMBER"} or "NAME" not in context.expected:
        return None
    span, note = span_and_note(context)
    return Diagnostic(codes.E120, f"{declaration} has no name", span, note)


KIND_NAMES = {
    kind.upper(): f"{article(kind)} `{kind}`"
    for kind in kinds("input param state buffer target layer cell model optimizer fn const preset for")
} | {"TRAIN": "the model of a `train` block"}


def _missing_brace(context: ErrorContext) -> Diagnostic | None:
    if "LBRACE" not in context.expected:
        return None
    if context.token.type == "COLON":
        hint = "write `{` here, and `}` after the block"
        return Diagnostic(codes.E116, "a block starts with `{`, not with `:`", context.token.span, hint=hint)
    if context.token.type == "NEWLINE" or (context.index > context.start and context.first.type in ("IF", "FOR")):
        if context.first.type == "FN" and context.token.type != "NEWLINE":
            return None
        started = f"the block of this `{context.first.text}`"
        label = (Label(context.first.span, "starts here"),)
        return Diagnostic(codes.E116, f"{started} has no `{{`", *span_and_note(context), label)
    return None


def _missing_type(context: ErrorContext) -> Diagnostic | None:
    previous = context.previous
    if (
        previous is None
        or previous.type != "COLON"
        or context.first.type not in ("INPUT", "PARAM", "STATE", "BUFFER", "TARGET")
    ):
        return None
    if innermost_bracket(context) is not None:
        return None
    hint = "a type looks like `f32[batch, time, 1]`, `[batch, features]` or `bool`"
    return Diagnostic(codes.E121, "a type is missing after `:`", *span_and_note(context), hint=hint)


def _bare_expression(context: ErrorContext) -> Diagnostic | None:
    if context.index != context.start + 1 or context.first.type not in ("NAME", "PRIMED") or context.at_top_level:
        return None
    if "COMMA" not in context.expected:  # in a preset
        return None
    near = did_you_mean(context.first.text, WORDS) if context.token.type in NAMES else None
    hint = near or foreign_syntax.declared_type(context) or "name the value, `y = ...`, or return it, `output ...`"
    message = "expected a statement"
    note = f"expected {describe_expected(context.expected)} after it"
    return Diagnostic(codes.E131, message, context.first.span, note, hint=hint)


WORDS = (*sorted(word.lower() for word in STATEMENT_WORDS), "if")


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
