"""Values for a model's hyperparameters: from a preset, and from the command line or Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from compiler.elaborate.frame import Frame
from compiler.elaborate.reporting import report_each
from compiler.elaborate.search_ranges import resolve_range
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, Defined, Scope
from compiler.elaborate.work import EXPRESSION
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.source import Source


def parse_settings(texts: Iterable[str]) -> dict[str, str]:
    """The values of `--set name=value` options, unparsed; NablacError for a name that is set twice."""
    settings: dict[str, str] = {}
    for name, value in map(_parse_setting, texts):
        if name in settings:
            message = f"`{name}` is set to both `{settings[name]}` and `{value}`"
            raise NablacError(Diagnostic(codes.E906, message, place="--set", hint="set it once"))
        settings[name] = value
    return settings


def _parse_setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip().isidentifier() or not value.strip():
        raise NablacError(
            Diagnostic(
                codes.E906, f"`{text}` does not set anything", place="--set", hint="write it as `--set units=64`"
            )
        )
    return name.strip(), value.strip()


def presets_of(defined: Defined) -> list[syntax.Preset]:
    """The presets of a model, in order."""
    return [statement for statement in defined.syntax.body if isinstance(statement, syntax.Preset)]


def preset_values(session: Session, defined: Defined, preset: str | None) -> dict[str, Argument]:
    """The values of a preset by name; invalid ones are reported. NablacError if there is no such preset."""
    if preset is None:
        return {}
    presets = {declared.name.text: declared for declared in presets_of(defined)}
    session.charge(len(defined.syntax.body) * EXPRESSION, defined.syntax.name.span)
    if preset not in presets:
        hint = did_you_mean(preset, presets) or _choices(presets, "presets")
        raise NablacError(
            Diagnostic(
                codes.E419, f"model {defined.name} has no preset `{preset}`", defined.syntax.name.span, hint=hint
            )
        )
    names = [hyper.name.text for hyper in defined.syntax.hypers]
    values: dict[str, Argument] = {}
    with session.inside(Frame("fn", defined.name, Scope(defined.scope), "")):
        for setting in presets[preset].settings:
            name = setting.name.text
            if name not in names:
                error = Diagnostic(
                    codes.E402,
                    f"model {defined.name} has no hyperparameter `{name}`",
                    setting.name.span,
                    hint=did_you_mean(name, names),
                )
                report_each(session.diagnostics, [error])
                continue
            try:
                value = resolve_range(session, session.evaluate(setting.value))
                values[name] = Argument(name, value, setting.value.span)
            except NablacError as error:
                session.report(error)
    return values


def _choices(names: Iterable[str], kind: str) -> str:
    listed = ", ".join(names)
    return f"the choices are {listed}" if listed else f"the model has no {kind}"


@lru_cache(maxsize=256)
def setting_expression(name: str, text: str) -> syntax.Expression:
    """The expression in `--set name=text`, parsed once, so that a range in it has one span in all modes."""
    from grammar.parser import parse

    constant = parse(Source(f"--set {name}", f"const {name} = {text}\n")).declarations[0]
    if not isinstance(constant, syntax.Const):
        raise NablacError(Diagnostic(codes.E906, f"`{text}` is not a value", place=f"--set {name}"))
    return constant.value


def outside_values(session: Session, defined: Defined, hypers: Mapping[str, Any]) -> dict[str, Argument]:
    """Hyperparameters from the command line or Python by name; texts are parsed as expressions.

    NablacError for an unknown name or an invalid value.
    """
    names = {hyper.name.text: hyper for hyper in defined.syntax.hypers}
    values: dict[str, Argument] = {}
    for name, value in hypers.items():
        if name not in names:
            hint = did_you_mean(name, names) or _choices(names, "hyperparameters")
            raise NablacError(
                Diagnostic(
                    codes.E402,
                    f"model {defined.name} has no hyperparameter `{name}`",
                    defined.syntax.name.span,
                    hint=hint,
                )
            )
        span = names[name].span
        if isinstance(value, str):
            expression = setting_expression(name, value)
            with session.inside(Frame("fn", defined.name, defined.scope, "")):
                value, span = session.evaluate(expression), expression.span
        values[name] = Argument(name, resolve_range(session, value), span)
    return values
