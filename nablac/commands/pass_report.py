"""The table of passes that `compile -v` prints, a row after each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from nablac.commands.output import detail
from runtime.charts.readable_numbers import prefixed

if TYPE_CHECKING:
    from compiler.passes.pipeline import PassRun

_ROW = "{:<15} {:<27} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8} {:>10}"


_SECTION: ContextVar[str] = ContextVar("section", default="the model as written")


@contextmanager
def section(title: str) -> Iterator[None]:
    """A part of a command in which passes run on the graph of this title."""
    token = _SECTION.set(title)
    try:
        yield
    finally:
        _SECTION.reset(token)


class PassReport:
    """Prints a row for each run of a pass, the title above the first of a section, and the header above all."""

    def __init__(self) -> None:
        self._section: str | None = None

    def __call__(self, run: PassRun) -> None:
        """Print the row of a run."""
        from compiler.dims import TYPICAL

        is_first, title = self._section is None, _SECTION.get()
        if is_first:
            detail(f"what passes change; operations and bytes are those at size {TYPICAL} of every named dim")
        if title != self._section:
            self._section = title
            detail(f"passes on {title}:")
        if is_first:
            detail(_ROW.format("stage", "pass", "nodes", "after", "FLOP", "after", "bytes", "after", "ms"))
        before, after = run.before, run.after
        amounts = (_amount(amount) for amount in (before.flops, after.flops, before.bytes, after.bytes))
        nodes = (f"{before.nodes:,}", f"{after.nodes:,}")
        detail(_ROW.format(run.stage, run.name, *nodes, *amounts, f"{run.seconds * 1000:,.1f}"))


def _amount(amount: int | None) -> str:
    return "" if amount is None else prefixed(amount).strip()
