"""`nablac verify`: the two runtimes against each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.compiled import compiled
from nablac.commands.options import Finite, ModelOptions, model_options, output_options, weight_options
from nablac.commands.output import note, print_json, unless_kernels_lack

if TYPE_CHECKING:
    from runtime.verification import Report


@click.command()
@model_options
@click.option(
    "--tolerance", type=Finite(0), default=1e-5, show_default=True, help="Largest relative difference allowed."
)
@weight_options
@output_options
def command(
    options: ModelOptions,
    tolerance: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a model by NumPy and by onnxruntime on random inputs, at several batch sizes and lengths, and compare.

    NumPy runs the graph as the text has it, onnxruntime what the optimiser and the exporter made of it.
    A difference is relative to the largest magnitude of the output. An output that is NaN everywhere is not compared:
    with random inputs it does not pass.

    Inputs that random numbers never meet follow: single items, zeros and masks of nothing, ties, large numbers, the
    limits of each dtype, infinities, NaN. There, and in whole numbers, a difference passes with a reason: rounding
    moves the result as much, or an operator says that onnxruntime's kernel gives something else.
    """
    from runtime.verification import compare

    model = compiled(options)
    report = None
    with unless_kernels_lack():
        written = model.onnx().SerializeToString()
        report = compare(
            model.graph,
            written,
            model.weights,
            seed=options.seed,
            tolerance=tolerance,
            text=model.elaborated,
            locate=True,
        )
    if as_json:
        print_json(_facts(report, tolerance))
    elif report is not None:
        _print_comparisons(report, tolerance)
    return 2 if report is None else 0 if report.passed else 1


def _facts(report: Report | None, tolerance: float) -> dict[str, Any]:
    """What `--json` says; of nothing where onnxruntime lacks a kernel."""
    rows = [
        {
            "output": each.output,
            "inputs": each.feeds,
            "sizes": each.sizes,
            "error": None if each.nothing else each.error,
            "reason": each.excuse,
        }
        for each in (report.comparisons if report is not None else ())
    ]
    first = asdict(report.diverging) if report is not None and report.diverging is not None else None
    passed = report.passed if report is not None else None
    return {"passed": passed, "tolerance": tolerance, "comparisons": rows, "first": first}


def _print_comparisons(report: Report, tolerance: float) -> None:
    for each in report.comparisons:
        sizes = ", ".join(f"{key}={size}" for key, size in each.sizes.items())
        mark = "ok" if each.error <= tolerance else f"ok: {each.excuse}" if each.excuse else "DIFFERS"
        shown = "NaN everywhere, nothing is compared" if each.nothing else f"{each.error:.1e}  {mark}"
        click.echo(f"{each.output:<24} {each.feeds:<20} {sizes:<32} {shown}")
    for name in report.uncompared:
        note(f"not verified: `{name}` is NaN everywhere")
    if not report.agrees:
        worst = report.worst
        click.echo(f"worst: `{worst.output}` of {worst.feeds} inputs, {worst.error:.1e} beyond {tolerance:.0e}")
        first = report.diverging
        if first is not None:
            click.echo(f"first: `{first.operator}` at {first.location}, {first.type}, {first.error:.1e}")
        else:
            click.echo("the optimised graph agrees in every operator: the optimiser's passes cause the difference")
