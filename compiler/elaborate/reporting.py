"""The ends of an elaboration: as many errors as are told, or as much work as is allowed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from compiler.elaborate.signals import BudgetExceeded
from grammar.diagnostics import Diagnostic, Diagnostics

_DEEP = 20_000  # Python frames: expressions nest as deep as the grammar allows, calls as deep as MOST_CALLS


def report_each(diagnostics: Diagnostics, new: Iterable[Diagnostic]) -> None:
    """Keep the diagnostics, as they are made; raises BudgetExceeded where there are as many as are told."""
    for each in new:
        diagnostics.add(each)
        if diagnostics.full:
            raise BudgetExceeded


@contextmanager
def bounded() -> Iterator[None]:
    """What is elaborated inside has the stack that it needs, and ends where there has been enough of it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEP))
    try:
        yield
    except BudgetExceeded:
        pass
    finally:
        sys.setrecursionlimit(limit)
