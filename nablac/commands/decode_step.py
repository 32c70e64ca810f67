"""`nablac compile --decode`: a folder with the decode step, and the graph that computes its initial state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from nablac.commands.compilation_options import FileOptions
from nablac.commands.output import note, print_json, skip_without_kernels
from nablac.commands.pass_report import section
from nablac.commands.quantized_file import ROUNDED
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
from runtime.atomic_files import put_all, scratch

if TYPE_CHECKING:
    import onnx

    from compiler.passes.known_weights import KnownWeights
    from compiler.passes.quantize import Quantized
    from compiler.quantization_schemes import Choices
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
    from compiler.decode import decode
    from compiler.onnx.exporter import export
    from compiler.passes.known_weights import with_known_weights
    from compiler.passes.pipeline import optimize
    from runtime.generation.decode_checks import check_causal, worst_difference
    from runtime.generation.decoders import KEY, Layout
    from runtime.generation.generator import START, STEP
    from runtime.onnx_file import check, save
    from runtime.text.lengths import length_metadata
    from runtime.text.tokenizers import KEY as TOKENIZER
    from runtime.text.vocabulary_checks import check_tables
    from runtime.verification import tolerance_of

    graph, target = model.elaborated, file_options.target
    step = decode(graph)
    weights = model.read_weights()
    check_causal(graph, step.tokens, step.output, weights)
    with section(START):
        step = replace(step, start=optimize(step.start, target))
    with section(STEP):
        step = replace(step, step=optimize(step.step, target))
    layout = Layout.of(step)
    metadata = {"nablac.model": model.name, KEY: layout.to_json(), **length_metadata(graph)}
    metadata["nablac.tokens"] = str(graph.outputs[step.output].shape[-1])
    if tokenizer is not None:
        check_tables(tokenizer, graph)
        metadata[TOKENIZER] = tokenizer.to_json()
    graphs = {STEP: step.step, **({START: step.start} if step.start.outputs else {})}
    worst = None
    if file_options.verify:
        with skip_without_kernels(), section("what is compared"):
            worst = worst_difference(graph, step, weights, "ort", target=target)
    if worst is not None and worst > tolerance_of(graphs.values()):
        note(f"not written: token by token, the scores differ by {worst:.1e} from those of the whole model")
        return 1
    protos: dict[str, onnx.ModelProto] = {}
    knowns = {
        name: with_known_weights(exported, weights, target, keep=file_options.keep_weights)
        for name, exported in graphs.items()
    }
    integers = _quantized(knowns, choices) if choices is not None else {}
    knowns |= {name: result.known for name, result in integers.items()}
    with scratch(output) as folder:  # both files are complete before either is moved to its name
        for name, known in knowns.items():
            with section(name):
                protos[name] = proto = export(
                    known.graph,
                    opset=file_options.opset,
                    weights=known.weights,
                    metadata=metadata,
                    largest=0,
                    target=target,
                )
            drafts = save(proto, folder / name, known.weights)
            check(proto, drafts)
            if integers and file_options.verify and not _agrees(known, drafts[0], name):
                return 1
        put_all(folder, output)
    caches = {name: f"{dtype}[{', '.join(map(str, shape))}]" for name, (dtype, shape) in layout.caches.items()}
    sizes = {name: len(proto.graph.node) for name, proto in protos.items()}
    reported = target_facts(target, protos.values())
    if file_options.as_json:
        facts: DecodeStepJson = {
            **reported,
            "weights": choices.scheme.name if choices is not None else "floats",
            "output": str(output),
            "nodes": sizes,
            "tokens": layout.tokens,
            "scores": layout.output,
            "context": list(layout.context),
            "states": list(layout.states),
            "caches": caches,
            "worst_error": worst,
        }
        print_json(facts)
    if file_options.as_json or file_options.quiet:
        return 0
    for name, count in sizes.items():
        click.echo(f"{output / name}: {count} nodes, opset {protos[name].opset_import[0].version}, for {target.name}")
    if choices is not None:
        _say_integers(integers.values(), choices)
    say_what_leaves(target, reported["leaving"])
    state = f"{len(layout.states)} states, {len(layout.caches)} caches, {len(layout.context)} values of the start"
    note(f"one step takes `{layout.tokens}` and {state}; feed each `NAME.next` as `NAME` to the next step")
    if worst is not None:
        note(f"verified token by token against the whole model: worst relative difference {worst:.1e}")
    return 0


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
