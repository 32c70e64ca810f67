"""`nablac eval`: the loss and the metrics of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablac.commands.options import (
    PENALTY,
    ModelOptions,
    asked,
    model_options,
    output_options,
    run_options,
    weight_options,
    whole_number,
)
from nablac.commands.output import note, note_untrained, print_json
from nablac.commands.runs import DATA, MODEL, read_run

if TYPE_CHECKING:
    from runtime.data.examples import Examples
    from runtime.training.training_run import Training


@click.command()
@model_options
@run_options
@click.option(
    "--part",
    type=click.Choice(["training", "validation", "test", "all"]),
    help="The examples to evaluate.  [default: all of --data; else test, else validation, else all]",
)
@click.option("--data", type=click.Path(), help="Evaluate on this file instead of the train block's.")
@click.option("--batch", type=whole_number("batch"), help="Examples per batch.")
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
    skip_broken: bool,
    generate: bool,
    beams: int,
    length_penalty: float,
    tokenizer: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Evaluate a model on the data of its train block: its loss and metrics, each example counted alike.

    FILE may be a run's folder: its model, its weights, its own split of the data.
    """
    from nablac.commands.train import announce_data, note_batches, training_of
    from runtime.data.examples import digest
    from runtime.training.run_options import Options
    from runtime.training.unit_notes import figure_notes

    undivided = asked("data") and part in (None, "all")
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
    if generate:
        figures |= generated_scores(training, chosen, beams, length_penalty)
    units = figure_notes(training.inference, training.data)
    for each in units:
        note(each, quiet)
    if as_json:
        print_json({"part": chosen, "examples": len(training.data.parts[chosen]), "scaled": bool(units), **figures})
    else:
        click.echo(f"{training.name} on {len(training.data.parts[chosen]):,} examples ({chosen})")
        for name, value in figures.items():
            click.echo(f"  {name:<16} {value:.6g}")
    return 0


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


def generated_scores(training: Training, part: str, beams: int, length_penalty: float) -> dict[str, float]:
    """BLEU and chrF of what an encoder-decoder model makes of the sources of a part, against the texts of the data."""
    from runtime.generation.generator import Generator, Request
    from runtime.text.scores import bleu, chrf

    data, tokenizer = training.data, training.data.tokenizer
    if tokenizer is None or len(data.inputs) != 2 or not data.texts:
        raise click.UsageError("--generate needs a model of pairs of texts")
    options = training.options
    weights = training.model_weights(training.first_state())
    generator = Generator.of_graph(training.inference.graph, weights, tokenizer, options.backend, options.device)
    sources, truths = zip(*(data.texts[place] for place in data.parts[part]), strict=True)
    longest = 2 * data.arrays[data.targets[0]].shape[1]
    made = generator.generate(sources, Request(longest, beams=beams, length_penalty=length_penalty, batch=64))
    return {"bleu": bleu(made, truths), "chrf": chrf(made, truths)}
