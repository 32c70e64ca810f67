"""`nablac eval`: the loss and the metrics of a trained model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.evaluation_report import PAGE, check_report, footer, write_report
from nablac.commands.options import (
    PENALTY,
    ModelOptions,
    asked,
    model_options,
    output_options,
    run_options,
    weight_options,
)
from nablac.commands.output import encodable, note, note_untrained, print_json
from nablac.commands.runs import DATA, MODEL, read_run

if TYPE_CHECKING:
    from runtime.data.examples import Examples
    from runtime.evaluation.evaluation import Evaluation
    from runtime.evaluation.report_page import Generated
    from runtime.training.training_run import Training

_MOST_GENERATED = 24  # texts in a report


@click.command()
@model_options
@run_options
@click.option(
    "--part",
    type=click.Choice(["training", "validation", "test", "all"]),
    help="The examples to evaluate.  [default: all of --data; else test, else validation, else all]",
)
@click.option("--data", type=click.Path(), help="Evaluate on this file instead of the train block's.")
@click.option("--batch", type=click.IntRange(1), help="Examples per batch.")
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="DIR", help="Write report.html and report.json there."
)
@click.option(
    "--season", type=click.IntRange(1), metavar="N", help="Of a series: rows in a season.  [default: detected]"
)
@click.option(
    "--backtest",
    "folds",
    type=click.IntRange(1),
    metavar="FOLDS",
    is_flag=False,
    flag_value=5,
    help="Of a series: forecast the part in so many folds, each from the rows before it.  [default: 5 folds]",
)
@click.option("--skip-broken", is_flag=True, help="Skip broken rows and files, and report how many.")
@click.option("--generate", is_flag=True, help="Generate from each source, and score the texts: BLEU and chrF.")
@click.option(
    "--beams",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Generate by beam search with this many beams.",
)
@click.option(
    "--length-penalty", type=PENALTY, default=1.0, show_default=True, help="Of beam search: above 0 favours long texts."
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The tokenizer of a text model.  [default: the run's]",
)
@weight_options
@output_options
def command(
    model: ModelOptions,
    part: str | None,
    data: str | None,
    batch: int | None,
    report: Path | None,
    season: int | None,
    folds: int | None,
    skip_broken: bool,
    generate: bool,
    beams: int,
    length_penalty: float,
    tokenizer: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Evaluate a model on the data of its train block: its loss and metrics, each example counted alike.

    Beside them stand figures in the units of the data: errors of numbers and of forecasts, the latter against the last
    value and the last season; precision, recall, AUC and calibration of classes; perplexity of texts.

    FILE may be a run's folder: its model, its weights, its own split of the data. Of a .onnx file that was compiled
    from a run, the figures of --data are computed by onnxruntime.
    """
    from nablac.commands.train import announce_data, note_batches, training_of
    from runtime.data.examples import digest
    from runtime.evaluation.report_page import report_page
    from runtime.training.run_options import Options
    from runtime.training.unit_notes import figure_notes

    if report is not None:
        check_report(report, model.files_read())
    if model.file.suffix == ".onnx":
        if generate or part not in (None, "all"):
            raise click.UsageError("of a compiled model, eval takes all of --data, and generates no texts")
        return _compiled(model, _Asked(data, batch, skip_broken, report, season, folds, tokenizer), as_json, quiet)
    file, undivided = model.file, asked("data") and part in (None, "all")
    options = Options(
        batch=batch,
        seed=model.seed if asked("seed") else None,  # the option's own default is left to the block
        data=data,
        undivided=undivided,
        backend=model.backend,
        device=model.device,
        skip_broken=skip_broken,
    )
    run = read_run(model.file) if model.is_run else None
    if run is not None:
        model, options = run.model(model), run.begun_options(options, DATA)
    training = training_of(model, options, evaluated=True, tokenizer=tokenizer)
    training.keeps_raw = True
    if model.weights is None:
        note_untrained(quiet)
    if not quiet:
        announce_data(training)
    if run is not None and not any(asked(name) for name in (*MODEL, *DATA)):
        hint = "its split would differ: `--data FILE` evaluates on other data"
        run.record.check_examples(digest(training.data), run.folder, hint)
    chosen = _choose_part(training.data, "all" if undivided else part)
    note_batches(training)
    figures = training.evaluate(chosen)
    generated: list[Generated] = []
    if generate:
        scores, generated = generated_scores(training, chosen, beams, length_penalty)
        figures |= scores
    units = figure_notes(training.inference, training.data)
    evaluation = judged(training, chosen, season, folds)
    for line in (*units, *evaluation.notes):
        note(line, quiet)
    count = len(training.data.parts[chosen])
    facts = {"part": chosen, "examples": count, "scaled": bool(units), **figures, "figures": evaluation.to_json()}
    _print(training.name, evaluation, facts, figures, as_json)
    if report is not None:
        notes = [*units, *evaluation.notes]
        html = report_page(training.name, evaluation, training.data, figures, notes, generated, footer(file))
        write_report(report, html, facts)
        note(f"report:    {report / PAGE}", quiet)
    return 0


