"""Choosing values for the ranges and choices of a program, and writing them into its text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compiler.elaborate.model_choice import choose_model
from compiler.elaborate.models import Elaboration, TextSource, elaborate_in
from compiler.elaborate.presets import presets_of, setting_expression
from compiler.elaborate.program_texts import collect_texts, replace_spans
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
    """Values for the search variables of a program, and its texts with these values written in.

    `values` are numbers, flags and texts by name, in the order in which the variables were met; other options are
    represented by their texts in `Options`. `texts` are by path below one folder: `spec.model` and its imports. The
    values of a preset and of `hypers` are written in as well, so that the texts need neither.
    """

    variables: tuple[Variable, ...]
    values: dict[str, int | float | bool | str]
    texts: dict[str, str]


def choose_values(source: TextSource, choose: Choose) -> Choices:
    """Elaborate a model and its train block in both modes, and call `choose` once for each variable that is reached.

    Variables inside options that are not chosen are not reached. NablacError holds the errors that the values lead to;
    ValueError if `choose` returns a value that is not a candidate.
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
    texts = collect_texts(
        source.program, {**replacements, **_hyper_values(source, defined, elaboration.hypers, replacements)}
    )
    values = {chosen.variable.name: _value(chosen) for chosen in search.chosen.values()}
    return Choices(tuple(chosen.variable for chosen in search.chosen.values()), values, texts)


def _elaborate(source: TextSource, defined: Defined, search: Search, diagnostics: Diagnostics) -> Elaboration | None:
    """Elaborate the model for training, and for inference if the modes differ."""
    elaboration = None
    for training in (True, False):
        session = Session(
            training=training, float_type=source.dtype, diagnostics=diagnostics, work=Work(), search=search
        )
        elaboration = elaborate_in(session, source.program, defined, source.preset, source.hypers)
        if elaboration is None or not session.reads_training:
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


# Writing the values into the text


def _replacements(search: Search) -> dict[Span, str]:
    """The text that replaces each range and choice, with replacements inside chosen options applied."""
    replacements: dict[Span, str] = {}
    for span in sorted(search.chosen, key=lambda span: span.end - span.start):  # the inner ones first
        chosen = search.chosen[span]
        if chosen.option is None:
            replacements[span] = repr(chosen.value)
        else:
            text = replace_spans(chosen.option.span, replacements)
            replacements[span] = text if _binds_tightly(search, chosen.option, text) else f"({text})"
    return replacements


def _binds_tightly(search: Search, option: syntax.Expression, text: str) -> bool:
    """Whether an option needs no parentheses in place of its `choice(...)`, whatever operators are around it."""
    chosen = search.chosen.get(option.span)
    if chosen is not None:  # the option is a range or choice itself, whose text may be in parentheses already
        return chosen.value >= 0 if chosen.option is None else True
    return isinstance(option, (*_PRIMARY, syntax.Call)) and not _breaks(text)


def _breaks(text: str) -> bool:
    """Whether a text has a line break outside of its brackets, where it is allowed only inside other brackets."""
    depth = 0
    for token in _TOKENS.findall(text):
        depth += (token in "([") - (token in ")]")
        if token in "\r\n" and not depth:
            return True
    return False


def _hyper_values(
    source: TextSource, defined: Defined, values: Mapping[str, Any], replacements: Mapping[Span, str]
) -> dict[Span, str]:
    """The values of hyperparameters from a preset or from `hypers`, as replacements of the defaults in the text."""
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
            # The value itself if it is a literal: names in its expression may mean something else here.
            text = _literal(value, hyper.span)
            if text is None:
                if expression is None:
                    raise ValueError(f"the value of `{name}` cannot be written into the text: {value}")
                text = replace_spans(expression.span, replacements)
            end = Span(hyper.span.source, hyper.span.end, hyper.span.end)
            texts |= {hyper.default.span: text} if hyper.default is not None else {end: f" = {text}"}
    return texts


def _literal(value: Any, span: Span) -> str | None:
    """A number, flag, text or list as a literal of the language; None for other values."""
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
