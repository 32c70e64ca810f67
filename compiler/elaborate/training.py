"""`train` and `optimizer` blocks: what they say is checked here, and runs when the model is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.elaborate.crossing import refuse_crossing
from compiler.elaborate.data import Stage, data_stages
from compiler.elaborate.expressions import evaluate_const
from compiler.elaborate.frame import CallSite, Frame, State
from compiler.elaborate.instances import instantiate
from compiler.elaborate.operands import as_tensor, converted
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
from compiler.elaborate.program import library
from compiler.elaborate.session import Session
from compiler.elaborate.signals import AlreadyReported, BudgetExceeded
from compiler.elaborate.values import UNKNOWN, CompileTimeValue, Defined, Instance, Lazy, Scope, describe
from compiler.graph import Layer, Value, origin
from compiler.operators.source import Input
from compiler.types import TensorType
from grammar import syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form


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
    best: dict[str, str] = field(default_factory=dict)  # of metrics of which it is known: "max" or "min"
    spreads: tuple[tuple[Value, Value, Form], ...] = ()  # what a loss says of its operands beside data (see `spread`)
    optimizer: Instance | None = None
    data: tuple[Stage, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    updates: dict[str, Value] = field(default_factory=dict)  # next values of buffers, of the model and of the block
    layers: dict[str, Layer] = field(default_factory=dict)  # of the model and of the block

    def metric_of(self, monitor: str) -> str | None:
        """The metric that a `monitor` names, on training or validation data; None where it is the loss, or nothing."""
        return next((name for name in (monitor, monitor.removeprefix("val_")) if name in self.metrics), None)


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
_DIRECTIONS = {"max": "larger_is_better", "min": "smaller_is_better"}  # lists of the library
_FED = {  # beside the batch: an input or a target of such a name would not be told apart
    "step": "it is the number of the step, from 1",
    "seed": "the draws of a step have this input",
    "rate": "a `plateau` makes it an input of the step",
}
_MEASURED = {"loss", "epoch", "seconds", "learning_rate"}  # what every history has


def elaborate_training(session: Session, train: syntax.Train, model: Frame) -> TrainingSpec:
    """Check a train block in the sight of its model's names."""
    frame = Frame("train", train.model.text, Scope(model.scope), "", dims=dict(model.dims), float_type=model.float_type)
    # The block goes on where the model ended: its layers have paths, and its draws numbers, that the model's have not.
    frame.taken, frame.draws = model.taken, model.draws
    step = Input("step", TensorType(session.float_type.wide))()  # f16 counts up to 2,048, bf16 up to 256

    def optimize(path: str, parameter: Value, gradient: Value, undecayed: bool) -> dict[str, State]:
        instance = spec.optimizer or _default_optimizer(session, train.model.span)
        if undecayed and _DECAY in instance.hypers:
            instance = Instance(instance.defined, {**instance.hypers, _DECAY: 0.0}, instance.span)
        try:
            return run_optimizer(session, instance, train.span, parameter, gradient, step, path)
        except (AlreadyReported, BudgetExceeded):
            raise NablacError(*session.diagnostics.found) from None

    rate = Input("rate", TensorType(session.float_type.wide))()
    spec = TrainingSpec(train.span, step, rate, optimize)
    frame.scope.names["step"] = step
    seen: dict[str, Span] = {}
    known = [value for value in model.scope.names.values() if isinstance(value, Value)]
    with session.inside(frame, CallSite(train.span, f"the training of {train.model.text}")):
        for name in model.inputs:
            if name in _FED:
                session.report(_fed(session, name, model.declared[name]))
        for statement in train.body:
            try:
                if isinstance(statement, syntax.Declare):
                    _check_targets(session, statement, model)
                if isinstance(statement, syntax.Setting):
                    _setting(session, spec, statement, seen, known)
                    continue
                if isinstance(statement, syntax.Assign):
                    _no_setting(session, statement, seen)
                session.run([statement])
            except NablacError as error:
                session.report(error)
            except AlreadyReported:
                pass
        spec.targets = dict(frame.inputs)  # not from the scope, where a name may have been bound again
        spec.updates, spec.layers = dict(session.updates), dict(session.layers)
        _check_mode(session, spec, seen)
        _check_shares(session, spec, seen)
        if "loss" not in seen:
            session.report(
                session.fault(
                    "E602",
                    f"the training of {train.model.text} has no loss",
                    train.model.span,
                    hint="add one: `loss mse(y, target)`",
                )
            )
    spec.spreads = tuple(session.spreads)
    return spec