def _print(name: str, evaluation: Evaluation, facts: dict[str, Any], figures: dict[str, float], as_json: bool) -> None:
    from runtime.evaluation.figures_text import evaluation_lines

    if as_json:
        print_json(facts)
        return
    count = facts["examples"]
    click.echo(f"{name} on {count:,} example{'' if count == 1 else 's'} ({evaluation.part})")
    for key, value in figures.items():
        click.echo(f"  {key:<16} {value:.6g}")
    for line in evaluation_lines(evaluation):
        click.echo(encodable(line, sys.stdout))


@dataclass(frozen=True)
class _Asked:
    """What a user may say of the evaluation of a compiled model."""

    data: str | None
    batch: int | None
    skip_broken: bool
    report: Path | None
    season: int | None
    folds: int | None
    tokenizer: Path | None


def _compiled(model: ModelOptions, asked_for: _Asked, as_json: bool, quiet: bool) -> int:
    """Judge a compiled model by the recipe of its data that it has; it has no loss."""
    from nablac.commands.predict import predictor_of_compiled
    from runtime.evaluation.evaluation import Judging, evaluate
    from runtime.evaluation.recipe_data import PART, examples_by_recipe
    from runtime.evaluation.report_page import report_page

    if asked_for.data is None:
        raise click.UsageError("a compiled model has no data of its own: `--data FILE` names some")
    predictor, types = predictor_of_compiled(model, asked_for.tokenizer)
    data = examples_by_recipe(predictor, types, asked_for.data, asked_for.skip_broken)
    batch = 1 if data.padded else asked_for.batch or predictor.batch()  # padding may be read as text
    evaluation = evaluate(predictor, data, PART, Judging(batch, season=asked_for.season, folds=asked_for.folds))
    for line in evaluation.notes:
        note(line, quiet)
    facts = {"part": PART, "examples": len(data), "scaled": False, "figures": evaluation.to_json()}
    _print(predictor.name, evaluation, facts, {}, as_json)
    if asked_for.report is not None:
        html = report_page(predictor.name, evaluation, data, {}, evaluation.notes, (), footer(model.file))
        write_report(asked_for.report, html, facts)
        note(f"report:    {asked_for.report / PAGE}", quiet)
    return 0


def judged(training: Training, part: str, season: int | None, folds: int | None) -> Evaluation:
    """The figures of a part in the units of the data."""
    from compiler.reconstructions import reconstructions
    from compiler.target_uses import target_uses
    from runtime.evaluation.evaluation import Judging, evaluate
    from runtime.evaluation.part_outputs import predictor_of_training

    measured = target_uses(training.spec.loss, training.spec.targets).measured
    rebuilt = reconstructions(training.inference)
    judging = Judging(training.batch, training.padding, measured, rebuilt, season, folds)
    return evaluate(predictor_of_training(training), training.data, part, judging)


def _choose_part(data: Examples, asked_for: str | None) -> str:
    """Which part of the examples is evaluated: "all" becomes one too. UsageError for one without examples."""
    held = [name for name in ("test", "validation") if len(data.parts[name])]
    chosen = asked_for or next(iter(held), "all")
    if chosen == "all":
        import numpy as np

        data.parts["all"] = np.arange(len(data))
    elif not len(data.parts[chosen]):
        raise click.UsageError(f"there are no {chosen} examples; `--part all` takes every one")
    return chosen


def generated_scores(
    training: Training, part: str, beams: int, length_penalty: float
) -> tuple[dict[str, float], list[Generated]]:
    """BLEU and chrF of what an encoder-decoder model makes of the sources of a part, against the texts of the data.

    With the texts that are farthest from the true ones.
    """
    from runtime.evaluation.report_page import Generated
    from runtime.generation.generator import Generator, Request
    from runtime.text.scores import bleu, chrf

    data, tokenizer = training.data, training.data.tokenizer
    if tokenizer is None or len(data.inputs) != 2 or not data.texts:
        raise click.UsageError("--generate needs a model of pairs of texts")
    options = training.options
    weights = training.model_weights(training.first_state())
    generator = Generator.of_graph(training.inference.graph, weights, tokenizer, options.backend, options.device)
    sources, truths = zip(*(data.texts[row] for row in data.parts[part]), strict=True)
    longest = 2 * data.arrays[data.targets[0]].shape[1]
    texts = generator.generate(sources, Request(longest, beams=beams, length_penalty=length_penalty, batch=64))
    translations = [
        Generated(source, text, truth, chrf([text], [truth]))
        for source, text, truth in zip(sources, texts, truths, strict=True)
    ]
    worst = sorted(translations, key=lambda translation: translation.chrf)[:_MOST_GENERATED]
    return {"bleu": bleu(texts, truths), "chrf": chrf(texts, truths)}, worst
