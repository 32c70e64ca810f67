"""Options of what is compiled: a model's file, a training step, and what is already compiled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from compiler.model_spec import PRECISIONS
from compiler.targets import ORT_CPU, Target
from grammar.record import ValueRecord
from nablac.commands.option_types import ByteSize
from nablac.commands.options import F

if TYPE_CHECKING:
    import onnx

    from compiler.passes.known_weights import KnownWeights


def memory_budget_option(command: F) -> F:
    """Add the option of how much memory a training step may take."""
    option = click.option(
        "--memory-budget",
        type=ByteSize(),
        metavar="SIZE",
        help="Limit the memory of a training step, such as to 2GiB; where it must, it computes values a second time.",
    )
    return option(command)


def precision_option(command: F) -> F:
    """Add the option of what a training step computes its products in."""
    option = click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        help="Compute products in these floats of 16 bits; weights stay f32.  [default: from the train block]",
    )
    return option(command)


class FileOptions(ValueRecord):
    """How an ONNX file is written and reported."""

    opset: int | None  # None for the best that the target has
    verify: bool  # against the NumPy runtime, before the file is moved to its name
    as_json: bool
    quiet: bool
    target: Target = ORT_CPU  # what the file is written for
    keep_weights: bool = False  # by their own names, and nothing computed from them


def export_file(known: KnownWeights, metadata: dict[str, str], options: FileOptions) -> onnx.ModelProto:
    """An ONNX model, whose weights are written apart from it."""
    from compiler.onnx.exporter import export

    return export(
        known.graph,
        opset=options.opset,
        weights=known.weights,
        metadata=metadata,
        largest=0,
        target=options.target,
    )


class StepOptions(ValueRecord):
    """What a training step that is compiled takes; None leaves it to the train block."""

    memory_budget: int | None = None  # bytes
    precision: str | None = None  # one of PRECISIONS


OPTIONS_OF_COMPILATION = ("model", "preset", "set", "dtype", "weights", "rename")


def refuse_options_of_compilation(file: Path, *more: str) -> None:
    """UsageError for options that have no effect on a compiled file: those of compilation, and another backend."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if name in (*OPTIONS_OF_COMPILATION, *more):
            reason = f"{file} is already compiled; give it to `nablac compile`, or run the .model file"
            raise click.UsageError(f"`{option.opts[0]}` has no effect: {reason}")
        if name == "backend" and context.params["backend"] != "ort":
            raise click.UsageError(f"`--backend {context.params['backend']}` cannot run {file}: onnxruntime does")
