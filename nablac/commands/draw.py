"""`nablac draw`: a model as a picture or as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from grammar import codes
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import choose_model, set_up_model
from nablac.commands.option_types import Count, NamedPath
from nablac.commands.options import output_options
from nablac.commands.output import FileJson, TextJson, note, print_json, stage
from nablac.output_suffixes import check_suffix

if TYPE_CHECKING:
    from compiler.graph import Graph
    from compiler.model_spec import ModelSpec

_PICTURES = {".svg": "SVG", ".html": "HTML", ".mmd": "Mermaid", ".mermaid": "Mermaid", ".dot": "DOT", ".gv": "DOT"}
KINDS = {**_PICTURES, ".txt": "text"}


class PrintedPictureJson(TextJson):
    """A picture that would be printed."""

    kind: Annotated[str, "`Mermaid`"]
    boxes: Annotated[int, "how many are in it"]
    depth: Annotated[int, "how many levels of layers are open"]


class PictureJson(FileJson):
    """A picture as a file."""

    kind: Annotated[str, "`SVG`, `HTML`, `Mermaid` or `DOT`"]
    boxes: Annotated[int, "how many are in it"]
    depth: Annotated[int, "how many levels of layers are open"]


class TextFileJson(FileJson):
    """A model as a text."""

    kind: Annotated[str, "`text` or `LaTeX`"]


class AttentionJson(FileJson):
    """The attention of a text, as a picture."""

    layer: Annotated[str, "its path"]
    rows: Annotated[list[str], "the tokens that attend"]
    columns: Annotated[list[str], "the tokens that are attended to"]


@click.command()
@model_options
@click.option("-o", "--output", type=NamedPath(), help="Write to a .svg, .html, .mmd, .dot or .txt file.")
@click.option("--depth", type=Count(0), metavar="N", help="Open layers to this depth.  [default: about 40 boxes]")
@click.option("--optimised", is_flag=True, help="Draw the graph after optimisation, as it is run and exported.")
@click.option("--latex", is_flag=True, help="Print the equations of the model, in inference mode, in LaTeX instead.")
@click.option("--attention", metavar="TEXT", help="Draw a text model's attention on this text.")
@click.option(
    "--layer", metavar="PATH", help="Draw this attention layer.  [default: the last that attends to another sequence]"
)
@click.option(
    "--tokenizer",
    type=NamedPath(),
    metavar="FILE",
    help="Read the tokenizer from a tokenizer.json or vocab.txt.",
)
@weight_options
@output_options
def command(
    options: ModelOptions,
    output: Path | None,
    depth: int | None,
    optimised: bool,
    latex: bool,
    attention: str | None,
    layer: str | None,
    tokenizer: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Draw a model as SVG, HTML, Mermaid or DOT.

    Shows layers, operators and shapes. The suffix of -o selects the format; without -o, prints Mermaid. Layers in an
    .html file open and close on a click, and the file is self-contained. A .txt file lists one operator per line with
    its type and source location, in a stable order, so that two of them can be compared.

    With --attention, FILE is the folder of a run (`runs/translate/1`), or a .model file with --weights and --tokenizer,
    and -o is an .svg file.

    \b
    Example:
      nablac draw lstm -o lstm.svg
    """
    from runtime.outputs import check_output

    if output is not None:
        check_output(output, reads=[*options.files_read(), *([tokenizer] if tokenizer is not None else [])])
    if attention is not None:
        return _draw_attention(options, attention, layer, output, tokenizer, as_json, quiet)
    if latex:
        return _print_latex(options, output, optimised or depth is not None, as_json, quiet)
    from compiler.dump import dump
    from compiler.passes.pipeline import optimize
    from runtime.atomic_files import write_bytes

    if output is not None and output.suffix.lower() not in KINDS:
        raise click.UsageError(
            f"`{output.suffix or output}` is not a picture format; the formats are {', '.join(KINDS)}"
        )
    graph = _graph(options)
    if optimised:
        with stage("optimised"):
            graph = optimize(graph)
    if output is not None and output.suffix.lower() == ".txt":
        write_bytes(output, dump(graph, origins=True).encode())
        if as_json:
            print_json(TextFileJson(output=str(output), kind="text"))
        else:
            note(f"{output}: {graph.name} as text", quiet)
        return 0
    kind = KINDS[output.suffix.lower()] if output is not None else "Mermaid"
    with stage("drawn"):
        text, count, depth = _picture(graph, kind, depth)
    if output is None:
        facts = PrintedPictureJson(kind=kind, boxes=count, depth=depth, text=text)
        print_json(facts) if as_json else click.echo(text, nl=False)
        return 0
    write_bytes(output, text.encode())
    if as_json:
        print_json(PictureJson(output=str(output), kind=kind, boxes=count, depth=depth))
    else:
        note(f"{output}: {graph.name} as {kind}, {count} boxes, layers open {depth} deep", quiet)
    return 0


