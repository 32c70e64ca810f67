"""`nablac grad`: export the gradients of a model's loss to ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.model_setup import set_up_model
from nablac.commands.options import ModelOptions, model_options, output_options, weight_options
from nablac.commands.output import print_json


@click.command()
@model_options
@click.option(
    "--wrt",
    multiple=True,
    metavar="PATTERN",
    help="Differentiate with respect to the parameters and float inputs that match. Can be repeated.  [default: all]",
)
@click.option(
    "--hvp", is_flag=True, help="Also export Hessian-vector products: inputs `along.NAME`, outputs `hvp.NAME`."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.  [default: NAME.grad.onnx]")
@click.option(
    "--opset", type=int, metavar="N", help="Target this ONNX opset.  [default: the lowest that supports the graph]"
)
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
    """Export a model's gradients to ONNX.

    The inputs are the batch and the targets; the outputs are `loss` and a `grad.NAME` for each parameter and float
    input that --wrt selects.

    \b
    Example:
      nablac grad lstm -o gradient.onnx
    """
    import onnx

    from compiler.passes.rules import is_everywhere
    from grammar.file_kinds import ONNX
    from runtime.outputs import check_output

    target = output or options.beside(".grad.onnx")
    check_output(target, ONNX, options.files_read())
    model = set_up_model(options)
    gradient = model.gradient(wrt or "*", second=hvp)
    proto = gradient.onnx(opset)
    onnx.checker.check_model(proto, full_check=True)
    gradient.to_onnx(target, opset)
    outputs = {key: str(value.type) for key, value in gradient.graph.outputs.items()}
    if as_json:
        print_json({"output": str(target), "outputs": outputs})
    if as_json or quiet:
        return 0
    click.echo(f"{target}: {gradient.name}, {len(proto.graph.node)} nodes")
    for key, type in outputs.items():
        zero = ", always 0: no gradient reaches it" if is_everywhere(gradient.graph.outputs[key], 0) else ""
        click.echo(f"  {key}: {type}{zero}")
    return 0
