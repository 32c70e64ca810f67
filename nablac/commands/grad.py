"""`nablac grad`: the gradients of a model's loss as ONNX, or as equations to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from compiler.targets import EXPORT_TARGETS, ORT_CPU
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.option_types import NamedPath
from nablac.commands.options import output_options
from nablac.commands.output import FileJson, TextJson, note, print_json
from nablac.commands.target_options import target_options
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
from nablac.output_suffixes import check_suffix


class GradientFileJson(TargetJson):
    """The gradients as one file."""

    output: Annotated[str, "the file"]
    mode: Annotated[str | None, "`inference` or `training`; null where both are the same"]
    outputs: Annotated[dict[str, str], "types by name"]


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
@click.option(
    "--training",
    is_flag=True,
    help="Differentiate the loss of training, with dropout and the statistics of the batch.  [default: of inference]",
)
@click.option("--text", "as_text", is_flag=True, help="Print the gradients as equations instead.")
@click.option("--latex", is_flag=True, help="Print the gradients as equations in LaTeX instead.")
@click.option(
    "-o",
    "--output",
    type=NamedPath(),
    help="Write to this file.  [default: NAME.grad.onnx; stdout for --text and --latex]",
)
@target_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    wrt: tuple[str, ...],
    hvp: bool,
    training: bool,
    as_text: bool,
    latex: bool,
    output: Path | None,
    target_name: str,
    opset: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Export a model's gradients to ONNX, or print them.

    The inputs are the batch and the targets; the outputs are `loss` and a `grad.NAME` for each parameter and float
    input that --wrt selects. With --text the gradients are equations in the names of the model, from the loss
    backwards; docs/gradients.md says how to read them.

    They are those of the loss in inference mode: without dropout, and with running statistics as constants. With
    --training they are those that the model is trained with; a file of a model that draws random numbers then has the
    input `seed` too. Running statistics are not updated: `nablac compile --train --split` exports all of a step.

    \b
    Example:
      nablac grad lstm --text
    """
    if as_text or latex:
        if as_text and latex:
            raise click.UsageError("choose one of --text and --latex")
        has_target = target_name != ORT_CPU.name
        if hvp or has_target or opset is not None:
            option = "--hvp" if hvp else "--target" if has_target else "--opset"
            raise click.UsageError(f"{option} is for ONNX files: leave out {'--text' if as_text else '--latex'}")
        return _print_equations(options, wrt, training, latex, output, as_json, quiet)
    import onnx

    from compiler.model_spec import Mode
    from compiler.passes.rules import is_everywhere
    from grammar.file_kinds import ONNX
    from runtime.outputs import check_output

    path, target = output or options.beside(".grad.onnx"), EXPORT_TARGETS[target_name]
    check_output(path, ONNX, options.files_read())
    check_suffix(path, "ONNX")
    model = set_up_model(options)
    gradient = model.gradient(wrt or "*", second=hvp, training=training)
    proto = gradient.onnx(opset, target=target)
    onnx.checker.check_model(proto, full_check=True)
    gradient.to_onnx(path, opset, target=target)
    reported = target_facts(target, [proto])
    outputs = {key: str(value.type) for key, value in gradient.graph.outputs.items()}
    if as_json:
        facts: GradientFileJson = {**reported, "output": str(path), "mode": gradient.spec.mode, "outputs": outputs}
        print_json(facts)
    if as_json or quiet:
        return 0
    mode = f" in {gradient.spec.mode} mode" if gradient.spec.mode is not None else ""
    click.echo(f"{path}: {gradient.name}{mode}, {len(proto.graph.node)} nodes, for {target.name}")
    say_what_leaves(target, reported["leaving"])
    for key, type in outputs.items():
        zero = ", always 0: no gradient reaches it" if is_everywhere(gradient.graph.outputs[key], 0) else ""
        click.echo(f"  {key}: {type}{zero}")
    if gradient.spec.mode is Mode.INFERENCE:
        note("note: this model computes something else in training: --training exports the gradient of that")
    return 0


def _print_equations(
    options: ModelOptions,
    wrt: tuple[str, ...],
    training: bool,
    latex: bool,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Print the gradients as equations, or write them to a file."""
    from runtime.atomic_files import write_bytes
    from runtime.outputs import check_output

    if output is not None:
        check_output(output, reads=options.files_read())
        check_suffix(output, "LaTeX" if latex else "text")
    model = set_up_model(options)
    text = model.gradient_equations(wrt or "*", latex=latex, training=training)
    if output is None:
        print_json(TextJson(text=text)) if as_json else click.echo(text, nl=False)
        return 0
    write_bytes(output, text.encode())
    if as_json:
        print_json(FileJson(output=str(output)))
    else:
        note(f"{output}: the gradient of {model.name} as {'LaTeX' if latex else 'text'}", quiet)
    return 0
