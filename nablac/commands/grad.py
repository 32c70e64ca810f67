"""`nablac grad`: the gradient of a model's loss as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.compiled import compiled
from nablac.commands.options import ModelOptions, model_options, output_options, weight_options
from nablac.commands.output import print_json


@click.command()
@model_options
@click.option("--wrt", multiple=True, metavar="PATTERN", help="The parameters and float inputs.  [default: all]")
@click.option("--hvp", is_flag=True, help="Also Hessian-vector products: `along.NAME` in, `hvp.NAME` out.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The ONNX file.  [default: NAME.grad.onnx]")
@click.option("--opset", type=int, help="The ONNX opset.  [default: the lowest that it needs]")
@weight_options
@output_options
def command(
    options: ModelOptions,
    wrt: tuple[str, ...],
    hvp: bool,
    output: Path | None,
    opset: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write a model's loss and its gradients as ONNX: the batch and the targets in, `loss` and `grad.NAME` out."""
    import onnx

    from compiler.passes.rules import is_everywhere
    from grammar.file_kinds import ONNX
    from runtime.outputs import check_output

    target = output or options.beside(".grad.onnx")
    check_output(target, ONNX, options.files_read())
    model = compiled(options)
    made = model.gradient(wrt or "*", second=hvp)
    proto = made.onnx(opset)
    onnx.checker.check_model(proto, full_check=True)
    made.to_onnx(target, opset)
    outputs = {key: str(value.type) for key, value in made.graph.outputs.items()}
    if as_json:
        print_json({"output": str(target), "outputs": outputs})
    if as_json or quiet:
        return 0
    click.echo(f"{target}: {made.name}, {len(proto.graph.node)} nodes")
    for key, type in outputs.items():
        zero = ", always 0: no gradient reaches it" if is_everywhere(made.graph.outputs[key], 0) else ""
        click.echo(f"  {key}: {type}{zero}")
    return 0
