"""The limits of an elaboration: the number of reported errors, the work budget, and the depth of the stack."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from compiler.elaborate.interruptions import BudgetExceeded
from grammar.diagnostics import Diagnostic, Diagnostics

_DEEP = 20_000  # Python frames: expressions nest as deep as the grammar allows, calls as deep as MOST_CALLS


def report_each(diagnostics: Diagnostics, new: Iterable[Diagnostic]) -> None:
    """Add diagnostics as they are generated; raises BudgetExceeded at the maximal number of errors."""
    for diagnostic in new:
        diagnostics.add(diagnostic)
        if diagnostics.full:
            raise BudgetExceeded


@contextmanager
def bounded() -> Iterator[None]:
    """Raise Python's recursion limit for an elaboration, and end it at BudgetExceeded."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEP))
    try:
        yield
    except BudgetExceeded:
        pass
    finally:
        sys.setrecursionlimit(limit)
