"""From a `.model` text to a graph: load, check, elaborate."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from compiler.elaborate.arguments import check_arguments
from compiler.elaborate.frame import CallSite, Frame
from compiler.elaborate.instances import instantiate
from compiler.elaborate.names import unknown_names
from compiler.elaborate.placement import misplaced_statements
from compiler.elaborate.program import Program, load, program_of
from compiler.elaborate.search import default_of_range
from compiler.elaborate.session import Session
from compiler.elaborate.signals import AlreadyReported, BudgetExceeded
from compiler.elaborate.training import TrainingSpec, check_optimizer, elaborate_training
from compiler.elaborate.values import UNKNOWN, Argument, Defined, Scope
from compiler.elaborate.work import EXPRESSION, OUTPUT, Work
from compiler.graph import Graph, Value
from compiler.types import DType
from grammar import syntax
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError, did_you_mean
from grammar.source import Source

__all__ = ["Elaborated", "Program", "check", "elaborate", "elaborate_model", "load", "parse_settings", "program_of"]

_DEEP = 20_000  # Python frames: expressions nest as deep as the grammar allows, calls as deep as MOST_CALLS


@dataclass(frozen=True, eq=False)
class Elaborated:
    """A model's graph, and what its train block says if it has one."""

    graph: Graph
    hypers: dict[str, Any]
    training: TrainingSpec | None


def elaborate(
    program: Program,
    *,
    model: str | None = None,
    preset: str | None = None,
    hypers: Mapping[str, Any] | None = None,
    training: bool = False,
    dtype: DType = DType.F32,
) -> Graph:
    """The graph of a program's model; NablacError holds every mistake found.

    `hypers` are values by name; a text is read as the language reads it (`"64"`, `"[3, 3]"`, `"relu"`).
    """
    return elaborate_model(program, model=model, preset=preset, hypers=hypers, training=training, dtype=dtype).graph


def elaborate_model(
    program: Program,
    *,
    model: str | None = None,
    preset: str | None = None,
    hypers: Mapping[str, Any] | None = None,
    training: bool = False,
    dtype: DType = DType.F32,
    one_float: bool = False,
) -> Elaborated:
    """As `elaborate`, with the hyperparameters in force and the checked train block.

    With `one_float` all floats are of `dtype`, those too that the text has in another one.
    """
    diagnostics = Diagnostics()
    elaborated = None
    with _bounded():
        _report(diagnostics, unknown_names(program))
        _report(diagnostics, misplaced_statements(program.tree))
        defined = _chosen(program, model)
        session = Session(
            training=training, float_type=dtype, diagnostics=diagnostics, work=Work(), one_float=one_float
        )
        elaborated = _model(program, defined, preset, hypers or {}, session)
        session.work = Work()  # for the optimizer's equations of each parameter, when a step is made
    diagnostics.raise_if_any()
    assert elaborated is not None
    return elaborated


def check(program: Program, *, hypers: Mapping[str, Any] | None = None) -> None:
    """Check everything in a file: every model in both modes, its train block, and every optimizer."""
    diagnostics, work = Diagnostics(), Work()
    models = {defined.name for defined in program.models}
    with _bounded():
        _report(diagnostics, unknown_names(program))
        _report(diagnostics, misplaced_statements(program.tree))
        for train in program.trains:
            if train.model.text not in models:
                hint = did_you_mean(train.model.text, models)
                message = f"there is no model `{train.model.text}` to train"
                _report(diagnostics, [Diagnostic("E601", message, train.model.span, hint=hint)])
        for defined in program.models:
            session = _session(False, diagnostics, work)
            elaborated = _model(program, defined, None, hypers or {}, session)
            sound = elaborated is not None
            if session.asked_training:
                session = _session(True, diagnostics, work)
                elaborated = _model(program, defined, None, hypers or {}, session)
            if elaborated is not None and elaborated.training is not None and not diagnostics.found:
                _check_step(elaborated, session)
            for preset in _presets(defined):
                if sound:
                    _check_preset(program, defined, preset, hypers or {}, diagnostics, work)
                else:  # its sizes would only repeat what is wrong
                    _preset_values(_session(False, diagnostics, work), defined, preset.name.text, diagnostics)
        for defined in program.definitions.values():
            if defined.kind == "optimizer":
                _optimizer(defined, _session(True, diagnostics, work))
        check_arguments(program, _session(False, diagnostics, work))
    diagnostics.raise_if_any()


def _check_step(elaborated: Elaborated, session: Session) -> None:
    """What training a model would refuse: a loss without a gradient, patterns of no parameter."""
    from compiler.training import training_step

    session.work = Work()  # as `train` has it
    try:
        training_step(elaborated)
    except NablacError as error:
        session.report(error)


