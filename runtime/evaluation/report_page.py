"""The report of an evaluation: one HTML page that is looked at rather than read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.charts.page import Facts, Paragraph, Part, Section, Table, page
from runtime.charts.readable_numbers import readable
from runtime.evaluation.class_results import ClassResult, LabelResult
from runtime.evaluation.class_sections import class_sections, label_sections, token_sections
from runtime.evaluation.evaluation import Evaluation, Result
from runtime.evaluation.number_results import NumberResult
from runtime.evaluation.number_sections import backtest_section, number_sections

if TYPE_CHECKING:
    from runtime.data.examples import Examples


@dataclass(frozen=True)
class Generated:
    """A text that was generated of a source, and the true one, with its chrF."""

    source: str
    text: str
    truth: str
    chrf: float


def report_page(
    name: str,
    evaluation: Evaluation,
    data: Examples,
    figures: Mapping[str, float],
    notes: Sequence[str],
    generated: Sequence[Generated] = (),
    footer: str = "",
) -> str:
    """The HTML file. `figures` are the loss and the metrics as training has them, by name."""
    count = len(data.parts[evaluation.part])
    measured: list[Part] = [Facts([(key, readable(value, 4)) for key, value in figures.items()])] if figures else []
    measured += [Paragraph(note, quiet=True) for note in notes]
    sections: list[Section] = []
    for target, result in evaluation.results.items():
        prefix = f"{result.task.title}: " if len(evaluation.results) > 1 else ""
        sections += _sections(result, data, prefix)
        if target in evaluation.backtests:
            sections.append(backtest_section(evaluation.backtests[target], data, prefix))
    if generated:
        sections.append(_generated(generated))
    if measured:
        sections.append(Section("Loss and metrics of the train block" if figures else "Notes", measured))
    titles = ", ".join(result.task.title for result in evaluation.results.values())
    part = f"the {evaluation.part} part" if evaluation.part != "all" else "all of the data"
    where = f" of {data.path}" if data.path else ""
    subtitle = f"{count:,} example{'' if count == 1 else 's'}: {part}{where}"
    return page(f"{name}: {titles or 'evaluation'}", sections, subtitle=subtitle, footer=footer)


def _sections(result: Result, data: Examples, prefix: str) -> list[Section]:
    match result:
        case NumberResult():
            return number_sections(result, data, prefix)
        case ClassResult():
            return class_sections(result, data, prefix)
        case LabelResult():
            return label_sections(result, prefix)
    return token_sections(result, data, prefix)


def _generated(generated: Sequence[Generated]) -> Section:
    rows = [[f"{example.chrf:.1f}", example.source, example.text, example.truth] for example in generated]
    predictions = Paragraph("The generated texts that are farthest from the true ones, by chrF of each.", quiet=True)
    return Section("Generated texts", [predictions, Table(["chrF", "source", "generated", "true"], rows)])
