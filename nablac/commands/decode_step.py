"""`nablac compile --decode`: a folder with the decode step, and the graph that computes its initial state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablac.commands.options import FileOptions
from nablac.commands.output import note, print_json, skip_without_kernels
from runtime.atomic_files import scratch

if TYPE_CHECKING:
    from nablac.model import Model
    from runtime.text.tokenizers import Tokenizer


def write_decode(
    model: Model, target: Path, tokenizer: Tokenizer | None, file_options: FileOptions, keep_weights: bool = False
) -> int:
    """Write `target`/step.onnx and, if something is computed once per text, `target`/start.onnx; the exit status."""
    import onnx

    from compiler.decode import decode
    from compiler.onnx.exporter import export
    from compiler.passes.known_weights import with_known_weights
    from compiler.passes.pipeline import optimize
    from runtime.atomic_files import Unwritable
    from runtime.generation.decode_checks import check_causal, worst_difference
    from runtime.generation.decoders import KEY, Layout
    from runtime.generation.generator import START, STEP
    from runtime.onnx_file import save
    from runtime.text.lengths import length_metadata
    from runtime.text.tokenizers import KEY as TOKENIZER
    from runtime.text.vocabulary_checks import check_tables
    from runtime.verification import tolerance_of

    graph = model.elaborated
    step = decode(graph)
    weights = model.read_weights()
    check_causal(graph, step.tokens, step.output, weights)
    step = replace(step, start=optimize(step.start), step=optimize(step.step))
    layout = Layout.of(step)
    metadata = {"nablac.model": model.name, KEY: layout.to_json(), **length_metadata(graph)}
    metadata["nablac.tokens"] = str(graph.outputs[step.output].shape[-1])
    if tokenizer is not None:
        check_tables(tokenizer, graph)
        metadata[TOKENIZER] = tokenizer.to_json()
    graphs = {STEP: step.step, **({START: step.start} if step.start.outputs else {})}
    worst = None
    if file_options.verify:
        with skip_without_kernels():
            worst = worst_difference(graph, step, weights, "ort")
    if worst is not None and worst > tolerance_of(graphs.values()):
        note(f"not written: token by token, the scores differ by {worst:.1e} from those of the whole model")
        return 1
    sizes: dict[str, int] = {}
    with scratch(target) as folder:  # both files are complete before either is moved to its name
        for name, exported in graphs.items():
            known = with_known_weights(exported, weights, keep=keep_weights)
            proto = export(known.graph, opset=file_options.opset, weights=known.weights, metadata=metadata, largest=0)
            sizes[name] = len(proto.graph.node)
            save(proto, folder / name, known.weights)
            onnx.checker.check_model(str(folder / name), full_check=True)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for written in sorted(folder.iterdir()):
                written.replace(target / written.name)
        except OSError as error:
            raise Unwritable(target, error) from error
    caches = {name: f"{dtype}[{', '.join(map(str, shape))}]" for name, (dtype, shape) in layout.caches.items()}
    if file_options.as_json:
        facts = {"output": str(target), "nodes": sizes, "tokens": layout.tokens, "scores": layout.output}
        kept = {"context": layout.context, "states": layout.states, "caches": caches}
        print_json({**facts, **kept, "worst_error": worst})
    if file_options.as_json or file_options.quiet:
        return 0
    for name, count in sizes.items():
        click.echo(f"{target / name}: {count} nodes")
    state = f"{len(layout.states)} states, {len(layout.caches)} caches, {len(layout.context)} values of the start"
    note(f"one step takes `{layout.tokens}` and {state}; feed each `NAME.next` as `NAME` to the next step")
    if worst is not None:
        note(f"verified token by token against the whole model: worst relative difference {worst:.1e}")
    return 0
