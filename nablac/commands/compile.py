"""`nablac compile`: a model as an ONNX file."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.compiled import compiled
from nablac.commands.options import FileOptions, ModelOptions, model_options, output_options, weight_options
from nablac.commands.output import detail, is_verbose, note, print_json, stage, unless_kernels_lack
from runtime.atomic_files import resolve_link, scratch

if TYPE_CHECKING:
    import onnx

    from compiler.passes.pipeline import PassRun
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer
    from runtime.verification import Report

_LARGE = 256 << 20  # bytes of weights from which one set of sizes is verified: each costs a run of the whole model


def _known_passes(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of passes that are not to run; BadParameter where there is no such pass."""
    if not names:
        return ()
    from compiler.passes.pipeline import pass_names
    from grammar.diagnostics import did_you_mean

    known = pass_names()
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"the passes are {', '.join(known)}"
            raise click.BadParameter(f"no pass is called `{name}`; {hint}", context, parameter)
    return names


def _tell(run: PassRun) -> None:
    detail(f"{run.stage}: {run.name}: {run.before} -> {run.after} nodes in {run.seconds * 1000:,.1f} ms")


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The ONNX file to write.  [default: NAME.onnx]")
@click.option("--opset", type=int, help="The ONNX opset.  [default: the lowest that the model needs]")
@click.option(
    "--train", "as_step", is_flag=True, help="Write the training step, and its initial state in a file beside it."
)
@click.option("--decode", "as_decode", is_flag=True, help="Write the decode step and its caches into the folder -o.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="Store this tokenizer in what is written."
)
@click.option(
    "--disable-pass",
    "disabled_passes",
    multiple=True,
    metavar="NAME",
    callback=_known_passes,
    help="Switch off this pass of the compiler; -v lists them.",
)
@click.option("--no-verify", is_flag=True, help="Do not compare the result with the NumPy runtime.")
@weight_options
@output_options
def command(
    options: ModelOptions,
    output: Path | None,
    opset: int | None,
    as_step: bool,
    as_decode: bool,
    tokenizer: Path | None,
    disabled_passes: tuple[str, ...],
    no_verify: bool,
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
    from compiler.passes.pipeline import pass_settings
    from grammar.file_kinds import ONNX, SAFETENSORS
    from runtime.generation.generator import START, STEP
    from runtime.outputs import check_output

    observe = _tell if is_verbose() else None
    click.get_current_context().with_resource(pass_settings(disabled_passes, observe))
    how = FileOptions(opset, not no_verify, as_json, quiet)
    if as_step and as_decode:
        raise click.UsageError("--train and --decode are two different files: choose one")
    if as_step and tokenizer is not None:
        raise click.UsageError("a training step takes batches of tokens: --tokenizer does not apply")
    if as_step:
        from nablac.commands.training_step import write_step

        step = output or options.beside(".step.onnx")
        check_output(step, ONNX, options.files_read())
        check_output(step.with_suffix(".safetensors"), SAFETENSORS, options.files_read())
        return write_step(options, step, how)
    target = output or options.beside(".decode" if as_decode else ".onnx")
    for written in [target / START, target / STEP] if as_decode else [target]:
        check_output(written, ONNX, [*options.files_read(), *([tokenizer] if tokenizer is not None else [])])
    model = compiled(options)
    texts = _tokenizer(model, tokenizer)
    if as_decode:
        from nablac.commands.decode_step import write_decode

        return write_decode(model, target, texts, how)
    return _write_model(model, target, texts, options.seed, how)


def _tokenizer(model: Model, file: Path | None) -> Tokenizer | None:
    """The tokenizer that is stored with a model: the one of the file, or the one that it was trained with."""
    from runtime.text.tokenizers import read_tokenizer

    if file is not None:
        return read_tokenizer(file)
    return model.fitted.tokenizer if model.fitted is not None else None


def _write_model(model: Model, target: Path, tokenizer: Tokenizer | None, seed: int, how: FileOptions) -> int:
    """Write a model to `target`, once it is verified where that is asked for; the exit status."""
    import onnx

    from runtime.onnx_file import move, save
    from runtime.text.tokenizers import KEY
    from runtime.text.vocabulary_checks import check_tables

    metadata: dict[str, str] = {}
    if tokenizer is not None:
        check_tables(tokenizer, model.elaborated)
        metadata[KEY] = tokenizer.to_json()
    with scratch(target) as folder:  # nothing takes the name asked for before it is proved
        with stage("first values") if model.is_drawn else nullcontext():
            arrays = model.weights
        with stage("exported"):
            proto = model.onnx(how.opset, metadata, largest=0)  # the weights go to the file from their arrays
        with stage("written"):
            drafts = save(proto, folder / resolve_link(target).name, arrays)
        with stage("checked"):
            onnx.checker.check_model(str(drafts[0]), full_check=True)
        with stage("verified") if how.verify else nullcontext():
            report = _verified(model, drafts[0], seed) if how.verify else None
        written = move(drafts, target) if report is None or report.agrees else []
    if report is not None and not report.agrees:
        worst = report.worst
        where = f"{worst.sizes}, {worst.feeds} inputs"
        note(f"not written: `{worst.output}` differs by {worst.error:.2g} between onnxruntime and NumPy at {where}")
        return 1
    for name in report.uncompared if report is not None else ():
        note(f"warning: `{name}` is NaN everywhere on random inputs: it was not compared")
    facts = _facts(model, proto, target, written, report)
    if how.as_json:
        print_json(facts)
    if how.as_json or how.quiet:
        return 0
    buffers = f" and {facts['buffers']:,} in buffers" if facts["buffers"] else ""
    click.echo(
        f"{target}: {model.name}, {facts['nodes']} nodes, {facts['parameters']:,} parameters{buffers}, "
        f"opset {facts['opset']}, IR {facts['ir']}, {facts['bytes']:,} bytes"
    )
    if report is not None:
        note(f"verified against the NumPy runtime: worst relative difference {report.worst.error:.1e}")
    return 0


def _facts(
    model: Model, proto: onnx.ModelProto, target: Path, written: list[Path], report: Report | None
) -> dict[str, Any]:
    """What `--json` says of a file."""
    from runtime.initialization import stored_operators

    held: Counter[str] = Counter()
    for op in stored_operators(model.graph):
        held[op.name] += int(model.weights[op.path].size)
    return {
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


def _verified(model: Model, draft: Path, seed: int) -> Report | None:
    """What was written against the NumPy runtime; None, and a note, where onnxruntime lacks kernels for it."""
    from runtime.verification import compare, sample_sizes

    sizes = list(sample_sizes(model.graph))
    if sum(array.nbytes for array in model.weights.values()) > _LARGE:
        sizes = sizes[-1:]
    with unless_kernels_lack():
        return compare(model.graph, draft, model.weights, sizes=sizes, seed=seed, text=model.elaborated)
    return None
