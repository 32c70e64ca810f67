"""What `nablac compile --quantize` adds: its options, and the integers in place of floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import click

from compiler.quantization_schemes import SCHEMES, Choices
from nablac.commands.accuracy import AccuracyJson, RunEvaluator
from nablac.commands.compilation_options import FileOptions
from nablac.commands.model_options import ModelOptions
from nablac.commands.option_types import NamedPath
from nablac.commands.options import with_options
from nablac.commands.output import note, stage

if TYPE_CHECKING:
    from compiler.passes.known_weights import KnownWeights
    from compiler.passes.quantize import Quantized

F = TypeVar("F", bound=Callable[..., Any])
_ENOUGH = 512  # training examples to calibrate with
ROUNDED = 5 / 255  # steps of 8 bits, by which results may differ that were rounded to integers on the way


def quantization_options(command: F) -> F:
    """Add the options of quantisation."""
    options = (
        click.option(
            "--quantize",
            type=click.Choice(tuple(SCHEMES)),
            help="Store weights as integers: int8 multiplies integers of 8 bits, scaled at each call, int8-static with "
            "scales from data; int4 stores the weights of products in 4 bits.",
        ),
        click.option(
            "--calibrate",
            type=NamedPath(as_text=True),
            metavar="DATA",
            help=f"With --quantize int8-static: measure ranges on this data.  [default: {_ENOUGH} training examples]",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="PATTERN",
            help="With --quantize: keep the weights as floats whose paths match, such as 'head.*'. Can be repeated.",
        ),
        click.option(
            "--reduce-range",
            is_flag=True,
            help="With --quantize int8 or int8-static: weights of 7 bits, whose products are faster and less exact. "
            "Files of either kind are right on every processor.",
        ),
    )
    return with_options(command, options)


def choices_of(
    name: str | None,
    calibrate: str | None,
    exclude: tuple[str, ...],
    reduce_range: bool,
    options: ModelOptions,
    file: FileOptions,
) -> Choices | None:
    """What the user chooses, None for floats.

    UsageError for options that do not go together, NablacError for a target without kernels.
    """
    from compiler.quantization_schemes import check_target

    if name is None:
        for option, value in (("--calibrate", calibrate), ("--exclude", exclude), ("--reduce-range", reduce_range)):
            if value:
                raise click.UsageError(f"{option} is of a quantised model: it needs --quantize")
        return None
    scheme = SCHEMES[name]
    if calibrate is not None and not scheme.calibrated:
        raise click.UsageError(f"--quantize {name} needs no data: --calibrate is for int8-static")
    if reduce_range and not scheme.multiplies_integers:
        raise click.UsageError(f"--quantize {name} multiplies no integers: --reduce-range is for int8 and int8-static")
    if options.dtype != "f32":
        raise click.UsageError(f"--quantize makes integers of f32: it does not go with --dtype {options.dtype}")
    if file.keep_weights:
        raise click.UsageError("--quantize stores weights in another form: it does not go with --keep-weights")
    check_target(scheme, file.target)
    return Choices(scheme, exclude, reduce_range)


def quantized(known: KnownWeights, options: ModelOptions, choices: Choices, data: str | None) -> Quantized:
    """The graph with integers, calibrated if the scheme needs that; NablacError where it cannot be made."""
    from compiler.passes.quantize import check_excluded, quantize

    if choices.scheme.calibrated:
        with stage("calibrated"):
            result = _calibrated(known, options, choices, data)
    else:
        result = quantize(known, choices)
    check_excluded(choices, {*known.weights, *known.sources})
    return result


def _calibrated(known: KnownWeights, options: ModelOptions, choices: Choices, data: str | None) -> Quantized:
    import numpy as np

    from compiler.passes.quantize_static import quantize_static, values_to_measure
    from grammar import codes
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.evaluation.part_outputs import outputs_of
    from runtime.value_ranges import Calibration, spread

    evaluator = RunEvaluator.of(options, data)
    if evaluator is None:
        message = "there is no data to measure ranges on"
        hint = "name the folder of a run, or some data: `--calibrate DATA`"
        raise NablacError(Diagnostic(codes.E918, message, place="calibrate", hint=hint))
    examples = evaluator.training.data
    rows = spread(np.asarray(examples.parts["training"]), _ENOUGH) if data is None else np.arange(len(examples))
    examples.parts["calibration"] = rows
    calibration = Calibration(known, values_to_measure(known.graph))
    observed = replace(evaluator.predictor, run=calibration.run)
    for _ in outputs_of(observed, examples, "calibration", evaluator.settings.batch, evaluator.settings.padding, set()):
        pass
    note(f"calibrated on {calibration.examples:,} examples")
    return quantize_static(known, choices, calibration.ranges)


class QuantizationJson(AccuracyJson):
    """What `--quantize` did."""

    scheme: Annotated[str, "`int8`, `int8-static` or `int4`"]
    floats: Annotated[list[str], "weights that stayed floats"]


def say_integers(facts: AccuracyJson, result: Quantized) -> None:
    """What became an integer, and what stayed a float, for a reader."""
    before, after = facts["bytes_before"], facts["bytes_after"]
    click.echo(f"  {len(result.converted)} weights as integers: {before:,} bytes before, {after:,} after")
    if result.kept:
        shown = ", ".join(result.kept[:6]) + (", ..." if len(result.kept) > 6 else "")
        click.echo(f"  in floats: {shown}")
