"""`train` blocks: their declarations and settings, elaborated with the names of their model in scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler.elaborate.data_checks import check_scaled_columns
from compiler.elaborate.frame import CallSite, Frame
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.optimizers import optimizer_spec
from compiler.elaborate.session import Session
from compiler.elaborate.train_settings import Statements, check_settings, read_setting, refuse_assignment
from compiler.elaborate.values import Scope
from compiler.graph import Value
from compiler.model_spec import TrainingSpec
from compiler.operators.leaves import Input
from compiler.origins import Layer
from compiler.types import TensorType
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError
from grammar.record import Record
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form


STEP_INPUTS = {  # inputs of the step besides the batch, whose names no input and no target may have
    "step": "the number of the step, from 1",
    "seed": "the random draws of a training step read an input of this name",
    "rate": "a `plateau` makes it an input of the training step",
}


class TrainBlock(Record):
    """A train block that has been run: its settings, and what it adds to its model."""

    syntax: syntax.Train
    statements: Statements
    step: Value
    targets: Mapping[str, Value]
    updates: Mapping[str, Value]
    layers: Mapping[str, Layer]
    spreads: tuple[tuple[Value, Value, Form], ...]


def run_train_block(session: Session, train: syntax.Train, model: Frame) -> TrainBlock:
    """Run the statements of a train block and report its errors; the innermost frame must be its model's."""
    frame = Frame("train", train.model.text, Scope(model.scope), "", dims=dict(model.dims), float_type=model.float_type)
    # The block continues the numbering of the model, so that its layers have other paths, and its draws other numbers.
    frame.taken, frame.draws = model.taken, model.draws
    statements = Statements()
    step = Input("step", TensorType(session.float_type.wide))()  # f16 counts up to 2,048, bf16 up to 256
    frame.scope.names["step"] = step
    known = [value for value in model.scope.names.values() if isinstance(value, Value)]
    with session.inside(frame, CallSite(train.span, f"the train block of {train.model.text}")):
        for name in model.inputs:
            if name in STEP_INPUTS:
                session.report(_reserved(session, name, model.declared[name]))
        for statement in train.body:
            try:
                _run(session, statement, statements, model, known)
            except NablacError as error:
                session.report(error)
            except AlreadyReported:
                pass
        targets = dict(frame.inputs)  # not from the scope, where a name may have been bound again
        updates, layers = dict(session.updates), dict(session.layers)
        check_settings(session, statements)
        check_scaled_columns(session, statements.data, {*model.inputs, *targets})
        if "loss" not in statements.set_at:
            message = f"the train block of {train.model.text} has no loss"
            hint = "add one: `loss mse(y, target)`"
            session.report(session.fault(codes.E602, message, train.model.span, hint=hint))
    return TrainBlock(train, statements, step, targets, updates, layers, tuple(session.spreads))


def training_spec(session: Session, block: TrainBlock) -> TrainingSpec:
    """How a block without mistakes trains its model; the optimizer's equations are elaborated when first read."""
    statements = block.statements
    assert statements.loss is not None
    settings = statements.settings
    optimizer = optimizer_spec(session, statements.optimizer, block.syntax.span, statements.loss, settings, block.step)
    return TrainingSpec(
        statements.loss,
        optimizer,
        block.step,
        block.targets,
        statements.metrics,
        statements.best,
        block.spreads,
        statements.data,
        settings,
        block.updates,
        block.layers,
        block.syntax.span,
        statements.over_epoch,
    )


def _run(
    session: Session, statement: syntax.Statement, statements: Statements, model: Frame, known: list[Value]
) -> None:
    if isinstance(statement, syntax.Setting):
        read_setting(session, statements, statement, known)
        return
    if isinstance(statement, syntax.Declare):
        _check_targets(session, statement, model)
    if isinstance(statement, syntax.Assign):
        refuse_assignment(session, statements, statement)
    session.run([statement])


def _reserved(session: Session, name: str, span: Span) -> NablacError:
    return session.fault(
        codes.E212, f"`{name}` is a reserved name in a model that is trained", span, note=STEP_INPUTS[name],
        hint="choose another name",
    )  # fmt: skip


def _check_targets(session: Session, declare: syntax.Declare, model: Frame) -> None:
    """NablacError for a target with a name of the model, which it would hide from the loss."""
    for declared in declare.names:
        name, span = declared.name.text, declared.name.span
        if name in STEP_INPUTS:  # it is declared nevertheless, so that its uses are not reported too
            session.report(_reserved(session, name, span))
        if name in model.declared or model.scope.names.get(name) is not None:
            first = model.declared.get(name)
            what = "an input" if name in model.inputs else "a name"
            raise session.fault(
                codes.E202,
                f"`{name}` is {what} of model {model.name} and cannot also be a target",
                span,
                labels=(Label(first, "declared here"),) if first is not None else (),
                hint="rename the target",
            )
