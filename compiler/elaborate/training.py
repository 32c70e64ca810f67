"""`train` and `optimizer` blocks: what they say is checked here, and runs when the model is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.elaborate import calls
from compiler.elaborate.data import Stage, data_stages
from compiler.elaborate.frame import CallSite, Frame, Silence, State
from compiler.elaborate.parameters import (
    ABOVE_ZERO,
    COUNT,
    FLAG,
    NOT_NEGATIVE,
    PATTERNS,
    PORTION,
    POSITIVE,
    SHARE,
    SHARE_OR_FILE,
    TEXT,
    Kind,
    one_of,
)
from compiler.elaborate.values import UNKNOWN, Instance, Scope, describe
from compiler.elaborate.work import Stop
from compiler.graph import Value
from compiler.operators.source import Input
from compiler.types import TensorType
from grammar import syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.elaborate.elaborator import Elaborator


# States by name, `param` among them, of a parameter and its gradient; True leaves it out of the optimizer's own decay.
# Draws depend on the path of the parameter.
Optimize = Callable[[str, Value, Value, bool], dict[str, State]]
_DECAY = "weight_decay"  # the hyperparameter of an optimizer that decays weights beside the gradient


@dataclass(eq=False)
class TrainingSpec:
    """A checked train block: loss and metrics as values of the model's graph, the rest as settings."""

    span: Span
    step: Value  # the step's number from 1, as schedules see it
    rate: Value  # by which a plateau shrinks what the optimizer does
    optimize: Optimize  # the optimizer's equations
    targets: dict[str, Value] = field(default_factory=dict)
    loss: Value | None = None
    metrics: dict[str, Value] = field(default_factory=dict)
    rising: set[str] = field(default_factory=set)  # metrics that are better the larger they are
    optimizer: Instance | None = None
    data: tuple[Stage, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


SETTINGS: dict[str, Kind] = {
    "epochs": POSITIVE,
    "batch": POSITIVE,
    "accumulate": POSITIVE,
    "patience": POSITIVE,
    "seed": COUNT,
    "validation": SHARE_OR_FILE,
    "test": SHARE_OR_FILE,
    "shuffle": FLAG,
    "clip_norm": ABOVE_ZERO,
    "clip_value": ABOVE_ZERO,
    "weight_decay": NOT_NEGATIVE,
    "l1": NOT_NEGATIVE,
    "l2": NOT_NEGATIVE,
    "undecayed": PATTERNS,
    "plateau": POSITIVE,
    "plateau_factor": PORTION,
    "min_change": NOT_NEGATIVE,
    "monitor": TEXT,
    "mode": one_of("min", "max"),
    "average": SHARE,
    "freeze": PATTERNS,
}
_ONCE = {"loss", "optimizer", "data", *SETTINGS}
_KNOWN = ["metric", *_ONCE]
_RISING = ("accuracy", "r_squared", "similarity")  # in the text of a metric that grows with success
_MEASURED = {"loss", "epoch", "seconds", "learning_rate"}  # what every history has


def elaborate_training(elaborator: Elaborator, train: syntax.Train, model: Frame) -> TrainingSpec:
    """Check a train block in the sight of its model's names."""
    frame = Frame("train", train.model.text, Scope(model.scope), "", dims=dict(model.dims), float_type=model.float_type)
    session = elaborator.session
    step = Input("step", TensorType(session.float_type))()

    def optimize(path: str, parameter: Value, gradient: Value, undecayed: bool) -> dict[str, State]:
        instance = spec.optimizer or _default_optimizer(elaborator, train.model.span)
        if undecayed and _DECAY in instance.hypers:
            instance = Instance(instance.defined, {**instance.hypers, _DECAY: 0.0}, instance.span)
        try:
            return run_optimizer(elaborator, instance, train.span, parameter, gradient, step, path)
        except (Silence, Stop):
            raise NablacError(*session.diagnostics.found) from None

    rate = Input("rate", TensorType(session.float_type))()
    spec = TrainingSpec(train.span, step, rate, optimize)
    frame.scope.names["step"] = step
    session.frames.append(frame)
    session.calls.append(CallSite(train.span, f"the training of {train.model.text}"))
    seen: dict[str, Span] = {}
    try:
        for statement in train.body:
            try:
                if isinstance(statement, syntax.Setting):
                    _setting(elaborator, spec, statement, seen)
                    continue
                if isinstance(statement, syntax.Assign):
                    _no_setting(elaborator, statement, seen)
                elaborator.run([statement])
            except NablacError as error:
                session.report(error)
            except Silence:
                pass
        spec.targets = {
            name: value
            for name, value in frame.scope.names.items()
            if name in frame.declared and isinstance(value, Value)
        }
        if "loss" not in seen:
            session.report(
                elaborator.fault(
                    "E602",
                    f"the training of {train.model.text} has no loss",
                    train.model.span,
                    hint="add one: `loss mse(y, target)`",
                )
            )
    finally:
        session.frames.pop()
        session.calls.pop()
    return spec


def _no_setting(elaborator: Elaborator, assign: syntax.Assign, seen: dict[str, Span]) -> None:
    """`epochs = 5` would be a name that nothing reads."""
    for target in assign.targets:
        if target.text in _KNOWN:
            seen[target.text] = target.span
            raise elaborator.fault(
                "E616",
                f"`{target.text}` is a setting, and a setting has no `=`",
                target.span,
                hint=f"as in `{target.text} {assign.value.span.text}`",
            )


def _setting(elaborator: Elaborator, spec: TrainingSpec, setting: syntax.Setting, seen: dict[str, Span]) -> None:
    name, span = setting.name.text, setting.value.span
    if name not in _KNOWN:
        raise elaborator.fault(
            "E604",
            f"a train block has no setting `{name}`",
            setting.name.span,
            hint=did_you_mean(name, _KNOWN) or f"the settings are {', '.join(sorted(_KNOWN))}",
        )
    if setting.label is not None and name != "metric":
        raise elaborator.fault(
            "E616",
            f"`{name}` takes a value, and no name before it",
            setting.label.span,
            hint=f"as in `{name} {span.text}`; only a metric has a name",
        )
    if name in seen and name in _ONCE:
        raise elaborator.fault(
            "E608", f"`{name}` is set twice", setting.name.span, labels=(Label(seen[name], "first here"),)
        )
    seen[name] = setting.name.span
    if name == "data":
        spec.data = data_stages(elaborator, setting.value)
        return
    value = elaborator.evaluate(setting.value)
    if name == "loss":
        spec.loss = _scalar(elaborator, "the loss", value, span)
    elif name == "metric":
        text, place = _metric_name(setting)
        first = seen.get(f"{name} {text}")
        if first is not None or text in _MEASURED:
            raise elaborator.fault(
                "E608",
                f"two metrics are called `{text}`" if first is not None else f"`{text}` is measured in any case",
                place,
                labels=(Label(first, "first here"),) if first is not None else (),
                hint=f"give this one a name: `metric another = {span.text}`",
            )
        seen[f"{name} {text}"] = place
        spec.metrics[text] = _scalar(elaborator, "a metric", value, span)
        if any(word in f"{text} {span.text}" for word in _RISING):
            spec.rising.add(text)
    elif name == "optimizer":
        if not isinstance(value, Instance) or value.defined.kind != "optimizer":
            raise elaborator.fault(
                "E607",
                f"an optimizer is needed, and this is {describe(value)}",
                span,
                hint="as in `optimizer adam(lr: 1e-3)`",
            )
        check_optimizer(elaborator, value, span)
        spec.optimizer = value
    else:
        kind = SETTINGS[name]
        if not kind.allows(value):
            raise elaborator.fault("E605", f"`{name}` is {kind.words}, and {describe(value)} is given", span)
        spec.settings[name] = value


def _metric_name(setting: syntax.Setting) -> tuple[str, Span]:
    """What a metric is called: its own name, or the function's, or its text."""
    if setting.label is not None:
        return setting.label.text, setting.label.span
    place = setting.value.callee.span if isinstance(setting.value, syntax.Call) else setting.value.span
    return place.text, place


def _scalar(elaborator: Elaborator, what: str, value: Any, span: Span) -> Value:
    tensor = calls.as_tensor(elaborator, value, span, elaborator.session.float_type)
    if tensor.type.rank or not tensor.type.dtype.is_float:
        raise elaborator.fault(
            "E603",
            f"{what} is one float, and this is {tensor.type}",
            span,
            hint="fold it with `mean(...)`" if tensor.type.rank else None,
        )
    return tensor


def check_optimizer(elaborator: Elaborator, instance: Instance, span: Span) -> None:
    """Run an optimizer's equations once on a parameter of a made-up shape: every type must come out right."""
    dtype = elaborator.session.float_type
    type = TensorType(dtype, (7, 5))
    step = Input("step", TensorType(dtype))()
    run_optimizer(elaborator, instance, span, Input("param", type)(), Input("grad", type)(), step)


def _default_optimizer(elaborator: Elaborator, span: Span) -> Instance:
    """What trains where the block names no optimizer: `adam()`."""
    from compiler.elaborate.program import library

    return elaborator.instantiate(library().find("adam"), [], span)


def run_optimizer(
    elaborator: Elaborator,
    instance: Instance,
    span: Span,
    parameter: Value,
    gradient: Value,
    step: Value,
    path: str = "",
) -> dict[str, State]:
    """An optimizer's equations for one parameter: its states by name, `param` among them, with their next values."""
    session = elaborator.session
    dtype = parameter.type.dtype
    scope = Scope(instance.defined.scope, dict(instance.hypers))
    frame = Frame("optimizer", instance.defined.name, scope, path, instance=instance, float_type=dtype)
    scope.names |= {"param": parameter, "grad": gradient, "step": step}
    frame.states["param"] = State("param", parameter, parameter, instance.defined.syntax.name.span)
    frame.declared["param"] = instance.defined.syntax.name.span
    session.frames.append(frame)
    session.calls.append(CallSite(span, f"optimizer {instance.defined.name}"))
    try:
        elaborator.run(instance.defined.syntax.body)
        if any(value is UNKNOWN for value in (*scope.names.values(), *frame.next_values.values())):
            raise Silence  # it has been told, here or at an earlier parameter
        for name, state in frame.states.items():
            if state.next is None or state.next is UNKNOWN:
                what = (
                    "never says what `param'` is" if name == "param" else f"has a state `{name}` without a next value"
                )
                raise elaborator.fault(
                    "E606",
                    f"optimizer {instance.defined.name} {what}",
                    state.span,
                    hint="as in `param' = param - lr * grad`"
                    if name == "param"
                    else f"state its equation: `{name}' = ...`",
                )
        return frame.states
    finally:
        session.frames.pop()
        session.calls.pop()
