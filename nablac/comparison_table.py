"""A comparison of runs as aligned text."""

from __future__ import annotations

from collections.abc import Sequence

from grammar.visible import visible
from nablac.run_comparison import ComparedRun, Comparison
from runtime.charts.readable_numbers import duration, readable

_LONGEST = 40  # of a setting's text in a column


def render_comparison(comparison: Comparison, width: int, color: bool = False) -> str:
    """The settings that differ and the results, for a terminal of `width` columns."""
    blocks = [_settings(comparison, width, color), _results(comparison, width, color)]
    winner = comparison.winner
    if winner is not None:
        run = comparison.runs[winner]
        best = f"best: {run.name}, {run.monitor} {readable(run.metrics[run.monitor], 5)} at epoch {run.best_epoch:,}"
        blocks.append(visible(best))
    return "\n\n".join(blocks)


def _settings(comparison: Comparison, width: int, color: bool) -> str:
    """A row for each setting and a column for each run; if these do not fit, a line for each value with its runs."""
    changed = _changed_lines(comparison)
    if not comparison.differences and not changed:
        return "the settings are equal"
    rows = [[name, *(value or "" for value in values)] for name, values in comparison.differences.items()]
    if changed:
        rows.append(["text", *changed])
    table = _table([["setting", *(run.name for run in comparison.runs)], *rows], color, numbers_from=len(rows[0]))
    if max(map(len, table)) <= width:
        return "\n".join(table)
    lines = ["settings that differ"]
    for name, *values in rows:
        lines.append(f"  {visible(name)}")
        for value in dict.fromkeys(values):
            runs = ", ".join(run.name for run, other in zip(comparison.runs, values, strict=True) if other == value)
            lines.append(f"    {visible(value) or '(none)'}: {visible(runs)}")
    return "\n".join(lines)


def _changed_lines(comparison: Comparison) -> list[str]:
    """How many lines of each run's text differ from the first one's; empty if all texts are equal."""
    counts = []
    for index in range(len(comparison.runs)):
        lines = [line for line in comparison.changes(index) if not line.startswith(("+++", "---"))]
        added, gone = (sum(line.startswith(sign) for line in lines) for sign in "+-")
        counts.append(f"+{added} -{gone} lines" if added or gone else "")
    return counts if any(counts) else []


def _results(comparison: Comparison, width: int, color: bool) -> str:
    """A row for each run; if not all quantities fit, those of training are left out first."""
    names = [name for name in comparison.quantities if any(name in run.metrics for run in comparison.runs)]
    while True:
        header = ["run", "best epoch", *names, "parameters", "time"]
        table = _table([header, *(_row(run, names) for run in comparison.runs)], color)
        if len(names) < 2 or max(map(len, table)) <= width:
            return "\n".join(table)
        dispensable = [name for name in names[1:] if not name.startswith("val_")] or names[1:]
        names.remove(dispensable[-1])


def _row(run: ComparedRun, names: Sequence[str]) -> list[str]:
    best = f"{run.best_epoch:,} of {run.epochs:,}" if run.best_epoch is not None else "none"
    metrics = [readable(run.metrics[name], 5) if name in run.metrics else "" for name in names]
    parameters = f"{run.parameters:,}" if run.parameters is not None else ""
    return [run.name, best, *metrics, parameters, duration(run.seconds) if run.seconds is not None else ""]


def _table(rows: Sequence[Sequence[str]], color: bool, numbers_from: int = 1) -> list[str]:
    """Aligned lines, the header underlined; columns from `numbers_from` on are aligned at the right."""
    cells = [[_short(visible(cell)) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for number, row in enumerate(cells):
        aligned = [
            cell.rjust(width) if column >= numbers_from else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(aligned).rstrip()
        lines.append(f"\033[1m{line}\033[0m" if color and not number else line)
        if not number:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
    return lines


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
