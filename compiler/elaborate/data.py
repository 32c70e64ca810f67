"""The data of a train block: a source piped through stages, each with its parameters.

The tables have names, kinds and defaults; `runtime.data` implements them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compiler.elaborate.binding import bind_names, evaluate_arguments
from compiler.elaborate.search_ranges import mismatch_at, resolve_argument_ranges, resolve_choices
from compiler.elaborate.session import Session
from compiler.elaborate.value_kinds import (
    CHANNELS,
    CHARACTER,
    CLASS_WEIGHTS,
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    POSITIVES,
    STEP,
    TEXT,
    TEXTS,
    THOUSAND_SIGN,
    TWO_COLUMNS,
    Kind,
    one_of,
    some_of,
)
from compiler.elaborate.values import NONE
from compiler.model_spec import DataStage
from grammar import codes, syntax
from grammar.diagnostics import Label, did_you_mean
from grammar.file_kinds import ENCODINGS
from grammar.record import Record
from grammar.source import Span

REQUIRED = object()
ROWS, EXAMPLES, A_TEXT, PAIRS = "rows of a table", "examples", "a text", "pairs of texts"  # kinds of data, in messages


class Parameter(Record):
    """A parameter of a source or stage."""

    kind: Kind
    default: Any = REQUIRED


class Rule(Record):
    """A condition on several arguments of one stage; `words` describe it in messages."""

    words: str
    holds: Callable[[dict[str, Any]], bool]
    hint: str | None = None


class Declared(Record):
    """A source or stage: its parameters by name, and what else is known of it."""

    parameters: Mapping[str, Parameter]
    rules: tuple[Rule, ...] = ()
    takes: tuple[str, ...] = ()  # the kinds of data that a stage takes; any, if there are none
    returns: str = EXAMPLES  # the kind of data that a source returns, or a stage that takes one
    on_examples: bool = False  # a stage that changes examples; the others create them
    scales: bool = False
    keeps_rows: bool = False  # whether a stage that makes examples of texts leaves the rows of a table to later stages


def _are_distinct(names: Any) -> bool:
    return not isinstance(names, list) or len(set(names)) == len(names)


def listed_names(value: Any) -> list[str]:
    """The names in an argument that is one or several."""
    return [str(name) for name in value] if isinstance(value, list) else [str(value)]


def _known_are_inputs(arguments: dict[str, Any]) -> bool:
    known, target, columns = (listed_names(arguments[name]) for name in ("known", "target", "columns"))
    predicted = target or columns
    return len(set(known)) == len(known) and not set(known) & set(predicted)


def lags_of(columns: str | list[str], steps: int | list[int]) -> dict[str, tuple[str, int]]:
    """The columns that `lag` adds: of which column, and how many rows before."""
    counts = steps if isinstance(steps, list) else [steps]
    return {f"{name}_lag{step}": (name, step) for name in listed_names(columns) for step in counts}


_FILE = Parameter(TEXT)
CALENDAR = ("minute", "hour", "weekday", "weekend", "day", "yearday", "month", "quarter", "year")  # features of dates
TABLES = ("csv", "parquet", "json")  # sources of a table
SOURCES: dict[str, Declared] = {
    "arrays": Declared({}),
    "csv": Declared(
        {
            "path": _FILE,
            "separator": Parameter(CHARACTER, ","),
            "decimal": Parameter(one_of(".", ","), "."),
            "header": Parameter(FLAG, None),
            "encoding": Parameter(one_of(*ENCODINGS), ""),
            "thousands": Parameter(THOUSAND_SIGN, ""),
        },
        (
            Rule(
                "`separator` must differ from a quote, a line break and `decimal`",
                lambda arguments: arguments["separator"] not in ('"', "\r", "\n", arguments["decimal"]),
                'where numbers have a decimal comma, cells are mostly separated by `;`: add `separator: ";"`',
            ),
            Rule(
                "`thousands` must differ from `decimal`",
                lambda arguments: arguments["thousands"] != arguments["decimal"],
                '`1.234,5` is read with `thousands: "."` and `decimal: ","`, and `1,234.5` with `thousands: ","` alone',
            ),
        ),
        returns=ROWS,
    ),
    "parquet": Declared({"path": _FILE}, returns=ROWS),
    "json": Declared({"path": _FILE}, returns=ROWS),
    "npz": Declared({"path": _FILE}),
    "digits": Declared(
        {
            "path": _FILE,
            "labels": Parameter(TEXT, ""),
            "scale": Parameter(NOT_NEGATIVE, 0.0),
            "label": Parameter(one_of("first", "last"), ""),
        }
    ),
    "images": Declared({"path": _FILE, "size": Parameter(COUNT, 0), "channels": Parameter(CHANNELS, 3)}),
    "text": Declared({"path": _FILE}, returns=A_TEXT),
    "pairs": Declared(
        {"path": Parameter(TEXTS), "separator": Parameter(TEXT, "\t"), "columns": Parameter(TWO_COLUMNS, [])},
        (
            Rule(
                "`separator` must be one character if `columns` are names",
                lambda arguments: (
                    not any(isinstance(column, str) for column in arguments["columns"])
                    or len(arguments["separator"]) == 1
                ),
            ),
        ),
        returns=PAIRS,
    ),
}
STAGES: dict[str, Declared] = {
    "by": Declared(
        {"columns": Parameter(TEXTS)},
        (Rule("no column may be named twice", lambda arguments: _are_distinct(arguments["columns"])),),
        takes=(ROWS,),
        returns=ROWS,
    ),
    "fill": Declared(
        {
            "method": Parameter(one_of("forward", "mean", "interpolate")),
            "columns": Parameter(TEXTS, []),
            "flag": Parameter(FLAG, False),
            "rows": Parameter(TEXT, ""),
            "step": Parameter(STEP, ""),
        },
        (
            Rule(
                "`step` is that of the dates in the column `rows`",
                lambda arguments: not arguments["step"] or bool(arguments["rows"]),
                'as in `fill("forward", rows: "time", step: "1 hour")`',
            ),
        ),
        takes=(ROWS,),
        returns=ROWS,
    ),
    "calendar": Declared(
        {
            "column": Parameter(TEXT),
            "features": Parameter(some_of(*CALENDAR)),
            "format": Parameter(TEXT, ""),
        },
        (Rule("no feature may be named twice", lambda arguments: _are_distinct(arguments["features"])),),
        takes=(ROWS,),
        returns=ROWS,
    ),
    "lag": Declared(
        {"columns": Parameter(TEXTS), "steps": Parameter(POSITIVES, 1)},
        (
            Rule(
                "no column and no step may be named twice",
                lambda arguments: all(_are_distinct(arguments[name]) for name in ("columns", "steps")),
            ),
        ),
        takes=(ROWS,),
        returns=ROWS,
    ),
    "categories": Declared(
        {"columns": Parameter(TEXTS), "rare": Parameter(POSITIVE, 2), "empty": Parameter(FLAG, False)},
        (Rule("no column may be named twice", lambda arguments: _are_distinct(arguments["columns"])),),
        takes=(ROWS,),
        returns=ROWS,
    ),
    "columns": Declared(
        {"inputs": Parameter(TEXTS), "targets": Parameter(TEXTS, [])},
        (
            Rule(
                "no column may be named twice in `inputs` or in `targets`",
                lambda arguments: all(_are_distinct(names) for names in (arguments["inputs"], arguments["targets"])),
            ),
        ),
        takes=(ROWS,),
    ),
    "window": Declared(
        {
            "columns": Parameter(TEXTS),
            "length": Parameter(POSITIVE),
            "horizon": Parameter(POSITIVE, 1),
            "shift": Parameter(COUNT, 0),
            "target": Parameter(TEXTS, []),
            "stride": Parameter(POSITIVE, 1),
            "known": Parameter(TEXTS, []),
        },
        (
            Rule(
                "`known` names each column once, and none that is predicted",
                _known_are_inputs,
                "what is predicted is `target`, or all `columns` if there is none",
            ),
        ),
        takes=(ROWS,),
    ),
    "standardize": Declared({"columns": Parameter(TEXTS, [])}, takes=(ROWS, EXAMPLES), on_examples=True, scales=True),
    "min_max": Declared(
        {"low": Parameter(NUMBER, 0.0), "high": Parameter(NUMBER, 1.0), "columns": Parameter(TEXTS, [])},
        (Rule("`low` must be below `high`", lambda arguments: arguments["low"] < arguments["high"]),),
        takes=(ROWS, EXAMPLES),
        on_examples=True,
        scales=True,
    ),
    "split": Declared(
        {
            "validation": Parameter(FRACTION, None),
            "test": Parameter(FRACTION, None),
            "order": Parameter(one_of("time", "random"), ""),
        },
        (
            Rule(
                "the fractions must add up to less than 1",
                lambda arguments: (arguments["validation"] or 0) + (arguments["test"] or 0) < 1,
            ),
        ),
        on_examples=True,
    ),
    "weights": Declared(
        {"column": Parameter(TEXT, ""), "classes": Parameter(CLASS_WEIGHTS, [])},
        (
            Rule(
                "it needs a `column` or `classes`",
                lambda arguments: bool(arguments["column"] or arguments["classes"]),
                'as in `weights(column: "w")`, or `weights(classes: "balanced")`',
            ),
        ),
        takes=(ROWS, EXAMPLES),
        on_examples=True,
    ),
    "augment": Declared(
        {
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
        takes=(EXAMPLES,),
        on_examples=True,
    ),
    "characters": Declared({"length": Parameter(POSITIVE), "stride": Parameter(COUNT, 0)}, takes=(A_TEXT,)),
    "words": Declared(
        {"length": Parameter(POSITIVE), "most": Parameter(POSITIVE, 20000), "stride": Parameter(COUNT, 0)},
        takes=(A_TEXT,),
    ),
    "tokens": Declared(
        {
            "length": Parameter(POSITIVE, 64),
            "kind": Parameter(TEXT, "words"),
            "most": Parameter(POSITIVE, 8000),
            "hide": Parameter(FRACTION, 0.0),
            "target": Parameter(one_of("text", "class", "number"), "text"),
            "columns": Parameter(TEXTS, []),
            "empty": Parameter(FLAG, False),
        },
        (Rule("no column may be named twice", lambda arguments: _are_distinct(arguments["columns"])),),
        takes=(A_TEXT, PAIRS, ROWS),
        keeps_rows=True,
    ),
}
ON_EXAMPLES = tuple(name for name, declared in STAGES.items() if declared.on_examples)
SCALES = tuple(name for name, declared in STAGES.items() if declared.scales)


def data_stages(session: Session, expression: syntax.Expression) -> tuple[DataStage, ...]:
    """The source and stages of a data description; all arguments must be known at compile time."""
    stages: list[syntax.Expression] = []
    waiting = [expression]
    while waiting:  # a chosen stage may be several
        last = resolve_choices(session, waiting.pop())
        if isinstance(last, syntax.Pipe):
            waiting += [last.value, last.stage]
        else:
            stages.append(last)
    source, *following = (_stage(session, stage, index == 0) for index, stage in enumerate(reversed(stages)))
    _check_repeated(session, following)
    maker = next((stage for stage in following if stage.name not in ON_EXAMPLES), None)
    if source.name == "arrays" and maker is not None:
        what = "makes examples of" if STAGES[maker.name].returns == EXAMPLES else "changes"
        raise session.fault(
            codes.E609,
            f"`{maker.name}` {what} a table or a text, but arrays are examples already",
            maker.span,
            hint=f"the stages of `arrays()` are {', '.join(ON_EXAMPLES)}",
        )
    return source, *following


def _check_repeated(session: Session, stages: Sequence[DataStage]) -> None:
    """NablacError for a stage that would override an earlier one, such as a second scaling of a column."""
    first: dict[tuple[str, str], Span] = {}
    for stage in stages:
        kind, parts, is_set = stage.name, [f"`{stage.name}`"], "appears"
        if stage.name in SCALES or stage.name == "fill":
            kind = "scaling" if stage.name in SCALES else stage.name
            parts = [f"`{name}`" for name in listed_names(stage.arguments["columns"])] or ["every column"]
            is_set = "is scaled" if stage.name in SCALES else "is filled"
        elif stage.name == "categories" or (stage.name == "tokens" and stage.arguments["columns"]):
            kind, parts = "numbering", [f"`{name}`" for name in listed_names(stage.arguments["columns"])]
            is_set = "is numbered"
        elif stage.name == "lag":
            parts, is_set = [f"`{name}`" for name in lags_of(**stage.arguments)], "is added"
        elif stage.name == "augment":
            parts = [f"`{name}` of `augment`" for name, value in stage.arguments.items() if value]
            is_set = "is set"
        said = dict.fromkeys(parts, is_set)
        if stage.name == "fill" and stage.arguments["rows"]:
            said["`rows` of `fill`"] = "is set"
        for part, is_set in said.items():
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
            hint=did_you_mean(name, known) or f"the choices are {', '.join(known)}",
        )
    declared = known[name]
    parameters = declared.parameters
    arguments = resolve_argument_ranges(session, NONE, evaluate_arguments(session, stage.arguments))
    bound = bind_names(session, name, list(parameters), arguments, stage.span, None)
    for key, argument in bound.items():
        kind = parameters[key].kind
        mismatch = mismatch_at(session, kind.allows, argument.value, argument.span)
        if mismatch is not None:
            message = f"`{key}` of `{name}` must be {kind.words}, got {mismatch.actual}"
            raise session.fault(codes.E605, message, argument.span, hint=mismatch.hint)
    missing = next(
        (key for key, parameter in parameters.items() if parameter.default is REQUIRED and key not in bound), None
    )
    if missing is not None:
        raise session.fault(
            codes.E401, f"{name} needs `{missing}`", stage.span, hint=f"as in `{name}({', '.join(parameters)})`"
        )
    values = {key: bound[key].value if key in bound else parameter.default for key, parameter in parameters.items()}
    broken = next((rule for rule in declared.rules if not rule.holds(values)), None)
    if broken is not None:
        raise session.fault(codes.E605, f"`{name}`: {broken.words}", stage.span, hint=broken.hint)
    return DataStage(name, values, stage.span)
