"""What a train block may say of its data: a source piped through stages, each with its parameters.

The table states names and defaults; `runtime.data` gives each of them its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.elaborate import calls
from compiler.elaborate.values import describe
from grammar import syntax
from grammar.diagnostics import did_you_mean
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.elaborate.elaborator import Elaborator

REQUIRED = object()

SOURCES: dict[str, dict[str, Any]] = {
    "arrays": {},
    "csv": {"path": REQUIRED, "separator": ","},
    "parquet": {"path": REQUIRED},
    "npz": {"path": REQUIRED},
    "digits": {"path": REQUIRED, "labels": "", "scale": 0.0},
    "images": {"path": REQUIRED, "size": 0},
    "text": {"path": REQUIRED},
    "pairs": {"path": REQUIRED, "separator": "\t", "columns": ()},
}
STAGES: dict[str, dict[str, Any]] = {
    "columns": {"inputs": REQUIRED, "targets": REQUIRED},
    "window": {"columns": REQUIRED, "length": REQUIRED, "horizon": 1, "shift": 0, "target": "", "stride": 1},
    "standardize": {},
    "min_max": {"low": 0.0, "high": 1.0},
    "split": {"validation": -1.0, "test": 0.0, "order": ""},
    "augment": {
        "flip": False,
        "crop": 0,
        "rotate": 0.0,
        "shift": 0,
        "noise": 0.0,
        "cutout": 0,
        "mixup": 0.0,
        "jitter": 0.0,
        "scaling": 0.0,
        "warp": 0.0,
    },
    "characters": {"length": REQUIRED, "stride": 0},
    "words": {"length": REQUIRED, "most": 20000, "stride": 0},
    "tokens": {"length": 64, "kind": "words", "most": 8000, "hide": 0.0, "target": "text"},
}


@dataclass(frozen=True)
class Stage:
    """One call of a data description: every parameter by name, those not given with their defaults."""

    name: str
    arguments: dict[str, Any]
    span: Span


def data_stages(elaborator: Elaborator, expression: syntax.Expression) -> tuple[Stage, ...]:
    """A data description read from its source on; the arguments are known at compile time."""
    stages: list[syntax.Expression] = []
    while isinstance(expression, syntax.Pipe):
        stages.append(expression.stage)
        expression = expression.value
    stages.append(expression)
    return tuple(_stage(elaborator, stage, place == 0) for place, stage in enumerate(reversed(stages)))


def _stage(elaborator: Elaborator, stage: syntax.Expression, first: bool) -> Stage:
    known = SOURCES if first else STAGES
    what = "a source of data" if first else "a stage of the data"
    if not isinstance(stage, syntax.Call) or not isinstance(stage.callee, syntax.Name):
        raise elaborator.fault("E609", f"{what} is needed here", stage.span, hint=f"as in `{next(iter(known))}(...)`")
    name = stage.callee.text
    if name not in known:
        raise elaborator.fault(
            "E609",
            f"`{name}` is not {what}",
            stage.callee.span,
            hint=did_you_mean(name, known) or f"there are {', '.join(known)}",
        )
    parameters = known[name]
    given = calls.arguments(elaborator, stage.arguments)
    bound = calls.bind_names(elaborator, name, list(parameters), given, stage.span, None)
    for argument in bound.values():
        if not isinstance(argument.value, (int, float, str, bool, list)):
            raise elaborator.fault(
                "E605", f"data is described by numbers and texts, not by {describe(argument.value)}", argument.span
            )
    missing = next((each for each, default in parameters.items() if default is REQUIRED and each not in bound), None)
    if missing is not None:
        raise elaborator.fault("E401", f"{name} needs `{missing}`", stage.span, hint=f"{name}({', '.join(parameters)})")
    values = {key: bound[key].value if key in bound else default for key, default in parameters.items()}
    return Stage(name, values, stage.span)