def _fed(session: Session, name: str, span: Span) -> NablacError:
    return session.fault(
        "E212", f"`{name}` is a name of the language where a model is trained", span, note=_FED[name],
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
                "E202",
                f"`{name}` is {what} of model {model.name}, and cannot be a target too",
                span,
                labels=(Label(first, "there"),) if first is not None else (),
                hint="call the target otherwise",
            )


def _check_mode(session: Session, spec: TrainingSpec, seen: dict[str, Span]) -> None:
    """Which epoch is the best has to be known, and not to be guessed."""
    monitor, mode = spec.settings.get("monitor", "loss"), spec.settings.get("mode")
    metric = spec.metric_of(monitor)
    if metric is not None and metric not in spec.best and mode is None:
        session.report(
            session.fault(
                "E617",
                f"whether `{metric}` is better the larger or the smaller it is, nothing says",
                seen["monitor"],
                hint='`mode "max"` says that the largest is best, `mode "min"` the smallest',
            )
        )
    if metric is None and mode == "max":
        session.report(
            session.fault(
                "E617",
                "training makes the loss smaller, and its largest is not the best",
                seen["mode"],
                hint='`mode` says what is best of a metric that is the `monitor`, as `monitor "val_accuracy"`',
            )
        )


def _check_shares(session: Session, spec: TrainingSpec, seen: dict[str, Span]) -> None:
    """A `split` would take the place of a setting of the same part."""
    for stage in spec.data:
        for name in ("validation", "test"):
            if stage.name == "split" and stage.arguments[name] is not None and name in seen:
                message = f"`{name}` is set twice: here, and by itself"
                labels = (Label(seen[name], "first here"),)
                session.report(session.fault("E608", message, stage.span, labels=labels))


def _direction(session: Session, metric: syntax.Expression) -> str | None:
    """Whether the largest or the smallest of a metric is best, where it is a function of which the library says so."""
    applied = metric.stage if isinstance(metric, syntax.Pipe) else metric
    callee = applied.callee if isinstance(applied, syntax.Call) else applied
    if not isinstance(callee, syntax.Name):
        return None
    function = session.evaluate(callee)
    for direction, name in _DIRECTIONS.items():
        listed = library().find(name)
        listed = evaluate_const(session, listed) if isinstance(listed, Lazy) else listed
        if isinstance(listed, list) and any(each is function for each in listed):
            return direction
    return None


def _no_setting(session: Session, assign: syntax.Assign, seen: dict[str, Span]) -> None:
    """`epochs = 5` would be a name that nothing reads."""
    for target in assign.targets:
        if target.text in _KNOWN:
            seen[target.text] = target.span
            raise session.fault(
                "E616",
                f"`{target.text}` is a setting, and a setting has no `=`",
                target.span,
                hint=f"as in `{target.text} {assign.value.span.text}`",
            )


def _setting(
    session: Session, spec: TrainingSpec, setting: syntax.Setting, seen: dict[str, Span], known: list[Value]
) -> None:
    name, span = setting.name.text, setting.value.span
    if name not in _KNOWN:
        raise session.fault(
            "E604",
            f"a train block has no setting `{name}`",
            setting.name.span,
            hint=did_you_mean(name, _KNOWN) or f"the settings are {', '.join(sorted(_KNOWN))}",
        )
    if setting.label is not None and name != "metric":
        raise session.fault(
            "E616",
            f"`{name}` takes a value, and no name before it",
            setting.label.span,
            hint=f"as in `{name} {span.text}`; only a metric has a name",
        )
    if name in seen and name in _ONCE:
        raise session.fault(
            "E608", f"`{name}` is set twice", setting.name.span, labels=(Label(seen[name], "first here"),)
        )
    seen[name] = setting.name.span
    if name == "data":
        spec.data = data_stages(session, setting.value)
        return
    value = session.evaluate(setting.value)
    if name == "loss":
        spec.loss = _scalar(session, "the loss", value, span)
        refuse_crossing(session, spec.loss, known, span)
    elif name == "metric":
        text, place = _metric_name(setting)
        first = seen.get(f"{name} {text}")
        if first is not None or text in _MEASURED:
            raise session.fault(
                "E608",
                f"two metrics are called `{text}`" if first is not None else f"`{text}` is measured in any case",
                place,
                labels=(Label(first, "first here"),) if first is not None else (),
                hint=f"give this one a name: `metric another = {span.text}`",
            )
        other = next((each for each in ("loss", *spec.metrics) if text == f"val_{each}" or each == f"val_{text}"), None)
        if other is not None:
            shorter, longer = sorted((text, other), key=len)
            raise session.fault(
                "E608",
                f"`{longer}` is what `{shorter}` is called on the validation data",
                place,
                hint=f"give this one another name: `metric another = {span.text}`",
            )
        seen[f"{name} {text}"] = place
        spec.metrics[text] = _scalar(session, "a metric", value, span)
        refuse_crossing(session, spec.metrics[text], known, span)
        direction = _direction(session, setting.value)
        if direction is not None:
            spec.best[text] = direction
    elif name == "optimizer":
        if not isinstance(value, Instance) or value.defined.kind != "optimizer":
            raise session.fault(
                "E607",
                f"an optimizer is needed, and this is {describe(value)}",
                span,
                hint="as in `optimizer adam(lr: 1e-3)`",
            )
        check_optimizer(session, value, span)
        spec.optimizer = value
    else:
        kind = SETTINGS[name]
        if not kind.allows(value):
            raise session.fault("E605", f"`{name}` is {kind.words}, and {describe(value)} is given", span)
        spec.settings[name] = value