def _print_latex(options: ModelOptions, output: Path | None, of_a_picture: bool, as_json: bool, quiet: bool) -> int:
    """Print the equations of a model, or write them to a file."""
    from compiler.formulas.latex import latex_of
    from compiler.formulas.model_equations import model_equations
    from runtime.atomic_files import write_bytes

    if of_a_picture:
        raise click.UsageError("--depth and --optimised are for pictures: leave out --latex")
    if output is not None:
        check_suffix(output, "LaTeX")
    spec = _spec(options)
    graph = spec.graph
    text = latex_of(model_equations(graph).replace(mode=spec.mode))
    if output is None:
        print_json(TextJson(text=text)) if as_json else click.echo(text, nl=False)
        return 0
    write_bytes(output, text.encode())
    if as_json:
        print_json(TextFileJson(output=str(output), kind="LaTeX"))
    else:
        note(f"{output}: {graph.name} as LaTeX", quiet)
    return 0


def _graph(options: ModelOptions) -> Graph:
    """The graph of a model as written; for a run, with inputs and outputs in raw units."""
    return _spec(options).graph


def _spec(options: ModelOptions) -> ModelSpec:
    """A model as written, in inference mode; for a run, with inputs and outputs in raw units."""
    from compiler.elaborate.models import TextSource
    from compiler.elaborate.presets import parse_settings
    from compiler.elaborate.program import load
    from compiler.model_spec import ModelSpec
    from compiler.types import DType

    if options.is_run:
        trained = set_up_model(replace(options, weights=None, rename=()))
        return ModelSpec(trained.elaborated, mode=trained.spec.mode)
    hypers = parse_settings(options.set)
    with stage(f"{options.file}: read"):
        program = load(options.file)
    model = choose_model(program, options.model)
    with stage("elaborated"):
        return TextSource(program, model, options.preset, hypers, DType(options.dtype)).spec(training=False)


def _picture(graph: Graph, kind: str, depth: int | None) -> tuple[str, int, int]:
    """The text of a picture, its number of boxes, and the depth to which its layers are open."""
    from nablac.drawing.outline import close_below, every_box, outline, readable_depth

    whole = outline(graph)
    depth = readable_depth(whole) if depth is None else depth
    drawn = close_below(whole, depth)
    if kind == "SVG":
        from nablac.drawing.svg import svg

        text = svg(drawn, graph.name)
    elif kind == "HTML":
        from nablac.drawing.html import html

        text = html(whole, graph.name, depth)
    else:
        from nablac.drawing.text import dot, mermaid

        text = mermaid(drawn) if kind == "Mermaid" else dot(drawn, graph.name)
    return text, sum(1 for _ in every_box(drawn)), depth


def _draw_attention(
    options: ModelOptions,
    text: str,
    layer: str | None,
    output: Path | None,
    tokenizer_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    from grammar.diagnostics import Diagnostic, NablacError
    from nablac.commands.text_model import text_model
    from nablac.drawing.attention_map import attention_svg
    from runtime.atomic_files import write_bytes
    from runtime.generation.attention_weights import attention_of
    from runtime.generation.generator import STEP

    if output is None or output.suffix.lower() != ".svg":
        raise click.UsageError("attention is drawn as SVG: add `-o attention.svg`")
    file = options.file
    if not file.exists():
        raise NablacError(Diagnostic(codes.E901, f"there is no file {file}", place=str(file)))
    if file.suffix == ".onnx" or (file / STEP).is_file():
        raise click.UsageError(
            f"{file} is compiled, and its attention is one operator: give the run's folder, or the .model file"
        )
    model, tokenizer = text_model(options, tokenizer_file)
    maps = attention_of(model.elaborated, model.read_weights(), tokenizer, text, layer)
    write_bytes(output, attention_svg(maps.weights, maps.rows, maps.columns, f"{model.name}: {maps.layer}").encode())
    if as_json:
        rows, columns = list(maps.rows), list(maps.columns)
        print_json(AttentionJson(output=str(output), layer=maps.layer, rows=rows, columns=columns))
        return 0
    if maps.text:
        click.echo(maps.text)
    note(f"{output}: {maps.layer}, {_counted(len(maps.rows))} to {len(maps.columns)}", quiet)
    return 0


def _counted(tokens: int) -> str:
    return "1 token that attends" if tokens == 1 else f"{tokens} tokens that attend"
