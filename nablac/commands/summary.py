"""`nablac summary`: what a model is made of and what it costs."""

from __future__ import annotations

import sys

import click

from nablac.commands.compiled import compiled
from nablac.commands.options import ModelOptions, model_options, output_options
from nablac.commands.output import encodable, print_json, wants_color


@click.command()
@model_options
@click.option("--size", "sizes", multiple=True, metavar="NAME=N", help="The size of a named dim to count at.")
@output_options
def command(
    options: ModelOptions,
    sizes: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """The tree of layers: output shapes, parameters, floating-point operations, activation memory."""
    from nablac.summary import render_summary

    found = compiled(options).summarize(dict(_size(each) for each in sizes))
    if as_json:
        print_json(found.to_json())
    else:
        color = wants_color(sys.stdout)
        click.echo(encodable(render_summary(found, color=color), sys.stdout), color=color)
    return 0


def _size(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not sign or not number.strip().isdecimal() or int(number) < 1:
        raise click.UsageError(f"`--size {text}` is not a size; write it as `--size batch=8`")
    return name.strip(), int(number)
