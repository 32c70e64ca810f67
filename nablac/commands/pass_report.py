"""The table of passes that `compile -v` prints, a row after each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nablac.commands.output import detail
from runtime.charts.readable_numbers import prefixed

if TYPE_CHECKING:
    from compiler.passes.pipeline import PassRun

_ROW = "{:<15} {:<27} {:>6} {:>6} {:>8} {:>8} {:>8} {:>8} {:>10}"


class PassReport:
    """Prints a row for each run of a pass, and the header above the first."""

    def __init__(self) -> None:
        self._has_header = False

    def __call__(self, run: PassRun) -> None:
        """Print the row of a run."""
        from compiler.dims import TYPICAL

        if not self._has_header:
            self._has_header = True
            detail(f"what passes change; operations and bytes are those at size {TYPICAL} of every named dim")
            detail(_ROW.format("stage", "pass", "nodes", "after", "FLOP", "after", "bytes", "after", "ms"))
        before, after = run.before, run.after
        amounts = (_amount(amount) for amount in (before.flops, after.flops, before.bytes, after.bytes))
        nodes = (f"{before.nodes:,}", f"{after.nodes:,}")
        detail(_ROW.format(run.stage, run.name, *nodes, *amounts, f"{run.seconds * 1000:,.1f}"))


def _amount(amount: int | None) -> str:
    return "" if amount is None else prefixed(amount).strip()
