"""What the stages of a data description read of their arguments, and of the data before them."""

from __future__ import annotations

from typing import Any

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import Examples, Text
from runtime.data.rows import Rows


def check_kind(data: Any, kind: type, stage: DataStage) -> None:
    """NablacError (E823) for data that a stage does not work on."""
    if not isinstance(data, kind):
        words: dict[type, str] = {Rows: "rows of a table", Examples: "examples", Text: "a text"}
        actual = next((name for other, name in words.items() if isinstance(data, other)), "something else")
        raise NablacError(
            Diagnostic(
                codes.E823,
                f"`{stage.name}`: expected {words[kind]}, got {actual}",
                stage.span,
            )
        )


def date_formats(data: Rows) -> dict[str, str]:
    """How dates are written that features are made of, by column."""
    return {request.column: request.format for request in data.calendars}
