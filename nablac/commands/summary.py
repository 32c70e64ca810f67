"""`nablac summary`: the layers of a model and their cost."""

from __future__ import annotations

import sys

import click

from nablac.commands.model_setup import set_up_model
from nablac.commands.options import ModelOptions, model_options, output_options
from nablac.commands.output import encodable, print_json, wants_color


@click.command()
@model_options
@click.option(
    "--size", "sizes", multiple=True, metavar="NAME=N", help="Count at this size of a named dim. Can be repeated."
)
@output_options
def command(
    options: ModelOptions,
    sizes: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Show a model's layers, shapes and cost.

    Lists the tree of layers with output shapes, parameters and floating-point operations, and the memory of
    activations.
    """
    from nablac.model_summary import render_summary

    summary = set_up_model(options).summarize(dict(_parse_size(text) for text in sizes))
    if as_json:
        print_json(summary.to_json())
    else:
        color = wants_color(sys.stdout)
        click.echo(encodable(render_summary(summary, color=color), sys.stdout), color=color)
    return 0


def _parse_size(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not sign or not number.strip().isdecimal() or int(number) < 1:
        raise click.UsageError(f"`--size {text}` is not a size; write it as `--size batch=8`")
    return name.strip(), int(number)