def _metric_name(setting: syntax.Setting) -> tuple[str, Span]:
    """What a metric is called: its own name, or the function's, or its text."""
    if setting.label is not None:
        return setting.label.text, setting.label.span
    place = setting.value.callee.span if isinstance(setting.value, syntax.Call) else setting.value.span
    return place.text, place


def _scalar(session: Session, what: str, value: CompileTimeValue, span: Span) -> Value:
    tensor = as_tensor(session, value, span, session.float_type)
    if tensor.type.rank or not tensor.type.dtype.is_float:
        raise session.fault(
            "E603",
            f"{what} is one float, and this is {tensor.type}",
            span,
            hint="fold it with `mean(...)`" if tensor.type.rank else None,
        )
    return tensor


def check_optimizer(session: Session, instance: Instance, span: Span) -> None:
    """Run an optimizer's equations once on a parameter of a made-up shape: every type must come out right."""
    dtype = session.float_type.wide
    type = TensorType(dtype, (7, 5))
    step = Input("step", TensorType(dtype))()
    run_optimizer(session, instance, span, Input("param", type)(), Input("grad", type)(), step)


def _default_optimizer(session: Session, span: Span) -> Instance:
    """What trains where the block names no optimizer: `adam()`."""

    adam = library().find("adam")
    assert isinstance(adam, Defined)
    return instantiate(session, adam, [], span)


def run_optimizer(
    session: Session,
    instance: Instance,
    span: Span,
    parameter: Value,
    gradient: Value,
    step: Value,
    path: str = "",
) -> dict[str, State]:
    """An optimizer's equations for one parameter: its states by name, `param` among them, with their next values."""
    dtype = parameter.type.dtype
    # A rate that is a tensor, of numbers of the model's type, works on parameters in what these are updated in.
    with origin(span, path):
        hypers = {
            name: converted(value, value.type.dtype.wide) if isinstance(value, Value) else value
            for name, value in instance.hypers.items()
        }
    scope = Scope(instance.defined.scope, hypers)
    frame = Frame("optimizer", instance.defined.name, scope, path, instance=instance, float_type=dtype)
    scope.names |= {"param": parameter, "grad": gradient, "step": step}
    frame.states["param"] = State("param", parameter, parameter, instance.defined.syntax.name.span)
    frame.declared["param"] = instance.defined.syntax.name.span
    with session.inside(frame, CallSite(span, f"optimizer {instance.defined.name}")):
        session.run(instance.defined.syntax.body)
        if any(value is UNKNOWN for value in (*scope.names.values(), *frame.next_values.values())):
            raise AlreadyReported  # it has been told, here or at an earlier parameter
        for name, state in frame.states.items():
            if state.next is None or state.next is UNKNOWN:
                what = (
                    "never says what `param'` is" if name == "param" else f"has a state `{name}` without a next value"
                )
                raise session.fault(
                    "E606",
                    f"optimizer {instance.defined.name} {what}",
                    state.span,
                    hint="as in `param' = param - lr * grad`"
                    if name == "param"
                    else f"state its equation: `{name}' = ...`",
                )
        return frame.states
