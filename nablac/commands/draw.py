"""`nablac draw`: a model as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.options import model_options, output_options
from nablac.commands.output import note, print_json

KINDS = {".svg": "SVG", ".html": "HTML", ".mmd": "Mermaid", ".mermaid": "Mermaid", ".dot": "DOT", ".gv": "DOT"}


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A .svg, .html, .mmd or .dot file.")
@click.option("--depth", type=click.IntRange(0), help="Open layers so deep.  [default: about 40 boxes]")
@output_options
def command(
    file: Path,
    name: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    dtype: str,
    output: Path | None,
    depth: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw a model: its layers, operators and shapes. Without -o, as Mermaid text on stdout.

    An .html file opens and closes layers by a click; nothing in it is loaded from elsewhere.
    """
    from compiler.build import elaborate, load, parse_setting
    from compiler.types import DType
    from nablac.drawing.outline import close_below, every_box, outline, readable_depth
    from nablac.drawing.text import dot, mermaid
    from runtime.files import write_bytes

    if output is not None and output.suffix.lower() not in KINDS:
        raise click.UsageError(f"`{output.suffix or output}` is no kind of picture; the kinds are {', '.join(KINDS)}")
    hypers = dict(parse_setting(each) for each in settings)
    graph = elaborate(load(file), model=name, preset=preset, hypers=hypers, dtype=DType(dtype))
    whole = outline(graph)
    depth = readable_depth(whole) if depth is None else depth
    drawn = close_below(whole, depth)
    kind = KINDS[output.suffix.lower()] if output is not None else "Mermaid"
    if kind == "SVG":
        from nablac.drawing.svg import svg

        text = svg(drawn, graph.name)
    elif kind == "HTML":
        from nablac.drawing.html import html

        text = html(whole, graph.name, depth)
    else:
        text = mermaid(drawn) if kind == "Mermaid" else dot(drawn, graph.name)
    if output is None:
        click.echo(text, nl=False)
        return 0
    write_bytes(output, text.encode())
    count = sum(1 for _ in every_box(drawn))
    if as_json:
        print_json({"output": str(output), "kind": kind, "boxes": count, "depth": depth})
    else:
        note(f"{output}: {graph.name} as {kind}, {count} boxes, layers open {depth} deep", quiet)
    return 0
