"""Check everything in a file: every model in both modes, its presets, its train block, and every optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from compiler.elaborate.argument_checks import check_arguments
from compiler.elaborate.frame import Frame
from compiler.elaborate.instances import instantiate
from compiler.elaborate.interruptions import AlreadyReported, BudgetExceeded
from compiler.elaborate.models import Elaboration, elaborate_in, spec_of
from compiler.elaborate.optimizers import check_optimizer
from compiler.elaborate.option_checks import OptionChecks, search_of
from compiler.elaborate.placement import misplaced_statements
from compiler.elaborate.presets import preset_values, presets_of
from compiler.elaborate.program import Program
from compiler.elaborate.reporting import bounded, report_each
from compiler.elaborate.session import Session
from compiler.elaborate.unknown_names import unknown_names
from compiler.elaborate.values import Argument, Defined
from compiler.elaborate.work import Work
from compiler.search_space import Search
from compiler.types import DType
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError, did_you_mean


def check(program: Program, *, hypers: Mapping[str, Any] | None = None) -> list[Elaboration]:
    """Check everything in a file; NablacError holds every error in it. Returns its models, elaborated."""
    diagnostics, work, options = Diagnostics(), Work(), OptionChecks(program)
    with bounded():
        report_each(diagnostics, unknown_names(program))
        report_each(diagnostics, misplaced_statements(program.tree))
        report_each(diagnostics, _trains_of_no_model(program))
        elaborated = [
            _check_model(program, defined, hypers or {}, diagnostics, work, options) for defined in program.models
        ]
        for defined in program.definitions.values():
            if defined.kind == "optimizer":
                _check_unused_optimizer(defined, _session(True, diagnostics, work))
        check_arguments(program, _session(False, diagnostics, work))
    diagnostics.raise_if_any()
    return [elaboration for elaboration in elaborated if elaboration is not None]


def _trains_of_no_model(program: Program) -> Iterator[Diagnostic]:
    models = {defined.name for defined in program.models}
    for train in program.trains:
        if train.model.text not in models:
            hint = did_you_mean(train.model.text, models)
            yield Diagnostic(
                codes.E601, f"there is no model `{train.model.text}` to train", train.model.span, hint=hint
            )


def _check_model(
    program: Program,
    defined: Defined,
    hypers: Mapping[str, Any],
    diagnostics: Diagnostics,
    work: Work,
    options: OptionChecks,
) -> Elaboration | None:
    """Check a model in both modes, its training step, its options, and its presets; returns its last elaboration."""
    search = search_of({})
    session = _session(False, diagnostics, work, search)
    elaboration = elaborate_in(session, program, defined, None, hypers)
    valid = elaboration is not None
    if session.reads_training:
        session = _session(True, diagnostics, work, search)
        elaboration = elaborate_in(session, program, defined, None, hypers)
    if elaboration is not None and elaboration.block is not None and not diagnostics.reported:
        _check_step(elaboration)
    if valid:
        options.run(search, defined, None, hypers, diagnostics)
    for preset in presets_of(defined):
        if valid:
            _check_preset(program, defined, preset, hypers, diagnostics, work, options)
        else:  # elaborating it would only repeat the errors
            preset_values(_session(False, diagnostics, work), defined, preset.name.text)
    return elaboration


def _check_step(elaboration: Elaboration) -> None:
    """Report the errors of building the training step: a loss without a gradient, patterns without a match."""
    from compiler.training.step import check_training_step  # here: most files have no train block

    session = elaboration.session
    session.work = Work()  # as in `train`
    try:
        check_training_step(spec_of(elaboration))
    except NablacError as error:
        session.report(error)


def _check_preset(
    program: Program,
    defined: Defined,
    preset: syntax.Preset,
    hypers: Mapping[str, Any],
    diagnostics: Diagnostics,
    work: Work,
    options: OptionChecks,
) -> None:
    """Check a model with the values of a preset; its errors get a label at the preset."""
    own, stopped, search = Diagnostics(), False, search_of({})
    try:
        if elaborate_in(_session(False, own, work, search), program, defined, preset.name.text, hypers) is not None:
            options.run(search, defined, preset.name.text, hypers, own)
    except BudgetExceeded:
        stopped = True
    settings = {setting.value.span for setting in preset.settings} | {setting.name.span for setting in preset.settings}
    label = Label(preset.name.span, "with this preset")
    reported = {diagnostic.span for diagnostic in diagnostics.reported}
    for diagnostic in own.reported:
        if diagnostic.span not in reported:
            at_preset = diagnostic.span in settings
            labelled = diagnostic if at_preset else replace(diagnostic, labels=(*diagnostic.labels, label))
            report_each(diagnostics, [labelled])
    if stopped:
        raise BudgetExceeded


def _check_unused_optimizer(defined: Defined, session: Session) -> None:
    """Check an optimizer that no train block uses, with 0.1 for hyperparameters without a default."""
    hypers = {hyper.name.text: 0.1 for hyper in defined.syntax.hypers if hyper.default is None}
    span = defined.syntax.name.span
    arguments = [Argument(name, value, span) for name, value in hypers.items()]
    try:
        with session.inside(Frame("fn", defined.name, defined.scope, "")):
            check_optimizer(session, instantiate(session, defined, arguments, span), span)
    except NablacError as error:
        session.report(error)
    except AlreadyReported:
        pass


def _session(training: bool, diagnostics: Diagnostics, work: Work, search: Search | None = None) -> Session:
    return Session(training=training, float_type=DType.F32, diagnostics=diagnostics, work=work, search=search)
