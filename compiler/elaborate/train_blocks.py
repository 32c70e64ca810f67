"""`train` blocks: what they declare and say, checked in the sight of their model's names."""

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
from compiler.graph import Layer, Value
from compiler.model_spec import TrainingSpec
from compiler.operators.source import Input
from compiler.types import TensorType
from grammar import codes, syntax
from grammar.diagnostics import Label, NablacError
from grammar.record import Record
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form


_FED = {  # beside the batch: an input or a target of such a name would not be told apart
    "step": "the number of the step, from 1",
    "seed": "the random draws of a training step read an input of this name",
    "rate": "a `plateau` makes it an input of the training step",
}


class TrainBlock(Record):
    """A train block that has been run: what it says, and what it has added to its model."""

    syntax: syntax.Train
    statements: Statements
    step: Value
    targets: Mapping[str, Value]
    updates: Mapping[str, Value]
    layers: Mapping[str, Layer]
    spreads: tuple[tuple[Value, Value, Form], ...]


def run_train_block(session: Session, train: syntax.Train, model: Frame) -> TrainBlock:
    """Run the statements of a train block whose model's frame is the innermost; what is wrong with them is reported."""
    frame = Frame("train", train.model.text, Scope(model.scope), "", dims=dict(model.dims), float_type=model.float_type)
    # The block goes on where the model ended: its layers have paths, and its draws numbers, that the model's have not.
    frame.taken, frame.draws = model.taken, model.draws
    statements = Statements()
    step = Input("step", TensorType(session.float_type.wide))()  # f16 counts up to 2,048, bf16 up to 256
    frame.scope.names["step"] = step
    known = [value for value in model.scope.names.values() if isinstance(value, Value)]
    with session.inside(frame, CallSite(train.span, f"the train block of {train.model.text}")):
        for name in model.inputs:
            if name in _FED:
                session.report(_fed(session, name, model.declared[name]))
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
    """How a block without mistakes trains its model, with the optimizer's equations for each type of parameter."""
    said = block.statements
    assert said.loss is not None
    settings = said.settings
    optimizer = optimizer_spec(session, said.optimizer, block.syntax.span, said.loss, settings, block.step)
    return TrainingSpec(
        said.loss,
        optimizer,
        block.step,
        block.targets,
        said.metrics,
        said.best,
        block.spreads,
        said.data,
        settings,
        block.updates,
        block.layers,
        block.syntax.span,
        said.over_epoch,
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


def _fed(session: Session, name: str, span: Span) -> NablacError:
    return session.fault(
        codes.E212, f"`{name}` is a reserved name in a model that is trained", span, note=_FED[name],
        hint="choose another name",
    )  # fmt: skip


def _check_targets(session: Session, declare: syntax.Declare, model: Frame) -> None:
    """A target that is called as something of the model would hide it from the loss."""
    for declared in declare.names:
        name, span = declared.name.text, declared.name.span
        if name in _FED:  # declared all the same: what reads it is no mistake of its own
            session.report(_fed(session, name, span))
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
