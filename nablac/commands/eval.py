"""`nablac eval`: the loss and metrics of a trained model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import click

from nablac.commands.evaluation_report import PAGE, check_report, footer, write_report
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.option_types import Count, NamedPath, whole_number
from nablac.commands.options import beam_options, output_options, run_options, was_given
from nablac.commands.output import encodable, note, note_untrained, print_json, stage
from nablac.commands.runs import DATA, MODEL, read_run
from nablac.commands.training_notes import note_batchwise_loss, note_data
from nablac.commands.training_setup import set_up_training

if TYPE_CHECKING:
    from runtime.data.examples import Examples
    from runtime.evaluation.evaluation import Evaluation, ResultJson
    from runtime.evaluation.report_page import Generated
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training


class _Folds(click.IntRange):
    """A number of folds. It may be left out, so that FILE after the option is taken for it."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The number; UsageError for anything else."""
        try:
            return super().convert(value, parameter, context)
        except click.BadParameter:
            self.fail(f"{value!r} is not a number of folds; write FILE first: `nablac eval FILE --backtest`")


_MOST_GENERATED = 24  # texts in a report


@click.command()
@model_options
@run_options
@click.option(
    "--part",
    type=click.Choice(["training", "validation", "test", "all"]),
    help="Evaluate these examples.  [default: all with --data; else test, else validation, else all]",
)
@click.option("--data", type=NamedPath(as_text=True), help="Evaluate on this file instead of the train block's.")
@click.option(
    "--batch", type=whole_number("batch"), metavar="N", help="Examples per batch.  [default: from the train block]"
)
@click.option("--report", type=NamedPath(), metavar="DIR", help="Write report.html and report.json there.")
@click.option("--season", type=Count(1), metavar="N", help="Of a series: rows in a season.  [default: detected]")
@click.option(
    "--backtest",
    "folds",
    type=_Folds(1),
    metavar="FOLDS",
    is_flag=False,
    flag_value=5,
    help="Of a series: forecast the part in so many folds, each from the rows before it.  [default: 5 folds]",
)
@click.option("--skip-broken", is_flag=True, help="Skip broken rows and files, and report their number.")
@click.option("--generate", is_flag=True, help="Also generate from each source text, and report BLEU and chrF.")
@beam_options
@click.option(
    "--tokenizer",
    type=NamedPath(),
    metavar="FILE",
    help="Read the tokenizer of a text model from this file.  [default: the run's]",
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
    """Evaluate a model.

    Its loss and metrics, and figures in the units of the data: errors of numbers and of forecasts, compared with the
    last value and the last season; precision, recall, AUC and calibration of classes; perplexity of texts.

    FILE is a .model file, or the folder of a run, which is evaluated with its own weights on its own split of the data.
    The data is that of the train block, and every example has the same weight. FILE may be a .onnx file that was
    compiled from a run, too: onnxruntime computes the figures of `--data`.

    \b
    Example:
      nablac train forecaster --epochs 3
      nablac eval runs/forecaster/1
    """
    from runtime.data.examples import digest
    from runtime.evaluation.report_page import report_page
    from runtime.training.run_options import Options
    from runtime.training.unit_notes import has_scaled_figures

    if report is not None:
        check_report(report, model.files_read())
    if model.file.suffix == ".onnx":
        if generate or part not in (None, "all"):
            raise click.UsageError("of a compiled model, eval takes all of --data, and generates no texts")
        return _compiled(
            model, _CompiledRequest(data, batch, skip_broken, report, season, folds, tokenizer), as_json, quiet
        )
    file, undivided = model.file, was_given("data") and part in (None, "all")
    options = Options(
        batch=batch,
        seed=model.seed if was_given("seed") else None,  # None leaves it to the train block
        data=data,
        undivided=undivided,
        backend=model.backend,
        device=model.device,
        skip_broken=skip_broken,
    )
    run = read_run(model.file) if model.is_run else None
    if run is not None:
        model, options = run.model(model), run.recorded_options(options, DATA)
    training = _set_up(model, options, tokenizer, quiet)
    if run is not None and not any(was_given(name) for name in (*MODEL, *DATA)):
        hint = "its split would differ: `--data FILE` evaluates on other data"
        run.record.check_examples(digest(training.data), run.folder, hint)
    chosen = _choose_part(training.data, "all" if undivided else part)
    note_batchwise_loss(training)
    with stage("loss and metrics computed"):
        figures = training.evaluate(chosen)
    generated: list[Generated] = []
    if generate:
        scores, generated = generated_scores(training, chosen, beams, length_penalty)
        figures |= scores
    scaled = has_scaled_figures(training.inference, training.data)
    with stage("figures computed"):
        evaluation = evaluate_part(training, chosen, season, folds)
    for line in evaluation.notes:
        note(f"note: {line}", quiet)
    count = len(training.data.parts[chosen])
    facts = {"part": chosen, "examples": count, "scaled": scaled, **figures, "figures": evaluation.to_json()}
    _print(training.name, evaluation, facts, figures, as_json)
    if report is not None:
        notes = [*(["the loss and the metrics are in scaled units"] if scaled else []), *evaluation.notes]
        html = report_page(training.name, evaluation, training.data, figures, notes, generated, footer(file))
        _write_report(report, html, facts, quiet)
    return 0


def _set_up(model: ModelOptions, options: Options, tokenizer: Path | None, quiet: bool) -> Training:
    """The training that is evaluated, with its data read."""
    training = set_up_training(model, options, evaluated=True, tokenizer=tokenizer)
    training.keeps_raw = True
    with stage("data read"):
        training.data  # noqa: B018 - reads it
    if model.weights is None:
        note_untrained(quiet)
    if not quiet:
        note_data(training)
    return training


def _write_report(folder: Path, html: str, facts: dict[str, Any], quiet: bool) -> None:
    write_report(folder, html, facts)
    note(f"report:    {folder / PAGE}", quiet)


class EvalJson(TypedDict):
    """How good a model is; beside these keys the loss and the metrics by name, with `--generate` `bleu` and `chrf`."""

    part: Annotated[str, "`test`, `validation`, `training` or `all`"]
    examples: Annotated[int, "how many are in it"]
    scaled: Annotated[bool, "whether the loss and the metrics are in scaled units"]
    figures: Annotated[dict[str, ResultJson], "by target, in the units of the data"]


def _print(name: str, evaluation: Evaluation, facts: dict[str, Any], figures: dict[str, float], as_json: bool) -> None:
    from runtime.evaluation.figures_text import evaluation_lines

    if as_json:
        print_json(facts)
        return
    count = facts["examples"]
    units = "; loss and metrics in scaled units, as in training" if facts["scaled"] else ""
    click.echo(f"{name} on {count:,} example{'' if count == 1 else 's'} ({evaluation.part}){units}")
    width = max(map(len, figures), default=0)
    for key, value in figures.items():
        click.echo(f"  {key:<{max(width, 16)}} {value:.6g}")
    for line in evaluation_lines(evaluation):
        click.echo(encodable(line, sys.stdout))


@dataclass(frozen=True)
class _CompiledRequest:
    """What a user may say of the evaluation of a compiled model."""

    data: str | None
    batch: int | None
    skip_broken: bool
    report: Path | None
    season: int | None
    folds: int | None
    tokenizer: Path | None


def _compiled(model: ModelOptions, request: _CompiledRequest, as_json: bool, quiet: bool) -> int:
    """Evaluate a compiled model by the recipe of its data that it has; it has no loss."""
    from nablac.commands.predictor_setup import set_up_compiled_predictor
    from nablac.commands.training_notes import note_reading
    from runtime.evaluation.evaluation import EvaluationSettings, evaluate
    from runtime.evaluation.recipe_data import PART, examples_by_recipe, padding_by_types
    from runtime.evaluation.report_page import report_page

    if request.data is None:
        raise click.UsageError("a compiled model has no data of its own: `--data FILE` names some")
    predictor, types = set_up_compiled_predictor(model, request.tokenizer)
    data, context = examples_by_recipe(predictor, types, request.data, request.skip_broken)
    note_reading(context)
    batch = 1 if data.padded else request.batch or predictor.batch()  # padding may be read as text
    evaluation = evaluate(
        predictor,
        data,
        PART,
        EvaluationSettings(batch, padding_by_types(predictor, data), season=request.season, folds=request.folds),
    )
    for line in evaluation.notes:
        note(f"note: {line}", quiet)
    facts = {"part": PART, "examples": len(data), "scaled": False, "figures": evaluation.to_json()}
    _print(predictor.name, evaluation, facts, {}, as_json)
    if request.report is not None:
        html = report_page(predictor.name, evaluation, data, {}, evaluation.notes, (), footer(model.file))
        _write_report(request.report, html, facts, quiet)
    return 0


def evaluate_part(training: Training, part: str, season: int | None, folds: int | None) -> Evaluation:
    """The figures of a part in the units of the data."""
    from compiler.reconstructions import reconstructions
    from compiler.target_uses import target_uses
    from runtime.evaluation.evaluation import EvaluationSettings, evaluate
    from runtime.evaluation.part_outputs import predictor_of_training

    measured = target_uses(training.spec.loss, training.spec.targets).measured
    rebuilt = reconstructions(training.inference)
    settings = EvaluationSettings(training.batch, training.padding, measured, rebuilt, season, folds)
    return evaluate(predictor_of_training(training), training.data, part, settings)


def _choose_part(data: Examples, part: str | None) -> str:
    """The part of the examples to evaluate; "all" is added to the parts. UsageError for a part without examples."""
    held_out = [name for name in ("test", "validation") if len(data.parts[name])]
    chosen = part or next(iter(held_out), "all")
    if chosen == "all":
        import numpy as np

        data.parts["all"] = np.arange(len(data))
    elif not len(data.parts[chosen]):
        raise click.UsageError(f"there are no {chosen} examples; `--part all` evaluates all examples")
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
        raise click.UsageError("--generate needs a model trained on pairs of texts")
    options = training.options
    weights = training.model_weights(training.first_state())
    generator = Generator.of_graph(training.inference.graph, weights, tokenizer, options.backend, options.device)
    sources, references = zip(*(data.texts[row] for row in data.parts[part]), strict=True)
    longest = 2 * data.arrays[data.targets[0]].shape[1]
    texts = generator.generate(sources, Request(longest, beams=beams, length_penalty=length_penalty, batch=64))
    translations = [
        Generated(source, text, truth, chrf([text], [truth]))
        for source, text, truth in zip(sources, texts, references, strict=True)
    ]
    worst = sorted(translations, key=lambda translation: translation.chrf)[:_MOST_GENERATED]
    return {"bleu": bleu(texts, references), "chrf": chrf(texts, references)}, worst
