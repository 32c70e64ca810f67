"""`nablac compile`: a model as an ONNX file."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.options import compiled, model_options, output_options, weight_options
from nablac.commands.output import note, print_json, stage, unless_kernels_lack
from runtime.atomic_files import followed, scratch

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.verification import Report

_LARGE = 256 << 20  # bytes of weights from which one set of sizes is verified: each costs a run of the whole model


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The ONNX file to write.  [default: NAME.onnx]")
@click.option("--opset", type=int, help="The ONNX opset.  [default: the lowest that the model needs]")
@click.option("--train", "as_step", is_flag=True, help="The training step, with its first state in a file beside it.")
@click.option("--decode", "as_decode", is_flag=True, help="The decode step with its caches, into the folder -o.")
@click.option("--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="Stored inside of what is written.")
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
    as_step: bool,
    as_decode: bool,
    tokenizer: Path | None,
    no_verify: bool,
    weights: Path | None,
    rename: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compile a model to an ONNX file that onnxruntime, a browser or a phone runs.

    FILE may be the folder of a run: what is compiled is what was trained, in the units of its data. Without --weights
    the weights are the model's own first values, drawn from --seed. With --train the file is one training step: the
    batch, the state (parameters, buffers, optimizer), `step` from 1 and `seed` in; the loss, the metrics and the next
    state, called `NAME.next`, out. A `plateau` makes it take `rate` too, by which the learning rate is multiplied. The
    first state is written to a .safetensors file of its name.

    With --decode a folder is written: `step.onnx`, which takes the next tokens and
    what was kept of those before, and `start.onnx`, which runs once for a text where the model has something to do
    once. `nablac generate` runs it.
    """
    if as_step and as_decode:
        raise click.UsageError("--train and --decode are two different files: choose one")
    if as_step and tokenizer is not None:
        raise click.UsageError("a training step takes batches of tokens: --tokenizer has no place in it")
    if as_step:
        from nablac.commands.training_step import write_step

        given = {"name": name, "preset": preset, "settings": settings, "weights": weights, "rename": rename}
        given["dtype"] = dtype
        target = output or _beside(file, ".step.onnx")
        return write_step(file, target, opset, given, seed=seed, verify=not no_verify, as_json=as_json, quiet=quiet)
    import onnx

    from runtime.initialization import stored
    from runtime.onnx_file import move, save
    from runtime.text.tokenizers import KEY, read_tokenizer
    from runtime.text.vocabulary_checks import check_tables

    begun: dict[str, Any] = {"weights": weights, "rename": rename, "seed": seed}
    model = compiled(file, name, preset, settings, dtype, **begun)
    texts = read_tokenizer(tokenizer) if tokenizer is not None else None
    if texts is None and model.fitted is not None:
        texts = model.fitted.tokenizer
    if as_decode:
        from nablac.commands.decode_step import write_decode

        folder = output or _beside(file, ".decode")
        return write_decode(model, folder, opset, texts, verify=not no_verify, as_json=as_json, quiet=quiet)
    metadata: dict[str, str] = {}
    if texts is not None:
        check_tables(texts, model.elaborated)
        metadata[KEY] = texts.to_json()
    target = output or _beside(file, ".onnx")
    with scratch(target) as folder:  # nothing takes the name asked for before it is proved
        with stage("first values") if model.is_drawn else nullcontext():
            arrays = model.weights
        with stage("exported"):
            proto = model.onnx(opset, metadata, largest=0)  # the weights go to the file from their arrays
        with stage("written"):
            drafts = save(proto, folder / followed(target).name, arrays)
        with stage("checked"):
            onnx.checker.check_model(str(drafts[0]), full_check=True)
        with nullcontext() if no_verify else stage("verified"):
            report = None if no_verify else _verified(model, drafts[0], seed)
        written = move(drafts, target) if report is None or report.agrees else []
    held: Counter[str] = Counter()
    for op in stored(model.graph):
        held[op.name] += int(arrays[op.path].size)
    facts = {
        "output": str(target),
        "model": model.name,
        "opset": proto.opset_import[0].version,
        "ir": proto.ir_version,
        "nodes": len(proto.graph.node),
        "parameters": held["parameter"],
        "buffers": held["buffer"],
        "bytes": sum(each.stat().st_size for each in written),
        "inputs": {key: str(value.type) for key, value in model.graph.inputs.items()},
        "outputs": {key: str(value.type) for key, value in model.graph.outputs.items()},
        "worst_error": report.worst.error if report is not None else None,
        "uncompared": report.uncompared if report is not None else [],
    }
    if report is not None and not report.agrees:
        worst = report.worst
        where = f"{worst.sizes}, {worst.feeds} inputs"
        note(f"not written: `{worst.output}` differs by {worst.error:.2g} between onnxruntime and NumPy at {where}")
        return 1
    for name in report.uncompared if report is not None else ():
        note(f"warning: `{name}` is NaN everywhere on random inputs: nothing of it was compared")
    if as_json:
        print_json(facts)
    if as_json or quiet:
        return 0
    buffers = f" and {facts['buffers']:,} in buffers" if facts["buffers"] else ""
    click.echo(
        f"{target}: {model.name}, {facts['nodes']} nodes, {facts['parameters']:,} parameters{buffers}, "
        f"opset {facts['opset']}, IR {facts['ir']}, {facts['bytes']:,} bytes"
    )
    if report is not None:
        note(f"verified against the NumPy runtime: worst relative difference {report.worst.error:.1e}")
    return 0


def _beside(file: Path, suffix: str) -> Path:
    """What is written where -o names nothing: a run's folder keeps its whole name."""
    return file.with_name(file.name + suffix) if file.is_dir() else file.with_suffix(suffix)


def _verified(model: Model, draft: Path, seed: int) -> Report | None:
    """What was written against the NumPy runtime; None, and a note, where onnxruntime lacks kernels for it."""
    from runtime.verification import compare, sample_sizes

    sizes = list(sample_sizes(model.graph))
    if sum(array.nbytes for array in model.weights.values()) > _LARGE:
        sizes = sizes[-1:]
    with unless_kernels_lack():
        return compare(model.graph, draft, model.weights, sizes=sizes, seed=seed, text=model.elaborated)
    return None
