"""Searching a program's ranges and choices: one value for each that is reached, and the program that says so."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compiler.elaborate.model_choice import choose_model
from compiler.elaborate.models import Elaboration, TextSource, elaborate_in
from compiler.elaborate.presets import presets_of, setting_expression
from compiler.elaborate.program_texts import replaced, written_out
from compiler.elaborate.reporting import bounded, report_each
from compiler.elaborate.session import Session
from compiler.elaborate.unknown_names import unknown_names
from compiler.elaborate.values import Defined
from compiler.elaborate.work import Work
from compiler.search_space import Choose, Chosen, Numbers, Options, Search, Variable, choose_default
from compiler.types import DType
from compiler.variable_names import variable_names
from grammar import syntax
from grammar.diagnostics import Diagnostics
from grammar.expression_printer import print_text
from grammar.source import Span

__all__ = ["Choices", "Choose", "Numbers", "Options", "Variable", "choose_default", "choose_values"]

_PRIMARY = (syntax.Number, syntax.Text, syntax.Boolean, syntax.Name, syntax.ListOf, syntax.Index, syntax.Attribute)
_TOKENS = re.compile(r'"(?:\\.|[^"\\\r\n])*"|#[^\r\n]*|[()\[\]]|[\r\n]')


@dataclass(frozen=True)
class Choices:
    """What has been chosen for the variables of a program, and the program with these values written in.

    `values` has a number, flag or text for each variable by name, in the order in which they were met; an option that
    is none of these is there as its text in `Options`. `texts` are those of the program by their paths below one
    folder, `spec.model` and what it imports. A preset and values from outside are written in too: the program is
    elaborated without them.
    """

    variables: tuple[Variable, ...]
    values: dict[str, int | float | bool | str]
    texts: dict[str, str]


def choose_values(source: TextSource, choose: Choose) -> Choices:
    """Elaborate a model and its train block, in both modes, and ask `choose` once for each variable that is reached.

    What is only in an option that is not chosen is not reached. NablacError holds the mistakes that the values lead
    to; ValueError where `choose` answers with no candidate.
    """
    diagnostics = Diagnostics()
    with bounded():
        report_each(diagnostics, unknown_names(source.program))
        defined = choose_model(source.program, source.model)
        search = Search(choose, variable_names(source.program, defined, source.preset, source.hypers))
        elaboration = _elaborate(source, defined, search, diagnostics)
    diagnostics.raise_if_any()
    assert elaboration is not None
    replacements = _replacements(search)
    texts = written_out(
        source.program, {**replacements, **_hyper_values(source, defined, elaboration.hypers, replacements)}
    )
    values = {chosen.variable.name: _value(chosen) for chosen in search.chosen.values()}
    return Choices(tuple(chosen.variable for chosen in search.chosen.values()), values, texts)


def _elaborate(source: TextSource, defined: Defined, search: Search, diagnostics: Diagnostics) -> Elaboration | None:
    """The model as it is trained, and where its modes differ as it is evaluated too."""
    elaboration = None
    for training in (True, False):
        session = Session(
            training=training, float_type=source.dtype, diagnostics=diagnostics, work=Work(), search=search
        )
        elaboration = elaborate_in(session, source.program, defined, source.preset, source.hypers)
        if elaboration is None or not session.asked_training:
            break
    return elaboration


def _value(chosen: Chosen) -> int | float | bool | str:
    match chosen.option:
        case None:
            return chosen.value
        case syntax.Number(value=value) | syntax.Text(value=value) | syntax.Boolean(value=value):
            return value
        case syntax.Unary(operator="-", operand=syntax.Number(value=value)):
            return -value
    assert isinstance(chosen.variable.candidates, Options)
    return chosen.variable.candidates.texts[int(chosen.value)]


# The text with the values written in


def _replacements(search: Search) -> dict[Span, str]:
    """What stands in the place of each range and choice; inside of a chosen option its own are written in."""
    replacements: dict[Span, str] = {}
    for span in sorted(search.chosen, key=lambda span: span.end - span.start):  # the inner ones first
        chosen = search.chosen[span]
        if chosen.option is None:
            replacements[span] = repr(chosen.value)
        else:
            text = replaced(chosen.option.span, replacements)
            replacements[span] = text if _binds_tightly(search, chosen.option, text) else f"({text})"
    return replacements


def _binds_tightly(search: Search, option: syntax.Expression, text: str) -> bool:
    """Whether an option can stand wherever its `choice(...)` did: no operator around it takes a part of it."""
    chosen = search.chosen.get(option.span)
    if chosen is not None:  # the option is a range or choice itself, whose text may be in parentheses already
        return chosen.value >= 0 if chosen.option is None else True
    return isinstance(option, (*_PRIMARY, syntax.Call)) and not _breaks(text)


def _breaks(text: str) -> bool:
    """Whether a text goes on in another line outside of its brackets, as it may inside of those of `choice(...)`."""
    depth = 0
    for token in _TOKENS.findall(text):
        depth += (token in "([") - (token in ")]")
        if token in "\r\n" and not depth:
            return True
    return False


def _hyper_values(
    source: TextSource, defined: Defined, values: Mapping[str, Any], replacements: Mapping[Span, str]
) -> dict[Span, str]:
    """The values that hyperparameters have from a preset or from outside, as the defaults of the text."""
    written: dict[str, syntax.Expression | None] = {}
    for preset in presets_of(defined):
        if preset.name.text == source.preset:
            written |= {setting.name.text: setting.value for setting in preset.settings}
    for name, value in source.hypers.items():
        written[name] = setting_expression(name, value) if isinstance(value, str) else None
    texts: dict[Span, str] = {}
    for hyper in defined.syntax.hypers:
        name = hyper.name.text
        if name in written:
            expression, value = written[name], values[name]
            # The value itself where it can be written: names in its expression may mean something else here.
            text = _literal(value, hyper.span)
            if text is None:
                if expression is None:
                    raise ValueError(f"the value of `{name}` cannot be written into the text: {value}")
                text = replaced(expression.span, replacements)
            end = Span(hyper.span.source, hyper.span.end, hyper.span.end)
            texts |= {hyper.default.span: text} if hyper.default is not None else {end: f" = {text}"}
    return texts


def _literal(value: Any, span: Span) -> str | None:
    """A number, flag, text or list as the language writes it; None of another value."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value) if math.isfinite(value) else None
        case DType():
            return None
        case str():
            return print_text(syntax.Text(value, span))
        case list():
            items = [_literal(item, span) for item in value]
            return None if None in items else f"[{', '.join(item for item in items if item is not None)}]"
    return None
