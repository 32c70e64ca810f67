"""`nablac eval`: the loss and metrics of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablac.commands.options import (
    PENALTY,
    ModelOptions,
    model_options,
    output_options,
    run_options,
    was_given,
    weight_options,
    whole_number,
)
from nablac.commands.output import note, note_untrained, print_json
from nablac.commands.runs import DATA, MODEL, read_run
from nablac.commands.training_setup import note_batchwise_loss, note_data, set_up_training

if TYPE_CHECKING:
    from runtime.data.examples import Examples
    from runtime.training.training_run import Training


@click.command()
@model_options
@run_options
@click.option(
    "--part",
    type=click.Choice(["training", "validation", "test", "all"]),
    help="Evaluate these examples.  [default: all with --data; else test, else validation, else all]",
)
@click.option("--data", type=click.Path(), help="Evaluate on this file instead of the train block's.")
@click.option(
    "--batch", type=whole_number("batch"), metavar="N", help="Examples per batch.  [default: from the train block]"
)
@click.option("--skip-broken", is_flag=True, help="Skip broken rows and files, and report their number.")
@click.option("--generate", is_flag=True, help="Also generate from each source text, and report BLEU and chrF.")
@click.option(
    "--beams",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="Generate by beam search with N beams.",
)
@click.option(
    "--length-penalty",
    type=PENALTY,
    default=1.0,
    show_default=True,
    metavar="X",
    help="Length penalty of beam search; above 0 favours long texts.",
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
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
    skip_broken: bool,
    generate: bool,
    beams: int,
    length_penalty: float,
    tokenizer: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Evaluate a model's loss and metrics.

    FILE is a .model file, or the folder of a run, which is evaluated with its own weights on its own split of the data.
    The data is that of the train block, and every example has the same weight.
    """
    from runtime.data.examples import digest
    from runtime.training.run_options import Options
    from runtime.training.unit_notes import figure_notes

    undivided = was_given("data") and part in (None, "all")
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
    training = set_up_training(model, options, evaluated=True, tokenizer=tokenizer)
    if model.weights is None:
        note_untrained(quiet)
    if not quiet:
        note_data(training)
    if run is not None and not any(was_given(name) for name in (*MODEL, *DATA)):
        hint = "its split would differ: `--data FILE` evaluates on other data"
        run.record.check_examples(digest(training.data), run.folder, hint)
    chosen = _choose_part(training.data, "all" if undivided else part)
    note_batchwise_loss(training)
    figures = training.evaluate(chosen)
    if generate:
        figures |= generated_scores(training, chosen, beams, length_penalty)
    units = figure_notes(training.inference, training.data)
    for text in units:
        note(text, quiet)
    if as_json:
        print_json({"part": chosen, "examples": len(training.data.parts[chosen]), "scaled": bool(units), **figures})
    else:
        click.echo(f"{training.name} on {len(training.data.parts[chosen]):,} examples ({chosen})")
        for name, value in figures.items():
            click.echo(f"  {name:<16} {value:.6g}")
    return 0


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


def generated_scores(training: Training, part: str, beams: int, length_penalty: float) -> dict[str, float]:
    """BLEU and chrF of an encoder-decoder model: its texts for the sources of a part, against those of the data."""
    from runtime.generation.generator import Generator, Request
    from runtime.text.scores import bleu, chrf

    data, tokenizer = training.data, training.data.tokenizer
    if tokenizer is None or len(data.inputs) != 2 or not data.texts:
        raise click.UsageError("--generate needs a model trained on pairs of texts")
    options = training.options
    weights = training.model_weights(training.first_state())
    generator = Generator.of_graph(training.inference.graph, weights, tokenizer, options.backend, options.device)
    sources, references = zip(*(data.texts[index] for index in data.parts[part]), strict=True)
    longest = 2 * data.arrays[data.targets[0]].shape[1]
    texts = generator.generate(sources, Request(longest, beams=beams, length_penalty=length_penalty, batch=64))
    return {"bleu": bleu(texts, references), "chrf": chrf(texts, references)}