def parse_settings(texts: Iterable[str]) -> dict[str, str]:
    """The `name=value`s of `--set` options, each name once; the values are read where the model's names are known."""
    found: dict[str, str] = {}
    for name, value in map(_parse_setting, texts):
        if name in found:
            message = f"`{name}` is set to `{found[name]}` and to `{value}`"
            raise NablacError(Diagnostic("E906", message, place="--set", hint="set it once"))
        found[name] = value
    return found


def _parse_setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip().isidentifier() or not value.strip():
        raise NablacError(
            Diagnostic("E906", f"`{text}` does not set anything", place="--set", hint="write it as `--set units=64`")
        )
    return name.strip(), value.strip()


def _chosen(program: Program, model: str | None) -> Defined:
    models = {defined.name: defined for defined in program.models}
    if model is not None:
        if model not in models:
            raise NablacError(
                Diagnostic(
                    "E420",
                    f"there is no model `{model}` in {program.source.name}",
                    place=program.source.name,
                    hint=did_you_mean(model, models) or (f"it has {', '.join(models)}" if models else None),
                )
            )
        return models[model]
    if not models:
        raise NablacError(
            Diagnostic(
                "E420",
                f"{program.source.name} holds no model",
                place=program.source.name,
                hint="a model is declared with `model Name(...) { input ...; output ... }`",
            )
        )
    if len(models) > 1:
        trained = [train.model.text for train in program.trains if train.model.text in models]
        if len(set(trained)) == 1:
            return models[trained[0]]
        raise NablacError(
            Diagnostic(
                "E420",
                f"{program.source.name} holds {len(models)} models: {', '.join(models)}",
                place=program.source.name,
                hint=f"choose one: `--model {next(iter(models))}`",
            )
        )
    return next(iter(models.values()))


def _report(diagnostics: Diagnostics, found: Iterable[Diagnostic]) -> None:
    """Keep the diagnostics, as they are made; raises BudgetExceeded where there are as many as are told."""
    for each in found:
        diagnostics.add(each)
        if diagnostics.full:
            raise BudgetExceeded


def _session(training: bool, diagnostics: Diagnostics, work: Work) -> Session:
    return Session(training=training, float_type=DType.F32, diagnostics=diagnostics, work=work)


def _model(
    program: Program,
    defined: Defined,
    preset: str | None,
    hypers: Mapping[str, Any],
    session: Session,
) -> Elaborated | None:
    diagnostics = session.diagnostics
    span = defined.syntax.name.span
    before = len(diagnostics.found)
    try:
        given = _preset_values(session, defined, preset, diagnostics) | _settings(session, defined, hypers)
        with session.inside(Frame("fn", defined.name, defined.scope, "")):
            instance = instantiate(session, defined, list(given.values()), span)
    except NablacError as error:
        session.report(error)
        return None
    except AlreadyReported:
        return None
    scope = Scope(defined.scope, dict(instance.hypers))
    frame = Frame("model", defined.name, scope, "")
    with session.inside(frame, CallSite(span, f"model {defined.name}")):
        session.run(defined.syntax.body)
        outputs = _named_outputs(session, frame, defined)
    # What the train block adds belongs to training alone: an update there may depend on targets.
    updates, layers, key = dict(session.updates), dict(session.layers), session.key
    session.charge(len(program.trains) * EXPRESSION, span)
    train = next((each for each in program.trains if each.model.text == defined.name), None)
    with session.inside(frame):
        spec = elaborate_training(session, train, frame) if train is not None else None
    if key is not None and train is None and "seed" in frame.inputs:
        note = "the draws of this model have this input"
        place = frame.declared["seed"]
        session.report(NablacError(Diagnostic("E212", "`seed` is a name of the language", place, note)))
    if len(diagnostics.found) > before or outputs is None:
        return None
    inputs = dict(frame.inputs)  # not from the scope, where a name may have been bound again: `x = x -> Dense(4)`
    if key is not None:
        inputs["seed"] = key
    graph = Graph(inputs, outputs, updates, defined.name, defined.syntax.doc, layers)
    return Elaborated(graph, instance.hypers, spec)


def _named_outputs(session: Session, frame: Frame, defined: Defined) -> dict[str, Value] | None:
    """A model's outputs by name; what has none is called `output`, or by its number."""
    if not frame.outputs:
        session.report(
            session.fault(
                "E408",
                f"model {defined.name} has no `output`",
                defined.syntax.name.span,
                hint="end it with `output ...`",
            )
        )
        return None
    session.charge(OUTPUT * len(frame.outputs), defined.syntax.name.span)
    named: dict[str, Value] = {}
    unnamed = sum(name is None for name, _, _ in frame.outputs)
    for place, (name, value, span) in enumerate(frame.outputs):
        if value is UNKNOWN:
            return None
        name = name or ("output" if unnamed == 1 else f"output_{place}")
        if name in frame.inputs:
            label = Label(frame.declared[name], "the input")
            hint = "name it otherwise: `output other = ...`"
            session.report(
                session.fault("E418", f"an input is called `{name}` already", span, labels=(label,), hint=hint)
            )
            return None
        if name in named:
            session.report(
                session.fault("E418", f"two outputs are called `{name}`", span, hint="name one: `output other = ...`")
            )
            return None
        if not isinstance(value, Value):
            session.report(session.fault("E421", f"the output `{name}` is no tensor", span))
            return None
        named[name] = value
    return named


