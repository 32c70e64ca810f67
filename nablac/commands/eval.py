"""`nablac eval`: the loss and the metrics of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nablac.commands.options import model_options, output_options, run_options, weight_options
from nablac.commands.output import print_json


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
@weight_options
@output_options
def command(file: Path, part: str | None, **given: Any) -> int:
    """Evaluate a model on the data of its train block: its loss and metrics, each example counted alike."""
    from nablac.commands.train import training_of

    training = training_of(file, given)
    counts = {name: len(places) for name, places in training.data.parts.items()}
    chosen = part or next((name for name in ("test", "validation") if counts[name]), "all")
    if chosen == "all":
        import numpy as np

        training.data.parts["all"] = np.arange(len(training.data))
    elif not counts[chosen]:
        raise click.UsageError(f"there are no {chosen} examples; `--part all` takes every one")
    found = training.loop().evaluate(training.batches(chosen))
    if given["as_json"]:
        print_json({"part": chosen, "examples": len(training.data.parts[chosen]), **found})
    else:
        click.echo(f"{training.name} on {len(training.data.parts[chosen]):,} examples ({chosen})")
        for name, value in found.items():
            click.echo(f"  {name:<16} {value:.6g}")
    return 0
