"""`nablac draw`: a picture of a model."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.options import compiled, model_options, output_options
from nablac.commands.output import note

ENDINGS = {".svg": "svg", ".html": "html", ".mmd": "mermaid", ".dot": "dot"}


@click.command()
@model_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; its ending chooses the format.  [default: NAME.svg]",
)
@click.option("--format", "form", type=click.Choice(list(ENDINGS.values())), help="The format, whatever the ending.")
@output_options
def command(
    file: Path,
    name: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    dtype: str,
    output: Path | None,
    form: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw a model: layers as boxes, shapes on the edges. HTML opens in a browser and folds layers.

    Mermaid and DOT go to standard output where no -o names a file.
    """
    from nablac.drawing import draw
    from runtime.files import write_bytes

    if form is None:
        ending = output.suffix if output is not None else ".svg"
        if ending not in ENDINGS:
            raise click.UsageError(f"`{ending}` is no picture; the endings are {', '.join(ENDINGS)}")
        form = ENDINGS[ending]
    text = draw(compiled(file, name, preset, settings, dtype).graph, form)
    if output is None and form in ("mermaid", "dot"):
        click.echo(text)
        return 0
    target = output or file.with_suffix(next(ending for ending, each in ENDINGS.items() if each == form))
    write_bytes(target, text.encode())
    note(f"{target} written", quiet)
    return 0
