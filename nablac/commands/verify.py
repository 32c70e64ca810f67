"""`nablac verify`: compare the two runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

import click

from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.option_types import Finite
from nablac.commands.options import output_options
from nablac.commands.output import note, print_json, skip_without_kernels

if TYPE_CHECKING:
    from runtime.verification import Divergence, Report


class VerifiedOutputJson(TypedDict):
    """One output at one set of inputs."""

    output: Annotated[str, "its name"]
    inputs: Annotated[str, "`random`, or an edge case"]
    sizes: Annotated[dict[str, int], "of the named dims"]
    error: Annotated[float | None, "relative to the largest magnitude; null if both are NaN everywhere"]
    reason: Annotated[str | None, "why a difference passes"]


class DivergenceJson(TypedDict):
    """The first node, in the order of computation, whose results differ."""

    operator: Annotated[str, "its name"]
    location: Annotated[str, "its line, or the path of its layer"]
    type: Annotated[str, "of its result"]
    error: Annotated[float, "relative to the largest magnitude"]


class VerifyJson(TypedDict):
    """NumPy beside onnxruntime."""

    passed: Annotated[bool | None, "null if onnxruntime lacks a kernel; the exit status is 0, 1 or 2"]
    tolerance: Annotated[float, "the largest relative difference allowed"]
    comparisons: Annotated[list[VerifiedOutputJson], "of every output"]
    first: Annotated[DivergenceJson | None, "where the first difference begins, if one node alone shows it"]


@click.command()
@model_options
@click.option(
    "--tolerance",
    type=Finite(0),
    default=1e-5,
    show_default=True,
    metavar="X",
    help="Largest relative difference allowed.",
)
@weight_options
@output_options
def command(
    options: ModelOptions,
    tolerance: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare the NumPy runtime with onnxruntime.

    Runs the model on random inputs at several batch sizes and lengths. NumPy runs the graph as written, onnxruntime the
    optimised and exported one. A difference is relative to the largest magnitude of the output. An output that is NaN
    everywhere cannot be compared, and fails on random inputs.

    Edge cases follow: single items, zeros, masks that hide everything, ties, large numbers, the limits of each dtype,
    infinities and NaN. There, and in integer outputs, a difference passes if it has a known reason: rounding changes
    the result as much, an operator declares that onnxruntime's kernel differs, or a number overflows unless the scale
    after it is folded into the weights.

    \b
    Example:
      nablac verify lstm
    """
    from compiler.onnx.exporter import export
    from compiler.passes.known_weights import with_known_weights
    from runtime.verification import compare

    model = set_up_model(options)
    report = None
    with skip_without_kernels():
        weights = model.read_weights()
        known = with_known_weights(model.graph, weights)
        report = compare(
            model.graph,
            export(known.graph, weights=known.weights).SerializeToString(),
            weights,
            seed=options.seed,
            tolerance=tolerance,
            text=model.elaborated,
            locate=True,
            folded=known,
        )
    if as_json:
        print_json(_facts(report, tolerance))
    elif report is not None:
        _print_comparisons(report, tolerance)
    return 2 if report is None else 0 if report.passed else 1


def _divergence_to_json(divergence: Divergence) -> DivergenceJson:
    return {
        "operator": divergence.operator,
        "location": divergence.location,
        "type": divergence.type,
        "error": divergence.error,
    }


def _facts(report: Report | None, tolerance: float) -> VerifyJson:
    """What `--json` prints; without a report if onnxruntime lacks a kernel."""
    rows: list[VerifiedOutputJson] = [
        {
            "output": comparison.output,
            "inputs": comparison.feeds,
            "sizes": dict(comparison.sizes),
            "error": None if comparison.nothing else comparison.error,
            "reason": comparison.excuse,
        }
        for comparison in (report.comparisons if report is not None else ())
    ]
    first = _divergence_to_json(report.diverging) if report is not None and report.diverging is not None else None
    passed = report.passed if report is not None else None
    return {"passed": passed, "tolerance": tolerance, "comparisons": rows, "first": first}


def _print_comparisons(report: Report, tolerance: float) -> None:
    for comparison in report.comparisons:
        sizes = ", ".join(f"{key}={size}" for key, size in comparison.sizes.items())
        reason = f"ok: {comparison.excuse}" if comparison.excuse else "DIFFERS"
        verdict = "ok" if comparison.error <= tolerance else reason
        shown = "NaN everywhere, not compared" if comparison.nothing else f"{comparison.error:.1e}  {verdict}"
        click.echo(f"{comparison.output:<24} {comparison.feeds:<20} {sizes:<32} {shown}")
    for name in report.uncompared:
        note(f"not verified: `{name}` is NaN everywhere")
    if not report.agrees:
        worst = report.worst
        click.echo(f"worst: `{worst.output}` of {worst.feeds} inputs, {worst.error:.1e} beyond {tolerance:.0e}")
        first = report.diverging
        if first is not None:
            click.echo(f"first: `{first.operator}` at {first.location}, {first.type}, {first.error:.1e}")
        else:
            click.echo("every operator of the optimised graph agrees: the difference comes from a compiler pass")
