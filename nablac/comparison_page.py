"""A comparison of runs as a page: results, settings that differ, and overlaid histories."""

from __future__ import annotations

from nablac.run_comparison import ComparedRun, Comparison
from runtime.charts.lines import Series, line_chart
from runtime.charts.page import Code, Facts, Figures, Folded, Paragraph, Part, Section, Table, page
from runtime.charts.panel import Chart
from runtime.charts.readable_numbers import duration, readable


def comparison_page(comparison: Comparison, footer: str = "") -> str:
    """The HTML file."""
    sections = [Section("Results", _results(comparison))]
    if charts := [chart for name in comparison.quantities if (chart := _chart(comparison, name)) is not None]:
        sections.append(Section("Histories", [Figures(charts)]))
    sections.append(Section("Settings that differ", _settings(comparison)))
    models = ", ".join(dict.fromkeys(run.model for run in comparison.runs))
    return page(f"{len(comparison.runs)} runs of {models}", sections, footer=footer)


def _results(comparison: Comparison) -> list[Part]:
    parts: list[Part] = []
    winner = comparison.winner
    if winner is not None:
        run = comparison.runs[winner]
        goal = "highest" if run.monitor.removeprefix("val_") in run.higher_is_better else "lowest"
        facts = [
            (f"{goal} {run.monitor}", readable(run.metrics[run.monitor], 5), f"{run.name}, epoch {run.best_epoch}")
        ]
        parts.append(Facts(facts))
    parts += [Paragraph(f"Note: {note}.") for note in comparison.notes]
    names = [name for name in comparison.quantities if any(name in run.metrics for run in comparison.runs)]
    header = ["run", "best epoch", *names, "epochs", "parameters", "time"]
    rows = [_row(run, names) for run in comparison.runs]
    caption = "Every quantity in the run's best epoch"
    return [*parts, Table(header, rows, caption, strong=[winner] if winner is not None else [])]


def _row(run: ComparedRun, names: list[str]) -> list[str]:
    metrics = [readable(run.metrics[name], 5) if name in run.metrics else "" for name in names]
    parameters = f"{run.parameters:,}" if run.parameters is not None else ""
    time = duration(run.seconds) if run.seconds is not None else ""
    best = f"{run.best_epoch:,}" if run.best_epoch is not None else ""
    return [run.name, best, *metrics, f"{run.epochs:,}", parameters, time]


def _chart(comparison: Comparison, name: str) -> Chart | None:
    """One quantity of all runs that have it."""
    series = []
    for run in comparison.runs:
        values = run.history.get(name, ())
        if values:
            epochs = run.history.get("epoch", ())
            numbers = epochs if len(epochs) == len(values) else [float(epoch + 1) for epoch in range(len(values))]
            series.append(Series(run.name, numbers, values))
    return line_chart(name, series, x_name="epoch", whole_x=True) if series else None


def _settings(comparison: Comparison) -> list[Part]:
    parts: list[Part] = []
    if comparison.differences:
        rows = [[name, *(value or "" for value in values)] for name, values in comparison.differences.items()]
        parts.append(Table(["setting", *(run.name for run in comparison.runs)], rows))
    else:
        parts.append(Paragraph("The settings are equal."))
    for index, run in enumerate(comparison.runs):
        if lines := comparison.changes(index):
            summary = f"The text of {run.name} against that of {comparison.runs[0].name}"
            parts.append(Folded(summary, [Code("\n".join(lines), diff=True)]))
    return parts
