"""`nablac verify`: the two runtimes against each other."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.options import compiled, model_options, output_options, weight_options
from nablac.commands.output import print_json


@click.command()
@model_options
@click.option("--tolerance", type=float, default=1e-5, show_default=True, help="Largest relative difference allowed.")
@weight_options
@output_options
def command(
    file: Path,
    name: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    dtype: str,
    tolerance: float,
    weights: Path | None,
    rename: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a model by NumPy and by onnxruntime on random inputs, at several batch sizes and lengths, and compare.

    A difference is relative to the largest magnitude of the output.
    """
    from runtime.verification import compare

    model = compiled(file, name, preset, settings, dtype, weights=weights, rename=rename, seed=seed)
    report = compare(model.graph, model.onnx().SerializeToString(), model.weights, seed=seed, tolerance=tolerance)
    if as_json:
        rows = [{"output": each.output, "sizes": each.sizes, "error": each.error} for each in report.comparisons]
        print_json({"passed": report.passed, "tolerance": tolerance, "comparisons": rows})
        return 0 if report.passed else 1
    for each in report.comparisons:
        sizes = ", ".join(f"{key}={size}" for key, size in each.sizes.items())
        mark = "ok" if each.error <= tolerance else "DIFFERS"
        click.echo(f"{each.output:<24} {sizes:<32} {each.error:.1e}  {mark}")
    if not report.passed:
        click.echo(f"worst: `{report.worst.output}`, {report.worst.error:.1e} beyond {tolerance:.0e}")
    return 0 if report.passed else 1
