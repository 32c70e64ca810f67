"""`nablac compile`: export a model, its training step or its decode step to ONNX."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from compiler.targets import EXPORT_TARGETS, ORT_CPU
from nablac.commands.accuracy import AccuracyJson, comparison, is_converted, say_comparison, trained_options
from nablac.commands.compilation_options import FileOptions, StepOptions, memory_budget_option, precision_option
from nablac.commands.completions import complete_passes
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.options import output_options
from nablac.commands.output import is_verbose, note, print_json, skip_without_kernels, stage
from nablac.commands.pass_report import PassReport, section
from nablac.commands.quantized_file import (
    ROUNDED,
    QuantizationJson,
    choices_of,
    quantization_options,
    quantized,
    say_integers,
)
from nablac.commands.target_options import target_options
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
from nablac.output_suffixes import check_suffix
from runtime.atomic_files import resolve_link, scratch

if TYPE_CHECKING:
    import onnx

    from compiler.passes.known_weights import KnownWeights
    from compiler.passes.quantize import Quantized
    from compiler.quantization_schemes import Choices
    from compiler.targets import Target
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer
    from runtime.verification import Report


class CompileJson(TargetJson):
    """A model as one file."""

    output: Annotated[str, "the file"]
    model: Annotated[str, "its name"]
    opset: Annotated[int, "of ONNX"]
    ir: Annotated[int, "the version of ONNX's file format"]
    nodes: Annotated[int, "operators"]
    parameters: Annotated[int, "numbers that are trained"]
    buffers: Annotated[int, "numbers that a layer keeps, such as running means"]
    weights: Annotated[str, "`folded`, `named` as in the model, or the scheme of `--quantize`"]
    computed_weights: Annotated[int, "tensors that were folded"]
    computed_from: Annotated[int, "weights that they were folded from"]
    bytes: Annotated[int, "of all files written"]
    inputs: Annotated[dict[str, str], "types by name"]
    outputs: Annotated[dict[str, str], "types by name"]
    worst_error: Annotated[float | None, "relative to the NumPy runtime; null if not compared"]
    uncompared: Annotated[list[str], "outputs that are NaN everywhere on random inputs"]


class ConvertedFileJson(CompileJson):
    """A run's model as one file, in another float type than it was trained in."""

    accuracy: Annotated[AccuracyJson, "beside the same model in the float type that it was trained in"]


class QuantizedFileJson(CompileJson):
    """A model as one file, with integers for weights."""

    quantization: Annotated[QuantizationJson, "beside the same model in floats"]


_LARGE = 256 << 20  # bytes of weights; larger models are verified at one set of sizes, since each runs the whole model