def _presets(defined: Defined) -> list[syntax.Preset]:
    return [statement for statement in defined.syntax.body if isinstance(statement, syntax.Preset)]


def _check_preset(
    program: Program,
    defined: Defined,
    preset: syntax.Preset,
    hypers: Mapping[str, Any],
    diagnostics: Diagnostics,
    work: Work,
) -> None:
    """A model with the sizes of a preset; what is wrong with them is told with the preset's place."""
    found, stopped = Diagnostics(), False
    try:
        _model(program, defined, preset.name.text, hypers, _session(False, found, work))
    except BudgetExceeded:
        stopped = True
    settings = {setting.value.span for setting in preset.settings} | {setting.name.span for setting in preset.settings}
    label = Label(preset.name.span, "with this preset")
    told = {each.span for each in diagnostics.found}
    new = [each for each in found.found if each.span not in told]
    _report(
        diagnostics, (each if each.span in settings else replace(each, labels=(*each.labels, label)) for each in new)
    )
    if stopped:
        raise BudgetExceeded


def _preset_values(
    session: Session, defined: Defined, preset: str | None, diagnostics: Diagnostics
) -> dict[str, Argument]:
    if preset is None:
        return {}
    presets = {each.name.text: each for each in _presets(defined)}
    session.charge(len(defined.syntax.body) * EXPRESSION, defined.syntax.name.span)
    if preset not in presets:
        hint = did_you_mean(preset, presets) or (f"it has {', '.join(presets)}" if presets else "it has none")
        raise NablacError(
            Diagnostic("E419", f"model {defined.name} has no preset `{preset}`", defined.syntax.name.span, hint=hint)
        )
    names = [hyper.name.text for hyper in defined.syntax.hypers]
    found: dict[str, Argument] = {}
    with session.inside(Frame("fn", defined.name, Scope(defined.scope), "")):
        for setting in presets[preset].settings:
            name = setting.name.text
            if name not in names:
                error = Diagnostic(
                    "E402",
                    f"model {defined.name} has no hyperparameter `{name}`",
                    setting.name.span,
                    hint=did_you_mean(name, names),
                )
                _report(diagnostics, [error])
                continue
            try:
                value = default_of_range(session, session.evaluate(setting.value), setting.value.span)
                found[name] = Argument(name, value, setting.value.span)
            except NablacError as error:
                session.report(error)
    return found


def _settings(session: Session, defined: Defined, hypers: Mapping[str, Any]) -> dict[str, Argument]:
    """Hyperparameters from outside; a text is an expression of the language."""
    from grammar.parser import parse

    names = {hyper.name.text: hyper for hyper in defined.syntax.hypers}
    found: dict[str, Argument] = {}
    for name, value in hypers.items():
        if name not in names:
            hint = did_you_mean(name, names) or (f"it has {', '.join(names)}" if names else "it has none")
            raise NablacError(
                Diagnostic(
                    "E402", f"model {defined.name} has no hyperparameter `{name}`", defined.syntax.name.span, hint=hint
                )
            )
        span = names[name].span
        if isinstance(value, str):
            source = Source(f"--set {name}", f"const {name} = {value}\n")
            constant = parse(source).declarations[0]
            if not isinstance(constant, syntax.Const):
                raise NablacError(Diagnostic("E906", f"`{value}` is not a value", place=f"--set {name}"))
            with session.inside(Frame("fn", defined.name, defined.scope, "")):
                value, span = session.evaluate(constant.value), constant.value.span
        found[name] = Argument(name, default_of_range(session, value, span), span)
    return found


def _optimizer(defined: Defined, session: Session) -> None:
    """An optimizer that no train block uses, with numbers for what has no default."""
    hypers = {hyper.name.text: 0.1 for hyper in defined.syntax.hypers if hyper.default is None}
    span = defined.syntax.name.span
    try:
        with session.inside(Frame("fn", defined.name, defined.scope, "")):
            given = [Argument(name, value, span) for name, value in hypers.items()]
            check_optimizer(session, instantiate(session, defined, given, span), span)
    except NablacError as error:
        session.report(error)
    except AlreadyReported:
        pass


@contextmanager
def _bounded() -> Iterator[None]:
    """What is elaborated inside has the stack that it needs, and ends where there has been enough of it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEP))
    try:
        yield
    except BudgetExceeded:
        pass
    finally:
        sys.setrecursionlimit(limit)
