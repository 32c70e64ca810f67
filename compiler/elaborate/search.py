"""Ranges and choices that `tune` may vary: checked where they are written, and what stands for them elsewhere."""

from __future__ import annotations

from typing import Any

from compiler.elaborate.session import Session
from compiler.elaborate.values import Interval, SearchAxis, describe, is_number
from grammar.source import Span


def default_of_range(session: Session, value: Any, span: Span) -> Any:
    """The value of a hyperparameter where nothing is searched: of a range the middle, of a choice the first."""
    if isinstance(value, Interval):
        value = search_axis(session, "linear", value, span)
    return value.default if isinstance(value, SearchAxis) else value


def search_axis(session: Session, kind: str, interval: Interval, span: Span) -> SearchAxis:
    """A range to search, from a number up to a larger one."""
    low, high = interval.start, interval.stop
    for end in (low, high):
        if not is_number(end):
            message = f"a range to search has numbers for ends, and this is {describe(end)}"
            raise session.fault("E404", message, span)
    if kind == "log" and min(low, high) <= 0:
        raise session.fault("E505", "the ends of a logarithmic range are numbers above 0", span)
    if not low < high:
        raise session.fault("E404", f"a range to search goes up, and this one goes from {low} to {high}", span)
    return SearchAxis(kind, (low, high))
