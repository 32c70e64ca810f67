"""`nablac summary`: the layers of a model and their cost."""

from __future__ import annotations

import sys

import click

from nablac.commands.model_options import ModelOptions, model_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.options import output_options, size_option
from nablac.commands.output import encodable, print_json, wants_color


@click.command()
@model_options
@size_option("Count at this size of a named dim.")
@output_options
def command(
    options: ModelOptions,
    sizes: dict[str, int],
    as_json: bool,
    quiet: bool,
) -> int:
    """Show a model's layers, shapes and cost.

    Lists the tree of layers with output shapes, parameters and floating-point operations, and the memory of
    activations.

    \b
    Example:
      nablac summary lstm
    """
    from nablac.model_summary import render_summary

    summary = set_up_model(options).summarize(sizes)
    if as_json:
        print_json(summary.to_json())
    else:
        color = wants_color(sys.stdout)
        click.echo(encodable(render_summary(summary, color=color), sys.stdout), color=color)
    return 0