def _known_passes(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Check the names of the passes to disable; BadParameter for an unknown one."""
    if not names:
        return ()
    from compiler.passes.pipeline import names_to_disable
    from grammar.diagnostics import did_you_mean

    known = names_to_disable()
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"the passes are {', '.join(known)}"
            raise click.BadParameter(f"no pass is called `{name}`; {hint}", context, parameter)
    return names


@click.command()
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this path.  [default: NAME.onnx]")
@target_options
@click.option(
    "--train", "as_step", is_flag=True, help="Compile the training step; writes its initial state to a file beside it."
)
@click.option(
    "--split", is_flag=True, help="With --train: compile the gradients and the update to two files in a folder."
)
@click.option("--decode", "as_decode", is_flag=True, help="Compile the decode step and its caches to a folder.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="Store this tokenizer in the compiled model."
)
@click.option(
    "--disable-pass",
    "disabled_passes",
    multiple=True,
    metavar="NAME",
    callback=_known_passes,
    shell_complete=complete_passes,
    help="Disable a compiler pass; -v lists the passes. Can be repeated.",
)
@click.option(
    "--keep-weights",
    is_flag=True,
    help="Store every weight by its own name, and compute what depends on weights alone at each run.",
)
@memory_budget_option
@precision_option
@quantization_options
@click.option("--no-verify", is_flag=True, help="Skip the comparison with the NumPy runtime.")
@weight_options
@output_options
def command(
    options: ModelOptions,
    output: Path | None,
    target_name: str,
    opset: int | None,
    as_step: bool,
    split: bool,
    as_decode: bool,
    tokenizer: Path | None,
    disabled_passes: tuple[str, ...],
    keep_weights: bool,
    memory_budget: int | None,
    precision: str | None,
    quantize: str | None,
    calibrate: str | None,
    exclude: tuple[str, ...],
    reduce_range: bool,
    no_verify: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compile a model to ONNX.

    FILE is a .model file, or the folder of a run, for the trained model in the units of its data. Without --weights,
    the weights are initial values drawn from --seed.

    What depends on weights alone, such as the scale of a batch norm, is computed now, and stored in place of the
    weights that nothing else reads. With --keep-weights each weight is stored by its own name, so that another can
    replace it.

    With --train, the file is one training step. Its inputs are the batch, the state (parameters, buffers, optimizer),
    `step` (from 1) and `seed`; a train block with `plateau` adds `rate`, a factor of the learning rate. Its outputs are
    the loss, the metrics and the next state, as `NAME.next`. The initial state is written to a .safetensors file of the
    same name. Its weights are inputs, by their own names.

    With --split too, a folder is written: `gradient.onnx` takes the batch, parameters and buffers, and its outputs are
    the loss, the metrics, the gradients, as `grad.NAME`, and the next buffers; `update.onnx` takes the gradients and
    the state, and its outputs are the next state. `state.safetensors` is the initial state.

    With --decode, a folder is written: `step.onnx` takes the next tokens and the state cached from earlier ones, and
    `start.onnx`, if the model needs one, runs once per text. `nablac generate` runs such a folder.

    With --quantize, weights are stored as integers of 8 or 4 bits, with --dtype all numbers in another float type. Of a
    run, the file is judged on the held-out data as `nablac eval` judges it, and its figures are printed beside those of
    the file in the float type of the training.

    \b
    Example:
      nablac compile lstm -o lstm.onnx
    """
    from compiler.passes.pipeline import pass_settings
    from grammar.file_kinds import ONNX, SAFETENSORS
    from runtime.generation.generator import START, STEP
    from runtime.outputs import check_output

    observe = PassReport() if is_verbose() else None
    click.get_current_context().with_resource(pass_settings(disabled_passes, observe))
    file_options = FileOptions(opset, not no_verify, as_json, quiet, EXPORT_TARGETS[target_name], keep_weights)
    choices = choices_of(quantize, calibrate, exclude, reduce_range, options, file_options)
    if choices is not None and as_step:
        raise click.UsageError("--quantize is of models that are only run: it does not go with --train")
    if choices is not None and as_decode and choices.scheme.calibrated:
        raise click.UsageError(f"--quantize {quantize} measures whole models: with --decode, choose int8 or int4")
    if as_step and as_decode:
        raise click.UsageError("--train and --decode write different files: choose one")
    if as_step and tokenizer is not None:
        raise click.UsageError("a training step takes batches of tokens: --tokenizer does not apply")
    if memory_budget is not None and not as_step:
        raise click.UsageError("--memory-budget limits a training step: it needs --train")
    if precision is not None and not as_step:
        hint = "for inference, `--dtype` chooses the floats of the whole model"
        raise click.UsageError(f"--precision is of a training step: it needs --train; {hint}")
    if split and not as_step:
        raise click.UsageError("--split divides a training step: it needs --train")
    if as_step and split:
        from nablac.commands.split_step import FILES, write_split

        folder = output or options.beside(".step")
        for name, kind in FILES.items():
            check_output(folder / name, kind, options.files_read(), creates_folder=True)
        return write_split(options, folder, file_options, StepOptions(memory_budget, precision))
    if as_step:
        from nablac.commands.training_step import write_step

        step = output or options.beside(".step.onnx")
        check_output(step, ONNX, options.files_read())
        check_suffix(step, "ONNX")
        check_output(step.with_suffix(".safetensors"), SAFETENSORS, options.files_read())
        return write_step(options, step, file_options, StepOptions(memory_budget, precision))
    path = output or options.beside(".decode" if as_decode else ".onnx")
    for written in [path / START, path / STEP] if as_decode else [path]:
        read = [*options.files_read(), *([tokenizer] if tokenizer is not None else [])]
        check_output(written, ONNX, read, creates_folder=as_decode)
        check_suffix(written, "ONNX")
    model = set_up_model(options)
    texts = _tokenizer(model, tokenizer)
    if as_decode:
        from nablac.commands.decode_step import write_decode

        return write_decode(model, path, texts, file_options, choices)
    quantization = (options, choices, calibrate) if choices is not None else None
    judged = options if quantization is not None or is_converted(options) else None
    return _write_model(model, path, texts, options.seed, file_options, quantization, judged)


def _tokenizer(model: Model, file: Path | None) -> Tokenizer | None:
    """The tokenizer to store with a model: the one in `file`, else the one that the model was trained with."""
    from runtime.text.tokenizers import read_tokenizer

    if file is not None:
        if model.fitted is not None and model.fitted.tokenizers:
            message = "the columns of a table have the tokenizers of the training: --tokenizer does not apply"
            raise click.UsageError(message)
        return read_tokenizer(file)
    return model.fitted.tokenizer if model.fitted is not None else None


def _write_model(
    model: Model,
    path: Path,
    tokenizer: Tokenizer | None,
    seed: int,
    file_options: FileOptions,
    quantization: tuple[ModelOptions, Choices, str | None] | None = None,
    judged: ModelOptions | None = None,
) -> int:
    """Write a model to `path`, after verifying it if that is asked for; returns the exit status.

    With `quantization`, the options of the model, the choices and the data to calibrate with, it is one of integers.
    It is compared with the model of the `judged` options in the float type of its training.
    """
    from compiler.onnx.exporter import export
    from runtime.onnx_file import check, move, save
    from runtime.text.tokenizers import KEY
    from runtime.text.vocabulary_checks import check_tables

    metadata = model.metadata
    if tokenizer is not None:
        check_tables(tokenizer, model.elaborated)
        metadata[KEY] = tokenizer.to_json()
    with scratch(path) as folder:  # moved to its own name only once it is verified
        if file_options.verify:
            with stage("initialized") if model.is_drawn else nullcontext():
                model.read_weights()
        with section(_title(model, file_options.target)), stage("exported"):
            weights = model.draw_weights()  # without a comparison each is read once, when it is written
            known = model.for_target(file_options.target, keep_weights=file_options.keep_weights, weights=weights)
            floats, integers = known, None
            if quantization is not None:
                integers = quantized(known, *quantization)
                known = integers.known
            elif judged is not None:
                floats = _trained(judged, file_options)

            def exported(known: KnownWeights) -> onnx.ModelProto:
                return export(
                    known.graph,
                    opset=file_options.opset,
                    weights=known.weights,
                    metadata=metadata,
                    largest=0,
                    target=file_options.target,
                )

            proto = exported(known)
        with stage("written"):  # weights from their arrays
            drafts = save(proto, folder / resolve_link(path).name, known.weights)
        with stage("checked"):
            check(proto, drafts)
        with stage("verified") if file_options.verify else nullcontext():
            report = _verified(model, known, drafts[0], seed, integers) if file_options.verify else None
        compared: AccuracyJson | None = None
        if judged is not None and (report is None or report.agrees):
            with stage("compared with the file before"):
                before = save(exported(floats), folder / f"before {path.name}", floats.weights)
                compared = comparison(judged, (floats, before[0]), (known, drafts[0]))
                for draft in before:
                    draft.unlink()
        written = move(drafts, path) if report is None or report.agrees else []
    if report is not None and not report.agrees:
        worst = report.worst
        where = f"{worst.sizes}, {worst.feeds} inputs"
        note(f"not written: `{worst.output}` differs by {worst.error:.2g} between onnxruntime and NumPy at {where}")
        return 1
    for name in report.uncompared if report is not None else ():
        note(f"warning: `{name}` is NaN everywhere on random inputs: it was not compared")
    facts = _facts(model, known, proto, path, written, report, file_options.target)
    if integers is not None and quantization is not None and compared is not None:
        scheme = quantization[1].scheme.name
        facts["weights"] = scheme
        beside = QuantizationJson(scheme=scheme, floats=list(integers.kept), **compared)
        facts = QuantizedFileJson(**facts, quantization=beside)
    elif compared is not None:
        facts = ConvertedFileJson(**facts, accuracy=compared)
    if file_options.as_json:
        print_json(facts)
    if not (file_options.as_json or file_options.quiet):
        form = facts["weights"] if integers is not None else _form_of_weights(known)
        _say_written(facts, form, compared, integers)
        say_what_leaves(file_options.target, facts["leaving"])
        if report is not None:
            note(f"verified against the NumPy runtime: worst relative difference {report.worst.error:.1e}")
    return 0


def _trained(options: ModelOptions, file_options: FileOptions) -> KnownWeights:
    """A run's model in the float type that it was trained in, as it would be written."""
    model = set_up_model(trained_options(options))
    return model.for_target(file_options.target, keep_weights=file_options.keep_weights, weights=model.read_weights())


def _say_written(facts: CompileJson, form: str, compared: AccuracyJson | None, integers: Quantized | None) -> None:
    """The written file and what was compared, for a reader."""
    buffers = f" and {facts['buffers']:,} in buffers" if facts["buffers"] else ""
    click.echo(
        f"{facts['output']}: {facts['model']}, {facts['nodes']} nodes, {facts['parameters']:,} parameters{buffers}, "
        f"{form}, opset {facts['opset']}, IR {facts['ir']}, {facts['bytes']:,} bytes, "
        f"for {facts['target']}"
    )
    if compared is None:
        return
    if integers is not None:
        say_integers(compared, integers)
    else:
        click.echo(f"  {compared['bytes_before']:,} bytes before, {compared['bytes_after']:,} after")
    say_comparison(compared)


def _title(model: Model, target: Target) -> str:
    """What the passes of the export run on."""
    is_scaled = model.fitted is not None and bool(model.fitted.scalings)
    title = "the model in the units of its data" if is_scaled else "the model as written"
    return title if target is ORT_CPU else f"{title}, for {target.name}"


def _form_of_weights(known: KnownWeights) -> str:
    """What has become of the weights, for the report."""
    if not known.derived:
        return "weights by name"
    sources = len(known.sources)
    return f"weights folded ({len(known.derived)} computed from {sources})"


def _facts(
    model: Model,
    known: KnownWeights,
    proto: onnx.ModelProto,
    path: Path,
    written: list[Path],
    report: Report | None,
    target: Target,
) -> CompileJson:
    """The facts on the written file that `--json` prints."""
    from runtime.initialization import stored_operators

    counts: Counter[str] = Counter()
    for op in stored_operators(model.graph):
        counts[op.name] += math.prod(op.type.numeric_shape)
    return {
        **target_facts(target, [proto]),
        "output": str(path),
        "model": model.name,
        "opset": proto.opset_import[0].version,
        "ir": proto.ir_version,
        "nodes": len(proto.graph.node),
        "parameters": counts["parameter"],
        "buffers": counts["buffer"],
        "weights": "folded" if known.derived else "named",
        "computed_weights": len(known.derived),
        "computed_from": len(known.sources),
        "bytes": sum(path.stat().st_size for path in written),
        "inputs": {key: str(value.type) for key, value in model.graph.inputs.items()},
        "outputs": {key: str(value.type) for key, value in model.graph.outputs.items()},
        "worst_error": report.worst.error if report is not None else None,
        "uncompared": list(report.uncompared) if report is not None else [],
    }


def _verified(model: Model, known: KnownWeights, draft: Path, seed: int, integers: Quantized | None) -> Report | None:
    """Compare the written file with the NumPy runtime; None, with a note, if onnxruntime lacks a kernel.

    A model of integers is compared with its own graph: where a number is rounded otherwise, by a step of its scale.
    """
    from runtime.verification import compare, sample_sizes

    sizes, weights = list(sample_sizes(model.graph)), model.read_weights()
    if sum(array.nbytes for array in weights.values()) > _LARGE:
        sizes = sizes[-1:]
    with skip_without_kernels(draft):
        if integers is not None:
            return compare(known.graph, draft, known.weights, sizes=sizes, seed=seed, tolerance=ROUNDED, edges=False)
        return compare(model.graph, draft, weights, sizes=sizes, seed=seed, text=model.elaborated, folded=known)
    return None
