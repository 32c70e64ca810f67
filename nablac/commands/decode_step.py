"""`nablac compile --decode`: a folder with the decode step, and the graph that computes its initial state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from nablac.commands.compilation_options import FileOptions, export_file
from nablac.commands.output import note, print_json, skip_without_kernels
from nablac.commands.pass_report import section
from nablac.commands.quantized_file import ROUNDED
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
from runtime.atomic_files import put_all, scratch

if TYPE_CHECKING:
    import onnx

    from compiler.decode import Decode
    from compiler.passes.known_weights import KnownWeights
    from compiler.passes.quantize import Quantized
    from compiler.quantization_schemes import Choices
    from compiler.targets import Target
    from compiler.types import Array
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


class DecodeStepJson(TargetJson):
    """The decode step as a folder of files."""

    output: Annotated[str, "the folder"]
    weights: Annotated[str, "`floats`, or the scheme of `--quantize`"]
    nodes: Annotated[dict[str, int], "the operators of each file"]
    tokens: Annotated[str, "the input of the new tokens"]
    scores: Annotated[str, "the output of the scores"]
    context: Annotated[list[str], "values that `start.onnx` computes once"]
    states: Annotated[list[str], "values that each step replaces"]
    caches: Annotated[dict[str, str], "values that grow, with their types"]
    worst_error: Annotated[float | None, "relative to the whole model; null if not compared"]


def write_decode(
    model: Model,
    output: Path,
    tokenizer: Tokenizer | None,
    file_options: FileOptions,
    choices: Choices | None = None,
) -> int:
    """Write `output`/step.onnx and, if something is computed once per text, `output`/start.onnx; the exit status.

    With `choices`, their weights are integers, after the steps in floats are verified.
    """
    from compiler.passes.known_weights import with_known_weights
    from runtime.generation.generator import START, STEP
    from runtime.verification import tolerance_of

    weights, target = model.read_weights(), file_options.target
    step = _optimized_step(model, weights, target)
    metadata = _metadata(model, step, tokenizer)
    graphs = {STEP: step.step, **({START: step.start} if step.start.outputs else {})}
    worst = _worst_difference(model, step, weights, target) if file_options.verify else None
    if worst is not None and worst > tolerance_of(graphs.values()):
        note(f"not written: token by token, the scores differ by {worst:.1e} from those of the whole model")
        return 1
    knowns = {
        name: with_known_weights(graph, weights, target, keep=file_options.keep_weights)
        for name, graph in graphs.items()
    }
    integers = _quantized(knowns, choices) if choices is not None else {}
    knowns |= {name: result.known for name, result in integers.items()}
    protos = _write_files(output, knowns, metadata, file_options, compares=bool(integers) and file_options.verify)
    if protos is None:
        return 1
    facts = _facts(output, step, protos, target, choices, worst)
    if file_options.as_json:
        print_json(facts)
    elif not file_options.quiet:
        _say_written(output, facts, protos, target, integers.values(), choices)
    return 0


def _optimized_step(model: Model, weights: Mapping[str, Array], target: Target) -> Decode:
    """The decode step of a model, in optimised graphs; NablacError if earlier outputs depend on later tokens."""
    from compiler.decode import decode
    from compiler.passes.pipeline import optimize
    from runtime.generation.decode_checks import check_causal
    from runtime.generation.generator import START, STEP

    step = decode(model.elaborated)
    check_causal(model.elaborated, step.tokens, step.output, weights)
    with section(START):
        step = replace(step, start=optimize(step.start, target))
    with section(STEP):
        return replace(step, step=optimize(step.step, target))


def _metadata(model: Model, step: Decode, tokenizer: Tokenizer | None) -> dict[str, str]:
    """The metadata of both files; NablacError if the vocabulary of the tokenizer does not fit the model."""
    from runtime.generation.decoders import KEY, Layout
    from runtime.text.lengths import length_metadata
    from runtime.text.tokenizers import KEY as TOKENIZER
    from runtime.text.vocabulary_checks import check_tables

    graph = model.elaborated
    metadata = {"nablac.model": model.name, KEY: Layout.of(step).to_json(), **length_metadata(graph)}
    metadata["nablac.tokens"] = str(graph.outputs[step.output].shape[-1])
    if tokenizer is not None:
        check_tables(tokenizer, graph)
        metadata[TOKENIZER] = tokenizer.to_json()
    return metadata


def _worst_difference(model: Model, step: Decode, weights: Mapping[str, Array], target: Target) -> float | None:
    """The worst difference of the step from the whole model; None, with a note, if onnxruntime lacks a kernel."""
    from runtime.generation.decode_checks import worst_difference

    with skip_without_kernels(), section("what is compared"):
        return worst_difference(model.elaborated, step, weights, "ort", target=target)
    return None


def _write_files(
    output: Path,
    knowns: Mapping[str, KnownWeights],
    metadata: dict[str, str],
    file_options: FileOptions,
    *,
    compares: bool,
) -> dict[str, onnx.ModelProto] | None:
    """Write the files by their names; None if it `compares` them with the NumPy runtime, and they disagree."""
    from runtime.onnx_file import check, save

    protos: dict[str, onnx.ModelProto] = {}
    with scratch(output) as folder:  # both files are complete before either is moved to its name
        for name, known in knowns.items():
            with section(name):
                protos[name] = proto = export_file(known, metadata, file_options)
            drafts = save(proto, folder / name, known.weights)
            check(proto, drafts)
            if compares and not _agrees(known, drafts[0], name):
                return None
        put_all(folder, output)
    return protos


def _facts(
    output: Path,
    step: Decode,
    protos: Mapping[str, onnx.ModelProto],
    target: Target,
    choices: Choices | None,
    worst: float | None,
) -> DecodeStepJson:
    """The facts on the written files that `--json` prints."""
    from runtime.generation.decoders import Layout

    layout = Layout.of(step)
    return {
        **target_facts(target, protos.values()),
        "weights": choices.scheme.name if choices is not None else "floats",
        "output": str(output),
        "nodes": {name: len(proto.graph.node) for name, proto in protos.items()},
        "tokens": layout.tokens,
        "scores": layout.output,
        "context": list(layout.context),
        "states": list(layout.states),
        "caches": {name: f"{dtype}[{', '.join(map(str, shape))}]" for name, (dtype, shape) in layout.caches.items()},
        "worst_error": worst,
    }


def _say_written(
    output: Path,
    facts: DecodeStepJson,
    protos: Mapping[str, onnx.ModelProto],
    target: Target,
    integers: Collection[Quantized],
    choices: Choices | None,
) -> None:
    """The written files and how they are used, for a reader."""
    for name, count in facts["nodes"].items():
        click.echo(f"{output / name}: {count} nodes, opset {protos[name].opset_import[0].version}, for {target.name}")
    if choices is not None:
        _say_integers(integers, choices)
    say_what_leaves(target, facts["leaving"])
    state = f"{len(facts['states'])} states, {len(facts['caches'])} caches, {len(facts['context'])} values of the start"
    note(f"one step takes `{facts['tokens']}` and {state}; feed each `NAME.next` as `NAME` to the next step")
    worst = facts["worst_error"]
    if worst is not None:
        note(f"verified token by token against the whole model: worst relative difference {worst:.1e}")


def _quantized(knowns: Mapping[str, KnownWeights], choices: Choices) -> dict[str, Quantized]:
    """The graphs with integers, by the names of their files; NablacError for a pattern that matches no weight."""
    from compiler.passes.quantize import check_excluded, quantize

    check_excluded(choices, {path for known in knowns.values() for path in (*known.weights, *known.sources)})
    return {name: quantize(known, choices) for name, known in knowns.items()}


def _agrees(known: KnownWeights, draft: Path, name: str) -> bool:
    """Whether onnxruntime computes what the NumPy runtime does, but for numbers that are rounded otherwise."""
    from runtime.verification import compare, sample_sizes

    with skip_without_kernels(draft):
        sizes = list(sample_sizes(known.graph))[-1:]
        report = compare(known.graph, draft, known.weights, sizes=sizes, tolerance=ROUNDED, edges=False)
        if not report.agrees:
            note(f"not written: `{report.worst.output}` of {name} differs by {report.worst.error:.2g}")
            return False
    return True


def _say_integers(results: Collection[Quantized], choices: Choices) -> None:
    """What became an integer in both files, and what stayed a float, for a reader."""
    converted = {path for result in results for path in result.converted}
    kept = sorted({path for result in results for path in result.kept} - converted)
    shown = f"; in floats: {', '.join(kept[:6])}{', ...' if len(kept) > 6 else ''}" if kept else ""
    click.echo(f"  {len(converted)} weights as integers, {choices.scheme.name}{shown}")
    note("the accuracy is that of the whole model: `nablac compile RUN --quantize` measures it")
