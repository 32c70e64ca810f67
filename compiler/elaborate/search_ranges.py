"""Ranges and choices of hyperparameters that `tune` searches, and their defaults elsewhere."""

from __future__ import annotations

from typing import Literal

from compiler.elaborate.session import Session
from compiler.elaborate.values import Choice, CompileTimeValue, Interval, SearchRange, describe, is_number
from grammar import codes
from grammar.source import Span


def default_of_range(session: Session, value: CompileTimeValue, span: Span) -> CompileTimeValue:
    """The value of a hyperparameter without a search: the middle of a range, the first of a choice."""
    if isinstance(value, Interval):
        return search_range(session, "linear", value, span).default
    return value.default if isinstance(value, (SearchRange, Choice)) else value


def search_range(session: Session, scale: Literal["linear", "log"], interval: Interval, span: Span) -> SearchRange:
    """A search range; NablacError unless its bounds are increasing numbers, positive for a log scale."""
    low, high = interval.start, interval.stop
    if not (is_number(low) and is_number(high)):
        message = f"the bounds of a search range must be numbers, got {describe(high if is_number(low) else low)}"
        raise session.fault(codes.E404, message, span)
    if scale == "log" and min(low, high) <= 0:
        raise session.fault(codes.E505, "the bounds of a logarithmic range must be above 0", span)
    if not low < high:
        raise session.fault(codes.E404, f"a search range must be increasing, got {low} to {high}", span)
    return SearchRange(scale, low, high)
