"""The settings of a train block: their kinds, and how each is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from compiler.byte_sizes import bytes_of
from compiler.elaborate.crossing import refuse_crossing
from compiler.elaborate.data import data_stages
from compiler.elaborate.data_checks import check_stages
from compiler.elaborate.operands import as_tensor
from compiler.elaborate.optimizers import check_optimizer
from compiler.elaborate.program import library
from compiler.elaborate.search_ranges import mismatch_at, resolve_choices, resolve_range
from compiler.elaborate.session import Session
from compiler.elaborate.value_kinds import (
    ABOVE_ZERO,
    BYTES,
    COUNT,
    FLAG,
    FRACTION,
    FRACTION_OR_FILE,
    NOT_NEGATIVE,
    PATTERNS,
    PORTION,
    POSITIVE,
    RATES,
    TEXT,
    Kind,
    is_rate,
    one_of,
)
from compiler.elaborate.values import CompileTimeValue, Defined, Instance, describe
from compiler.graph import Value
from compiler.model_spec import PRECISIONS, DataStage, Direction, TrainingSettings, metric_of
from grammar import codes, syntax
from grammar.diagnostics import Label, did_you_mean
from grammar.source import Span

SETTINGS: dict[str, Kind] = {
    "epochs": POSITIVE,
    "batch": POSITIVE,
    "accumulate": POSITIVE,
    "patience": POSITIVE,
    "seed": COUNT,
    "validation": FRACTION_OR_FILE,
    "test": FRACTION_OR_FILE,
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
    "average": FRACTION,
    "freeze": PATTERNS,
    "only": PATTERNS,
    "rates": RATES,
    "fresh": PATTERNS,
    "memory_budget": BYTES,
    "precision": one_of(*PRECISIONS),
}
_ONCE = {"loss", "optimizer", "data", *SETTINGS}
_KNOWN = ["metric", *_ONCE]
_PATTERNS = ("undecayed", "freeze", "only", "fresh")  # settings that are one text or a list of them
_SIZES = ("memory_budget",)  # settings that are numbers of bytes
_DIRECTIONS: dict[Direction, str] = {"max": "larger_is_better", "min": "smaller_is_better"}  # constants of the library
_MEASURED = {"loss", "epoch", "seconds", "learning_rate"}  # recorded in every history


@dataclass(eq=False)
class Statements:
    """The settings of a train block that have been read so far, and their spans."""

    loss: Value | None = None
    metrics: dict[str, Value] = field(default_factory=dict)
    best: dict[str, Direction] = field(default_factory=dict)  # of metrics whose direction the library knows
    optimizer: Instance | None = None
    data: tuple[DataStage, ...] = ()
    plain: dict[str, Any] = field(default_factory=dict)  # the other settings by name
    set_at: dict[str, Span] = field(default_factory=dict)
    named_at: dict[str, Span] = field(default_factory=dict)  # metrics
    over_epoch: dict[str, Span] = field(default_factory=dict)  # of the metrics `over epoch`, their values

    @property
    def settings(self) -> TrainingSettings:
        """The settings that are numbers, texts and flags, with defaults for the others."""
        texts = {name: self.plain[name] for name in _PATTERNS if name in self.plain}
        patterns = {name: (text,) if isinstance(text, str) else tuple(text) for name, text in texts.items()}
        sizes = {name: bytes_of(self.plain[name]) for name in _SIZES if name in self.plain}
        rates = self.plain.get("rates", [])
        pairs = tuple((pattern, float(factor)) for pattern, factor in ([rates] if is_rate(rates) else rates))
        return TrainingSettings(**{**self.plain, **patterns, **sizes, "rates": pairs})


def read_setting(session: Session, statements: Statements, setting: syntax.Setting, known: list[Value]) -> None:
    """Evaluate a setting; NablacError if it is unknown, set twice, or not of its kind.

    `known` are the values of the model's names (see `refuse_crossing`).
    """
    name = setting.name.text
    _check_name(session, statements, setting)
    statements.set_at[name] = setting.name.span
    if setting.over_epoch is not None and name != "metric":
        hint = "only a metric can: training takes its loss batch by batch" if name == "loss" else "only a metric can"
        message = f"`{name}` cannot be computed over an epoch"
        raise session.fault(codes.E619, message, setting.over_epoch, hint=hint)
    if name == "data":
        statements.data = data_stages(session, setting.value)
        check_stages(session, statements.data)
        return
    expression = resolve_choices(session, setting.value)
    value, span = resolve_range(session, session.evaluate(expression)), expression.span
    if name == "loss":
        statements.loss = _scalar(session, "the loss", value, span)
        refuse_crossing(session, statements.loss, known, span)
    elif name == "metric":
        _add_metric(session, statements, setting, value, known)
    elif name == "optimizer":
        statements.optimizer = _optimizer(session, value, span)
    else:
        kind = SETTINGS[name]
        mismatch = mismatch_at(session, kind.allows, value, span)
        if mismatch is not None:
            message = f"`{name}` must be {kind.words}, got {mismatch.actual}"
            raise session.fault(codes.E605, message, span, hint=mismatch.hint)
        statements.plain[name] = value


def refuse_assignment(session: Session, statements: Statements, assign: syntax.Assign) -> None:
    """NablacError for `epochs = 5`, which would only define an unused name."""
    for target in assign.targets:
        if target.text in _KNOWN:
            statements.set_at[target.text] = target.span
            raise session.fault(
                codes.E616,
                f"`{target.text}` is a setting, which takes no `=`",
                target.span,
                hint=f"as in `{target.text} {assign.value.span.text}`",
            )


def check_settings(session: Session, statements: Statements) -> None:
    """Report settings that contradict each other."""
    _check_mode(session, statements)
    _check_shares(session, statements)
    _check_rates(session, statements)


def _check_name(session: Session, statements: Statements, setting: syntax.Setting) -> None:
    name = setting.name.text
    if name not in _KNOWN:
        raise session.fault(
            codes.E604,
            f"a train block has no setting `{name}`",
            setting.name.span,
            hint=did_you_mean(name, _KNOWN) or f"the settings are {', '.join(sorted(_KNOWN))}",
        )
    if setting.label is not None and name != "metric":
        raise session.fault(
            codes.E616,
            f"`{name}` takes a value without a name",
            setting.label.span,
            hint=f"as in `{name} {setting.value.span.text}`; only a metric has a name",
        )
    first = statements.set_at.get(name)
    if first is not None and name in _ONCE:
        labels = (Label(first, "first here"),)
        raise session.fault(codes.E608, f"`{name}` is set twice", setting.name.span, labels=labels)


def _add_metric(
    session: Session, statements: Statements, setting: syntax.Setting, value: CompileTimeValue, known: list[Value]
) -> None:
    name, named_at = _metric_name(session, setting)
    _check_metric_name(session, statements, setting, name, named_at)
    statements.named_at[name] = named_at
    if setting.over_epoch is not None:
        statements.over_epoch[name] = setting.value.span
    statements.metrics[name] = _scalar(session, "a metric", value, setting.value.span)
    refuse_crossing(session, statements.metrics[name], known, setting.value.span)
    direction = _direction(session, setting.value)
    if direction is not None:
        statements.best[name] = direction


def _check_metric_name(
    session: Session, statements: Statements, setting: syntax.Setting, name: str, named_at: Span
) -> None:
    """NablacError if a metric has the name of another measurement, on training or validation data."""
    text, first = setting.value.span.text, statements.named_at.get(name)
    if first is not None or name in _MEASURED:
        raise session.fault(
            codes.E608,
            f"two metrics are named `{name}`" if first is not None else f"`{name}` is always measured",
            named_at,
            labels=(Label(first, "first here"),) if first is not None else (),
            hint=f"give this one a name: `metric another = {text}`",
        )
    reserved = ("loss", *statements.metrics)
    other = next((known for known in reserved if name == f"val_{known}" or known == f"val_{name}"), None)
    if other is not None:
        shorter, longer = sorted((name, other), key=len)
        raise session.fault(
            codes.E608,
            f"`{longer}` is the name of `{shorter}` on the validation data",
            named_at,
            hint=f"give this one another name: `metric another = {text}`",
        )


def _metric_name(session: Session, setting: syntax.Setting) -> tuple[str, Span]:
    """The name of a metric: the given one, or that of its function, or its text."""
    if setting.label is not None:
        return setting.label.text, setting.label.span
    value = resolve_choices(session, setting.value)
    named_at = resolve_choices(session, value.callee).span if isinstance(value, syntax.Call) else value.span
    return named_at.text, named_at


def _optimizer(session: Session, value: CompileTimeValue, span: Span) -> Instance:
    if not isinstance(value, Instance) or value.defined.kind != "optimizer":
        raise session.fault(
            codes.E607,
            f"expected an optimizer, got {describe(value)}",
            span,
            hint="as in `optimizer adam(lr: 1e-3)`",
        )
    check_optimizer(session, value, span)
    return value


def _scalar(session: Session, what: str, value: CompileTimeValue, span: Span) -> Value:
    tensor = as_tensor(session, value, span, session.float_type)
    if tensor.type.rank or not tensor.type.dtype.is_float:
        raise session.fault(
            codes.E603,
            f"{what} must be a single float, got {tensor.type}",
            span,
            hint="reduce it with `mean(...)`" if tensor.type.rank else None,
        )
    return tensor


def _direction(session: Session, metric: syntax.Expression) -> Direction | None:
    """Whether higher or lower values of a metric are better; None if it is not a function that the library lists."""
    metric = resolve_choices(session, metric)
    applied = resolve_choices(session, metric.stage) if isinstance(metric, syntax.Pipe) else metric
    callee = resolve_choices(session, applied.callee) if isinstance(applied, syntax.Call) else applied
    if not isinstance(callee, syntax.Name):
        return None
    function = session.evaluate(callee)
    if not isinstance(function, Defined):
        return None
    direction = _known_directions().get(function.name)
    return direction if direction is not None and library().find(function.name) is function else None


@cache
def _known_directions() -> dict[str, Direction]:
    return {name: direction for direction, const in _DIRECTIONS.items() for name in library().names_listed(const)}


def _check_mode(session: Session, statements: Statements) -> None:
    """Report a `monitor` that is not measured, and a `mode` that is missing or contradicts it."""
    monitor, mode = statements.plain.get("monitor", "loss"), statements.plain.get("mode")
    metric = metric_of(monitor, statements.metrics)
    if metric is None and monitor not in ("loss", "val_loss"):
        names = [f"{part}{name}" for part in ("", "val_") for name in ("loss", *statements.metrics)]
        hint = did_you_mean(monitor, names) or f"the choices are {', '.join(names)}"
        message = f"the `monitor` {monitor} is not measured"
        session.report(session.fault(codes.E615, message, statements.set_at["monitor"], hint=hint))
    if metric is not None and metric not in statements.best and mode is None:
        session.report(
            session.fault(
                codes.E617,
                f"it is not known whether higher or lower values of `{metric}` are better",
                statements.set_at["monitor"],
                hint='add `mode "max"` if higher is better, `mode "min"` if lower is better',
            )
        )
    if metric is None and mode == "max":
        session.report(
            session.fault(
                codes.E617,
                'training minimizes the loss: `mode` cannot be "max"',
                statements.set_at["mode"],
                hint='`mode` belongs to a metric that is the `monitor`, as in `monitor "val_accuracy"`',
            )
        )


def _check_shares(session: Session, statements: Statements) -> None:
    """Report a `split` that sets the same part of the data as a setting."""
    for stage in statements.data:
        for name in ("validation", "test"):
            if stage.name == "split" and stage.arguments[name] is not None and name in statements.set_at:
                message = f"`{name}` is set twice: here, and by itself"
                labels = (Label(statements.set_at[name], "first here"),)
                session.report(session.fault(codes.E608, message, stage.span, labels=labels))


def _check_rates(session: Session, statements: Statements) -> None:
    """Report `rates` where the optimizer has no learning rate."""
    optimizer = statements.optimizer
    if "rates" in statements.plain and optimizer is not None and "lr" not in optimizer.hypers:
        message = f"optimizer {optimizer.defined.name} has no `lr`, of which `rates` are factors"
        hint = "call its learning rate `lr`"
        session.report(session.fault(codes.E620, message, statements.set_at["rates"], hint=hint))
