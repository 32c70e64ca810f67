"""A model as one ONNX file: written, checked and verified before it is moved to its name."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from compiler.targets import ORT_CPU
from nablac.commands.accuracy import AccuracyJson, comparison, say_comparison, trained_options
from nablac.commands.compilation_options import FileOptions, export_file
from nablac.commands.model_options import ModelOptions
from nablac.commands.model_setup import set_up_model
from nablac.commands.output import note, print_json, skip_without_kernels, stage
from nablac.commands.pass_report import section
from nablac.commands.quantized_file import ROUNDED, QuantizationJson, quantized, say_integers
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
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


def write_model(
    model: Model,
    path: Path,
    tokenizer: Tokenizer | None,
    seed: int,
    file_options: FileOptions,
    quantization: tuple[ModelOptions, Choices, str | None] | None = None,
    baseline: ModelOptions | None = None,
) -> int:
    """Write a model to `path`, after verifying it if that is asked for; returns the exit status.

    With `quantization`, the options of the model, the choices and the data to calibrate with, it is one of integers.
    It is compared with the model of the `baseline` options in the float type of its training.
    """
    from runtime.onnx_file import check, move, save

    metadata = _metadata(model, tokenizer)
    report: Report | None = None
    compared: AccuracyJson | None = None
    with scratch(path) as folder:  # moved to its own name only once it is verified
        if file_options.verify:
            with stage("initialized") if model.is_drawn else nullcontext():
                model.read_weights()
        with section(_title(model, file_options.target)), stage("exported"):
            known, floats, integers = _graphs(model, file_options, quantization, baseline)
            proto = export_file(known, metadata, file_options)
        with stage("written"):  # weights from their arrays
            drafts = save(proto, folder / resolve_link(path).name, known.weights)
        with stage("checked"):
            check(proto, drafts)
        if file_options.verify:
            with stage("verified"):
                report = _verified(model, known, drafts[0], seed, integers)
        if report is not None and not report.agrees:
            _say_disagreement(report)
            return 1
        if baseline is not None:
            with stage("compared with the file before"):
                before = save(
                    export_file(floats, metadata, file_options), folder / f"before {path.name}", floats.weights
                )
                compared = comparison(baseline, (floats, before[0]), (known, drafts[0]))
                for draft in before:
                    draft.unlink()
        written = move(drafts, path)
    for name in report.uncompared if report is not None else ():
        note(f"warning: `{name}` is NaN everywhere on random inputs: it was not compared")
    facts = _facts(model, known, proto, path, written, report, file_options.target)
    if compared is not None:
        facts = _facts_with_accuracy(facts, compared, integers, quantization)
    if file_options.as_json:
        print_json(facts)
    elif not file_options.quiet:
        form = facts["weights"] if integers is not None else _form_of_weights(known)
        _say_written(facts, form, compared, integers)
        say_what_leaves(file_options.target, facts["leaving"])
        if report is not None:
            note(f"verified against the NumPy runtime: worst relative difference {report.worst.error:.1e}")
    return 0


def _metadata(model: Model, tokenizer: Tokenizer | None) -> dict[str, str]:
    """The metadata of the file; NablacError if the vocabulary of the tokenizer does not fit the model."""
    from runtime.text.tokenizers import KEY
    from runtime.text.vocabulary_checks import check_tables

    metadata = model.metadata
    if tokenizer is not None:
        check_tables(tokenizer, model.elaborated)
        metadata[KEY] = tokenizer.to_json()
    return metadata


def _graphs(
    model: Model,
    file_options: FileOptions,
    quantization: tuple[ModelOptions, Choices, str | None] | None,
    baseline: ModelOptions | None,
) -> tuple[KnownWeights, KnownWeights, Quantized | None]:
    """The graph that is written, the one in floats that it is compared with, and what became an integer."""
    weights = model.draw_weights()  # without a comparison each is read once, when it is written
    known = model.for_target(file_options.target, keep_weights=file_options.keep_weights, weights=weights)
    if quantization is not None:
        integers = quantized(known, *quantization)
        return integers.known, known, integers
    return known, _trained(baseline, file_options) if baseline is not None else known, None


def _say_disagreement(report: Report) -> None:
    """Note why a file was not written."""
    worst = report.worst
    where = f"{worst.sizes}, {worst.feeds} inputs"
    note(f"not written: `{worst.output}` differs by {worst.error:.2g} between onnxruntime and NumPy at {where}")


def _facts_with_accuracy(
    facts: CompileJson,
    compared: AccuracyJson,
    integers: Quantized | None,
    quantization: tuple[ModelOptions, Choices, str | None] | None,
) -> CompileJson:
    """The facts on a written file, with its accuracy beside that of the file before."""
    if integers is None or quantization is None:
        return ConvertedFileJson(**facts, accuracy=compared)
    scheme = quantization[1].scheme.name
    facts["weights"] = scheme
    beside = QuantizationJson(scheme=scheme, floats=list(integers.kept), **compared)
    return QuantizedFileJson(**facts, quantization=beside)


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
