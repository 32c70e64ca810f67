"""The data of a train block: a source piped through stages, each with its parameters.

The tables have names, kinds and defaults; `runtime.data` implements them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compiler.elaborate.binding import bind_names, evaluate_arguments
from compiler.elaborate.data_checks import check_stages
from compiler.elaborate.session import Session
from compiler.elaborate.value_kinds import (
    CHANNELS,
    CHARACTER,
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    TEXT,
    TEXTS,
    TWO_INDICES,
    Kind,
    one_of,
)
from compiler.elaborate.values import describe
from compiler.model_spec import DataStage
from grammar import codes, syntax
from grammar.diagnostics import Label, did_you_mean
from grammar.record import Record
from grammar.source import Span

REQUIRED = object()


class Parameter(Record):
    """A parameter of a source or stage."""

    kind: Kind
    default: Any = REQUIRED


class Rule(Record):
    """A condition on several arguments of one stage; `words` describe it in messages."""

    words: str
    holds: Callable[[dict[str, Any]], bool]
    hint: str | None = None


_FILE = Parameter(TEXT)
SOURCES: dict[str, dict[str, Parameter]] = {
    "arrays": {},
    "csv": {
        "path": _FILE,
        "separator": Parameter(CHARACTER, ","),
        "decimal": Parameter(one_of(".", ","), "."),
        "header": Parameter(FLAG, None),
    },
    "parquet": {"path": _FILE},
    "npz": {"path": _FILE},
    "digits": {
        "path": _FILE,
        "labels": Parameter(TEXT, ""),
        "scale": Parameter(NOT_NEGATIVE, 0.0),
        "label": Parameter(one_of("first", "last"), ""),
    },
    "images": {"path": _FILE, "size": Parameter(COUNT, 0), "channels": Parameter(CHANNELS, 3)},
    "text": {"path": _FILE},
    "pairs": {"path": Parameter(TEXTS), "separator": Parameter(TEXT, "\t"), "columns": Parameter(TWO_INDICES, [])},
}
STAGES: dict[str, dict[str, Parameter]] = {
    "columns": {"inputs": Parameter(TEXTS), "targets": Parameter(TEXTS, [])},
    "window": {
        "columns": Parameter(TEXTS),
        "length": Parameter(POSITIVE),
        "horizon": Parameter(POSITIVE, 1),
        "shift": Parameter(COUNT, 0),
        "target": Parameter(TEXTS, []),
        "stride": Parameter(POSITIVE, 1),
    },
    "standardize": {"columns": Parameter(TEXTS, [])},
    "min_max": {"low": Parameter(NUMBER, 0.0), "high": Parameter(NUMBER, 1.0), "columns": Parameter(TEXTS, [])},
    "split": {
        "validation": Parameter(FRACTION, None),
        "test": Parameter(FRACTION, None),
        "order": Parameter(one_of("time", "random"), ""),
    },
    "augment": {
        "flip": Parameter(FLAG, False),
        "crop": Parameter(COUNT, 0),
        "rotate": Parameter(NOT_NEGATIVE, 0.0),
        "shift": Parameter(COUNT, 0),
        "noise": Parameter(NOT_NEGATIVE, 0.0),
        "cutout": Parameter(COUNT, 0),
        "mixup": Parameter(NOT_NEGATIVE, 0.0),
        "jitter": Parameter(NOT_NEGATIVE, 0.0),
        "scaling": Parameter(NOT_NEGATIVE, 0.0),
        "warp": Parameter(NOT_NEGATIVE, 0.0),
    },
    "characters": {"length": Parameter(POSITIVE), "stride": Parameter(COUNT, 0)},
    "words": {"length": Parameter(POSITIVE), "most": Parameter(POSITIVE, 20000), "stride": Parameter(COUNT, 0)},
    "tokens": {
        "length": Parameter(POSITIVE, 64),
        "kind": Parameter(TEXT, "words"),
        "most": Parameter(POSITIVE, 8000),
        "hide": Parameter(FRACTION, 0.0),
        "target": Parameter(one_of("text", "class", "number"), "text"),
    },
}
ON_EXAMPLES = ("standardize", "min_max", "split", "augment")  # stages that change examples; the others create them
RULES = {
    "csv": Rule(
        "`separator` must differ from a quote, a line break and `decimal`",
        lambda arguments: arguments["separator"] not in ('"', "\r", "\n", arguments["decimal"]),
        'where numbers have a decimal comma, cells are mostly separated by `;`: add `separator: ";"`',
    ),
    "columns": Rule(
        "no column may be named twice in `inputs` or in `targets`",
        lambda arguments: all(
            isinstance(names, str) or len(set(names)) == len(names)
            for names in (arguments["inputs"], arguments["targets"])
        ),
    ),
    "min_max": Rule("`low` must be below `high`", lambda arguments: arguments["low"] < arguments["high"]),
    "split": Rule(
        "the fractions must add up to less than 1",
        lambda arguments: (arguments["validation"] or 0) + (arguments["test"] or 0) < 1,
    ),
}


def data_stages(session: Session, expression: syntax.Expression) -> tuple[DataStage, ...]:
    """The source and stages of a data description; all arguments must be known at compile time."""
    stages: list[syntax.Expression] = []
    while isinstance(expression, syntax.Pipe):
        stages.append(expression.stage)
        expression = expression.value
    stages.append(expression)
    source, *following = (_stage(session, stage, index == 0) for index, stage in enumerate(reversed(stages)))
    _check_repeated(session, following)
    maker = next((stage for stage in following if stage.name not in ON_EXAMPLES), None)
    if source.name == "arrays" and maker is not None:
        raise session.fault(
            codes.E609,
            f"`{maker.name}` makes examples of a table or a text, but arrays are examples already",
            maker.span,
            hint=f"the stages of `arrays()` are {', '.join(ON_EXAMPLES)}",
        )
    check_stages(session, (source, *following))
    return source, *following


SCALES = ("standardize", "min_max")


def _check_repeated(session: Session, stages: Sequence[DataStage]) -> None:
    """NablacError for a stage that would override an earlier one, such as a second scaling of a column."""
    first: dict[tuple[str, str], Span] = {}
    for stage in stages:
        kind, parts, is_set = stage.name, [f"`{stage.name}`"], "appears"
        if stage.name in SCALES:
            kind, columns = "scaling", stage.arguments["columns"]
            parts = [f"`{name}`" for name in ([columns] if isinstance(columns, str) else columns)] or ["every column"]
            is_set = "is scaled"
        elif stage.name == "augment":
            parts = [f"`{name}` of `augment`" for name, value in stage.arguments.items() if value]
            is_set = "is set"
        for part in parts:
            if (kind, part) in first:
                message = f"{part} {is_set} twice; one of the two would have no effect"
                labels = (Label(first[kind, part], "first here"),)
                raise session.fault(codes.E608, message, stage.span, labels=labels)
            first[kind, part] = stage.span


def _stage(session: Session, stage: syntax.Expression, first: bool) -> DataStage:
    known = SOURCES if first else STAGES
    what = "a data source" if first else "a data stage"
    if not isinstance(stage, syntax.Call) or not isinstance(stage.callee, syntax.Name):
        raise session.fault(codes.E609, f"expected {what}", stage.span, hint=f"as in `{next(iter(known))}(...)`")
    name = stage.callee.text
    if name not in known:
        raise session.fault(
            codes.E609,
            f"`{name}` is not {what}",
            stage.callee.span,
            hint=did_you_mean(name, known) or f"there are {', '.join(known)}",
        )
    parameters = known[name]
    arguments = evaluate_arguments(session, stage.arguments)
    bound = bind_names(session, name, list(parameters), arguments, stage.span, None)
    for key, argument in bound.items():
        kind = parameters[key].kind
        if not kind.allows(argument.value):
            message = f"`{key}` of `{name}` must be {kind.words}, got {describe(argument.value)}"
            raise session.fault(codes.E605, message, argument.span)
    missing = next(
        (key for key, parameter in parameters.items() if parameter.default is REQUIRED and key not in bound), None
    )
    if missing is not None:
        raise session.fault(
            codes.E401, f"{name} needs `{missing}`", stage.span, hint=f"as in `{name}({', '.join(parameters)})`"
        )
    values = {key: bound[key].value if key in bound else parameter.default for key, parameter in parameters.items()}
    rule = RULES.get(name)
    if rule is not None and not rule.holds(values):
        raise session.fault(codes.E605, f"`{name}`: {rule.words}", stage.span, hint=rule.hint)
    return DataStage(name, values, stage.span)
