"""`nablac eval`: the loss and the metrics of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.options import model_options, output_options, run_options, weight_options
from nablac.commands.output import print_json

if TYPE_CHECKING:
    from runtime.training.session import Training


@click.command()
@model_options
@run_options
@click.option(
    "--part",
    type=click.Choice(["training", "validation", "test", "all"]),
    help="Which examples.  [default: test, else validation, else all]",
)
@click.option("--data", type=click.Path(), help="Data in the place of the file that the train block names.")
@click.option("--batch", type=click.IntRange(1), help="Examples at a time.")
@click.option("--skip-broken", is_flag=True, help="Leave out broken rows and files, and count them.")
@click.option("--generate", is_flag=True, help="Generate from each source, and score the texts: BLEU and chrF.")
@weight_options
@output_options
def command(file: Path, part: str | None, generate: bool, **given: Any) -> int:
    """Evaluate a model on the data of its train block: its loss and metrics, each example counted alike."""
    from nablac.commands.train import training_of
    from runtime.data.fitted import read_fitted

    training = training_of(file, given)
    if given["weights"] is not None:  # of a run's folder: its data was scaled and numbered as it says there
        training.fitted = read_fitted(given["weights"].parent)
    counts = {name: len(places) for name, places in training.data.parts.items()}
    chosen = part or next((name for name in ("test", "validation") if counts[name]), "all")
    if chosen == "all":
        import numpy as np

        training.data.parts["all"] = np.arange(len(training.data))
    elif not counts[chosen]:
        raise click.UsageError(f"there are no {chosen} examples; `--part all` takes every one")
    found = training.loop().evaluate(training.batches(chosen))
    if generate:
        found |= generated_scores(training, chosen)
    if given["as_json"]:
        print_json({"part": chosen, "examples": len(training.data.parts[chosen]), **found})
    else:
        click.echo(f"{training.name} on {len(training.data.parts[chosen]):,} examples ({chosen})")
        for name, value in found.items():
            click.echo(f"  {name:<16} {value:.6g}")
    return 0


def generated_scores(training: Training, part: str) -> dict[str, float]:
    """BLEU and chrF of what an encoder-decoder model makes of the sources of a part, greedily."""
    from runtime.generation.generator import Generator, Request
    from runtime.text.scores import bleu, chrf

    data, tokenizer = training.data, training.data.tokenizer
    if tokenizer is None or len(data.inputs) != 2 or len(data.targets) != 1 or not data.padded:
        raise click.UsageError("--generate takes a model of pairs of texts")
    options = training.options
    weights = training.model_weights(training.first_state())
    generator = Generator.of_graph(training.inference.graph, weights, tokenizer, options.backend, options.device)
    assert generator.source is not None
    (target,) = data.targets
    rows = [(data.arrays[generator.source][place], data.arrays[target][place]) for place in data.parts[part]]
    texts = [(tokenizer.decode(source[source > 0]), tokenizer.decode(true[true > 0])) for source, true in rows]
    texts = [pair for pair in texts if all(pair)]
    made = generator.generate([source for source, _ in texts], Request(2 * data.arrays[target].shape[1]))
    truths = [true for _, true in texts]
    return {"bleu": bleu(made, truths), "chrf": chrf(made, truths)}
