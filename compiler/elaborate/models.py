"""Elaborating a model of a program: its hyperparameters, its body and outputs, and its train block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.elaborate.frame import CallSite, Frame
from compiler.elaborate.instances import instantiate
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.model_choice import choose_model
from compiler.elaborate.placement import misplaced_statements
from compiler.elaborate.presets import outside_values, preset_values
from compiler.elaborate.program import Program
from compiler.elaborate.reporting import bounded, report_each
from compiler.elaborate.session import Session
from compiler.elaborate.train_blocks import TrainBlock, run_train_block, training_spec
from compiler.elaborate.unknown_names import unknown_names
from compiler.elaborate.values import UNKNOWN, Defined, Scope
from compiler.elaborate.work import EXPRESSION, OUTPUT, Work
from compiler.graph import Graph, Value
from compiler.model_spec import WEIGHTS, ModelSpec
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError
from grammar.record import Record


@dataclass(frozen=True, eq=False)
class TextSource:
    """A model of a program: which one, with which hyperparameters, and in which float type.

    `hypers` are values by name; a text is read as the language reads it (`"64"`, `"[3, 3]"`, `"relu"`). With
    `one_float` all floats are of `dtype`, even where the program writes another float type.
    """

    program: Program
    model: str | None = None
    preset: str | None = None
    hypers: Mapping[str, Any] = field(default_factory=dict)
    dtype: DType = DType.F32
    one_float: bool = False

    def spec(self, *, training: bool) -> ModelSpec:
        """The model elaborated for training or for inference; NablacError holds every error in it."""
        diagnostics = Diagnostics()
        spec = None
        with bounded():
            report_each(diagnostics, unknown_names(self.program))
            report_each(diagnostics, misplaced_statements(self.program.tree))
            defined = choose_model(self.program, self.model)
            session = Session(
                training=training,
                float_type=self.dtype,
                diagnostics=diagnostics,
                work=Work(),
                one_float=self.one_float,
            )
            elaboration = elaborate_in(session, self.program, defined, self.preset, self.hypers)
            spec = spec_of(elaboration) if elaboration is not None else None
        diagnostics.raise_if_any()
        assert spec is not None
        return spec


class Elaboration(Record):
    """A model without errors, and the session that elaborated it."""

    session: Session
    graph: Graph
    hypers: Mapping[str, Any]
    block: TrainBlock | None


def elaborate_in(
    session: Session, program: Program, defined: Defined, preset: str | None, hypers: Mapping[str, Any]
) -> Elaboration | None:
    """Elaborate a model and its train block; None if errors were reported."""
    diagnostics = session.diagnostics
    span = defined.syntax.name.span
    before = len(diagnostics.reported)
    try:
        arguments = preset_values(session, defined, preset) | outside_values(session, defined, hypers)
        with session.inside(Frame("fn", defined.name, defined.scope, "")):
            instance = instantiate(session, defined, list(arguments.values()), span)
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
    # The graph excludes what the train block adds: its updates may depend on targets.
    updates, layers, key = dict(session.updates), dict(session.layers), session.key
    session.charge(len(program.trains) * EXPRESSION, span)
    train = next((train for train in program.trains if train.model.text == defined.name), None)
    with session.inside(frame):
        block = run_train_block(session, train, frame) if train is not None else None
    if key is not None and train is None and "seed" in frame.inputs:
        note = "the random draws of this model read an input of this name"
        session.report(NablacError(Diagnostic(codes.E212, "`seed` is a reserved name", frame.declared["seed"], note)))
    if len(diagnostics.reported) > before or outputs is None:
        return None
    inputs = dict(frame.inputs)  # not from the scope, where `x = x -> Dense(4)` may have rebound a name
    graph = Graph(inputs, outputs, updates, defined.name, defined.syntax.doc, layers)
    if key is not None and key.node in set(graph):  # draws whose results are not used need no seed
        graph = Graph({**inputs, "seed": key}, outputs, updates, defined.name, defined.syntax.doc, layers)
    return Elaboration(session, graph, instance.hypers, block)


def spec_of(elaboration: Elaboration) -> ModelSpec:
    """The spec of a model; its optimizer's equations are elaborated when they are first read."""
    block = elaboration.block
    training = training_spec(elaboration.session, block) if block is not None else None
    mode = elaboration.session.mode
    spec = ModelSpec(elaboration.graph, elaboration.hypers, training, mode)
    if training is None or not any(stage.name == WEIGHTS for stage in training.data):
        return spec
    from compiler.training.weighting import with_example_weights

    return with_example_weights(spec)


def _named_outputs(session: Session, frame: Frame, defined: Defined) -> dict[str, Value] | None:
    """A model's outputs by name; one without a name is `output`, several are numbered."""
    if not frame.outputs:
        session.report(
            session.fault(
                codes.E408,
                f"model {defined.name} has no `output`",
                defined.syntax.name.span,
                hint="end it with `output ...`",
            )
        )
        return None
    session.charge(OUTPUT * len(frame.outputs), defined.syntax.name.span)
    named: dict[str, Value] = {}
    unnamed = sum(name is None for name, _, _ in frame.outputs)
    for number, (name, value, span) in enumerate(frame.outputs):
        if value is UNKNOWN:
            return None
        name = name or ("output" if unnamed == 1 else f"output_{number}")
        if name in frame.inputs:
            label = Label(frame.declared[name], "the input")
            hint = "rename it: `output other = ...`"
            session.report(
                session.fault(codes.E418, f"`{name}` is already the name of an input", span, labels=(label,), hint=hint)
            )
            return None
        if name in named:
            session.report(
                session.fault(
                    codes.E418, f"two outputs are named `{name}`", span, hint="rename one of them: `output other = ...`"
                )
            )
            return None
        if not isinstance(value, Value):
            session.report(session.fault(codes.E421, f"the output `{name}` is not a tensor", span))
            return None
        named[name] = value
    return named
