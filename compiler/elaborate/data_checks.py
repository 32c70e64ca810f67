"""Whether the stages of a data description fit each other, as far as that is known before any data is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from compiler.elaborate.session import Session
from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import did_you_mean

_ROWS, _EXAMPLES, _TEXT, _PAIRS = "rows of a table", "examples", "a text", "pairs of texts"
_SOURCES = {"csv": _ROWS, "parquet": _ROWS, "text": _TEXT, "pairs": _PAIRS}  # the others give examples
_TAKES = {  # and the last of these words is how it is said
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
    """NablacError for a stage that takes something else than the stages before it give.

    Where no stage makes examples they come from Python, and nothing is known of them.
    """
    source, *rest = stages
    if not any(stage.name in _MAKERS for stage in rest):
        return
    given = _SOURCES.get(source.name, _EXAMPLES)
    for stage in rest:
        takes = _TAKES.get(stage.name)
        if takes is not None and given not in takes:
            words = "a text, or pairs of texts" if stage.name == "tokens" else takes[-1]
            message = f"`{stage.name}` takes {words}, and gets {given}"
            raise session.fault(codes.E823, message, stage.span, hint=_hint(stage, given))
        if stage.name in _MAKERS:
            given = _EXAMPLES


def check_scaled_columns(session: Session, stages: tuple[DataStage, ...], names: Collection[str]) -> None:
    """Report columns to scale that no stage makes examples of; `names` are the model's inputs and targets."""
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


def _hint(stage: DataStage, given: str) -> str | None:
    """What would make the stage's kind of data of what it gets."""
    if given == _ROWS and stage.name == "augment":
        return "cut the table with `columns(...)` or `window(...)` first"
    if given in (_TEXT, _PAIRS) and stage.name in ("characters", "words", "augment", *_SCALES):
        return f"`tokens(...)` makes examples of {given}"
    if given == _EXAMPLES and stage.name in _MAKERS:
        return "one stage makes the examples, and the others change them"
    return None


def _names(value: Any) -> Iterator[str]:
    yield from value if isinstance(value, list) else (value,)
