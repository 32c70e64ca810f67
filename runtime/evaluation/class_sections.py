"""Classes and tokens in a report: per-class figures, confusion, calibration, and the examples that go worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.charts.heat_maps import confusion_matrix
from runtime.charts.lines import Series, line_chart
from runtime.charts.page import Facts, Figures, Paragraph, Part, Section, Table
from runtime.charts.palette import BLUE, MUTED
from runtime.charts.panel import Chart
from runtime.charts.points import calibration_plot
from runtime.charts.readable_numbers import readable
from runtime.evaluation.calibration import calibration_error
from runtime.evaluation.class_results import ClassResult, LabelResult
from runtime.evaluation.figures_text import (
    CLASS_HEADER,
    class_rows,
    class_summary,
    label_rows,
    label_summary,
    number,
    percent,
    token_summary,
)
from runtime.evaluation.roc import roc_curve
from runtime.evaluation.shown_examples import location_of, picture_of, shown_examples, text_of
from runtime.evaluation.token_results import TokenResult

if TYPE_CHECKING:
    from runtime.data.examples import Examples

_WORST, _WORST_PICTURES = 12, 28


def class_sections(result: ClassResult, data: Examples, prefix: str) -> list[Section]:
    """The sections of a target of classes; their headings begin with `prefix`."""
    figures = result.figures
    charts: list[Chart] = []
    if figures.calibration:
        error = percent(calibration_error(figures.calibration))
        of = f"probability of {figures.names[1]}" if figures.is_binary else "probability of the predicted class"
        share = f"share that is {figures.names[1]}" if figures.is_binary else "share that is right"
        note = f"expected calibration error {error}"
        charts.append(calibration_plot("Calibration", figures.calibration, x_name=of, y_name=share, note=note))
    if figures.is_binary and figures.auc is not None:
        charts.append(_roc(result))
    confusion = confusion_matrix("Confusion matrix", list(figures.names), figures.confusion.tolist())
    charts.insert(len(charts) if figures.is_binary else 0, confusion)
    classes: list[Part] = [Table(["class", *CLASS_HEADER[1:]], class_rows(result), strong=())]
    if figures.left_out:
        classes.append(Paragraph(f"{figures.left_out:,} examples have no finite prediction: left out.", quiet=True))
    sections = [
        Section(f"{prefix}Figures", [Facts(class_summary(result)), *classes]),
        Section(f"{prefix}Mistakes and calibration", [Figures(charts)]),
    ]
    worst = result.mistakes(_WORST_PICTURES if picture_of(data, 0) is not None else _WORST)
    if worst:
        captions = [
            f"{mistake.actual}, at {percent(mistake.probability)}"
            if mistake.actual == mistake.predicted
            else f"{mistake.actual}, taken for {mistake.predicted}"
            for mistake in worst
        ]
        facts = {
            "actual": [mistake.actual for mistake in worst],
            "predicted": [mistake.predicted for mistake in worst],
            "probability of the actual": [percent(mistake.probability) for mistake in worst],
            "loss": [readable(mistake.loss, 3) for mistake in worst],
        }
        wrong = sum(mistake.actual != mistake.predicted for mistake in worst)
        shown = "The example" if len(worst) == 1 else f"The {len(worst)} examples"
        predictions = f"{shown} of the highest loss, worst first; wrong: {wrong}."
        parts = [
            Paragraph(predictions, quiet=True),
            *shown_examples(data, [mistake.row for mistake in worst], captions, facts),
        ]
        sections.append(Section(f"{prefix}Worst examples", parts))
    return sections


def _roc(result: ClassResult) -> Chart:
    figures = result.figures
    scores = figures.probabilities[:, 1] if figures.probabilities is not None else figures.scores
    assert scores is not None
    x, y = roc_curve(figures.labels == 1, scores)
    lines = [Series("model", x, y, color=BLUE), Series("by chance", [0.0, 1.0], [0.0, 1.0], color=MUTED)]
    other, positive = figures.names
    return line_chart(
        "Receiver operating characteristic",
        lines,
        x_name=f"share of {other} taken for {positive}",
        y_name=f"share of {positive} found",
        note=f"area under the curve {number(figures.auc)}",
        log_y=False,
        height=440,
    )


def label_sections(result: LabelResult, prefix: str) -> list[Section]:
    """The section of several yes-or-no questions."""
    table = Table(["label", *CLASS_HEADER[1:]], label_rows(result))
    return [Section(f"{prefix}Figures", [Facts(label_summary(result)), table])]


def token_sections(result: TokenResult, data: Examples, prefix: str) -> list[Section]:
    """The sections of texts whose tokens a model tells."""
    worst = [(row, bits, text_of(data, row)) for row, bits in result.worst(_WORST)]
    rows = [[location_of(data, row), readable(bits, 3), text or ""] for row, bits, text in worst]
    sections = [Section(f"{prefix}Figures", [Facts(token_summary(result))])]
    if rows:
        predictions = Paragraph("The texts that the model finds least likely, worst first.", quiet=True)
        table = Table(["text", "bits per token", "text as it stands"], rows)
        sections.append(Section(f"{prefix}Least likely texts", [predictions, table]))
    return sections
