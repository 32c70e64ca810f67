"""How an evaluation ends early where the reason has been reported, or will be by whoever catches it."""

from __future__ import annotations

from compiler.elaborate.values import UNKNOWN, CompileTimeValue


class AlreadyReported(Exception):
    """An expression holds something that has been reported already."""


class CallAborted(Exception):
    """An input does not fit its declaration: what the application would say after that is noise."""


class BudgetExceeded(Exception):
    """Nothing more is elaborated, and the diagnostics say why: too much work, or as many errors as are told."""


def require_known(value: CompileTimeValue) -> CompileTimeValue:
    """The value; raises AlreadyReported where it is UNKNOWN."""
    if value is UNKNOWN:
        raise AlreadyReported
    return value
