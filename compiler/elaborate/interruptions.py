"""Exceptions that end an evaluation early, for a reason that has been reported or is reported by their handler."""

from __future__ import annotations

from compiler.elaborate.values import UNKNOWN, CompileTimeValue


class AlreadyReported(Exception):
    """An expression contains a value whose error has been reported."""


class CallAborted(Exception):
    """An input does not fit its declaration: further errors of the call would only follow from that."""


class BudgetExceeded(Exception):
    """Elaboration ends: the work budget is used up, or the maximal number of errors is reported."""


def require_known(value: CompileTimeValue) -> CompileTimeValue:
    """The value; raises AlreadyReported if it is UNKNOWN."""
    if value is UNKNOWN:
        raise AlreadyReported
    return value
