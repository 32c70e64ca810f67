"""Limits of lists and texts at compile time: their length, and how deep lists nest."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.elaborate.session import Session
from compiler.elaborate.values import CompileTimeValue, show
from compiler.elaborate.work import COPIED, ITEM
from grammar import codes
from grammar.source import Span

MOST_ITEMS = 1_000_000  # of a list, including those of nested lists; or characters of a text
MOST_LEVELS = 64  # of nested lists


def bounded_count(session: Session, count: int, span: Span) -> None:
    """NablacError for a list that would be too long, before it is built."""
    if count > MOST_ITEMS:
        raise session.fault(codes.E509, f"a list of more than {MOST_ITEMS:,} items", span)
    session.charge(count * COPIED, span)


def bounded_list(session: Session, items: list[CompileTimeValue], span: Span) -> list[CompileTimeValue]:
    """The list; NablacError if it has too many items, counting nested lists as often as they occur."""
    level: list[Sequence[CompileTimeValue]] = [items]
    count = levels = 0
    while level:
        length = sum(map(len, level))
        count, levels = count + length, levels + 1
        if count > MOST_ITEMS:
            within = " including nested lists" if levels > 1 else ""
            raise session.fault(codes.E509, f"a list of more than {MOST_ITEMS:,} items{within}", span)
        if levels > MOST_LEVELS:
            raise session.fault(codes.E509, f"lists nested more than {MOST_LEVELS} deep", span)
        session.charge(length * ITEM, span)
        level = [item for part in level if _holds_lists(part) for item in part if isinstance(item, (list, tuple))]
    return items


def _holds_lists(items: Sequence[CompileTimeValue]) -> bool:
    return any(issubclass(kind, (list, tuple)) for kind in set(map(type, items)))


def bounded_text(session: Session, text: str, span: Span) -> str:
    """The text; NablacError if it is too long."""
    if len(text) > MOST_ITEMS:
        raise session.fault(codes.E509, f"a text of more than {MOST_ITEMS:,} characters", span)
    session.charge(len(text) * COPIED, span)
    return text


def shown(session: Session, value: CompileTimeValue, span: Span) -> str:
    """A value as it is printed in a message."""
    if isinstance(value, list):
        bounded_list(session, value, span)
    return bounded_text(session, show(value), span)
