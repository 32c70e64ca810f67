"""`nablac compile`: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.options import compiled, model_options, output_options, weight_options
from nablac.commands.output import note, print_json


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The ONNX file to write.  [default: NAME.onnx]")
@click.option("--opset", type=int, help="The ONNX opset.  [default: the lowest that the model needs]")
@click.option("--no-verify", is_flag=True, help="Do not run what was written against the NumPy runtime.")
@weight_options
@output_options
def command(
    file: Path,
    name: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    dtype: str,
    output: Path | None,
    opset: int | None,
    no_verify: bool,
    weights: Path | None,
    rename: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compile a model to an ONNX file that onnxruntime, a browser or a phone runs.

    Without --weights the weights are the model's own first values, drawn from --seed.
    """
    import onnx

    from runtime.files import write_bytes
    from runtime.verification import compare

    model = compiled(file, name, preset, settings, dtype, weights=weights, rename=rename, seed=seed)
    proto = model.onnx(opset)
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString()
    target = output or file.with_suffix(".onnx")
    report = None
    if not no_verify and dtype == "f32":  # onnxruntime has no f64 kernels for convolution, LSTM, erf
        report = compare(model.graph, content, model.weights, seed=seed)
    if report is None or report.passed:
        write_bytes(target, content)
    facts = {
        "output": str(target),
        "model": model.name,
        "opset": proto.opset_import[0].version,
        "ir": proto.ir_version,
        "nodes": len(proto.graph.node),
        "parameters": sum(int(array.size) for array in model.weights.values()),
        "bytes": len(content),
        "inputs": {key: str(value.type) for key, value in model.graph.inputs.items()},
        "outputs": {key: str(value.type) for key, value in model.graph.outputs.items()},
        "worst_error": report.worst.error if report is not None else None,
    }
    if report is not None and not report.passed:
        worst = report.worst
        note(
            f"not written: `{worst.output}` differs by {worst.error:.2g} between onnxruntime and NumPy at {worst.sizes}"
        )
        return 1
    if as_json:
        print_json(facts)
        return 0
    click.echo(
        f"{target}: {model.name}, {facts['nodes']} nodes, {facts['parameters']:,} parameters, "
        f"opset {facts['opset']}, IR {facts['ir']}, {len(content):,} bytes"
    )
    if report is not None:
        note(f"verified against the NumPy runtime: worst relative difference {report.worst.error:.1e}", quiet)
    return 0
