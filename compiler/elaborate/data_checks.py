"""Checks of a data description that need no data: whether its stages fit each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from compiler.elaborate.session import Session
from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import did_you_mean

_ROWS, _EXAMPLES, _TEXT, _PAIRS = "rows of a table", "examples", "a text", "pairs of texts"
_SOURCES = {"csv": _ROWS, "parquet": _ROWS, "text": _TEXT, "pairs": _PAIRS}  # all other sources return examples
_TAKES = {  # the message names the last one
    "columns": (_ROWS,),
    "window": (_ROWS,),
    "characters": (_TEXT,),
    "words": (_TEXT,),
    "tokens": (_TEXT, _PAIRS),
    "standardize": (_ROWS, _EXAMPLES),
    "min_max": (_ROWS, _EXAMPLES),
    "augment": (_EXAMPLES,),
}
_MAKERS = frozenset({"columns", "window", "characters", "words", "tokens"})
_SCALES = frozenset({"standardize", "min_max"})


def check_stages(session: Session, stages: tuple[DataStage, ...]) -> None:
    """NablacError for a stage that does not take the kind of data that the stages before it return.

    If no stage builds examples, they are passed from Python, and their kind is not known.
    """
    source, *rest = stages
    if not any(stage.name in _MAKERS for stage in rest):
        return
    kind = _SOURCES.get(source.name, _EXAMPLES)
    for stage in rest:
        takes = _TAKES.get(stage.name)
        if takes is not None and kind not in takes:
            words = "a text, or pairs of texts" if stage.name == "tokens" else takes[-1]
            message = f"`{stage.name}` takes {words}, and gets {kind}"
            raise session.fault(codes.E823, message, stage.span, hint=_hint(stage, kind))
        if stage.name in _MAKERS:
            kind = _EXAMPLES


def check_scaled_columns(session: Session, stages: tuple[DataStage, ...], names: Collection[str]) -> None:
    """Report columns to scale that are in no example; `names` are the model's inputs and targets."""
    maker = next((stage for stage in stages if stage.name in ("columns", "window")), None)
    if maker is None:
        return
    parameters = ("inputs", "targets") if maker.name == "columns" else ("columns", "target")
    columns = {name for parameter in parameters for name in _names(maker.arguments[parameter])}
    known = {*columns, "input", "target", *names}
    for stage in stages:
        for column in _names(stage.arguments["columns"]) if stage.name in _SCALES else ():
            if column not in known:
                hint = did_you_mean(column, known) or f"there are {', '.join(sorted(columns))}"
                message = f"there is no column `{column}` to scale"
                session.report(session.fault(codes.E822, message, stage.span, hint=hint))


def _hint(stage: DataStage, kind: str) -> str | None:
    """How to get what the stage takes from data of this kind."""
    if kind == _ROWS and stage.name == "augment":
        return "cut the table with `columns(...)` or `window(...)` first"
    if kind in (_TEXT, _PAIRS) and stage.name in ("characters", "words", "augment", *_SCALES):
        return f"`tokens(...)` makes examples of {kind}"
    if kind == _EXAMPLES and stage.name in _MAKERS:
        return "one stage makes the examples, and the others change them"
    return None


def _names(value: Any) -> Iterator[str]:
    yield from value if isinstance(value, list) else (value,)
