"""What `nablac compile --train` writes: the training step as one ONNX file, and the state that it begins with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.options import FileOptions, ModelOptions, asked
from nablac.commands.output import note, print_json, unless_kernels_lack
from nablac.commands.runs import read_run

if TYPE_CHECKING:
    from runtime.training.training_run import Training

_STEPS = 3  # that both runtimes run before the file is written


def write_step(options: ModelOptions, target: Path, how: FileOptions) -> int:
    """Write `target` and its `.safetensors`, both or none; the exit status."""
    import onnx

    from compiler.onnx.exporter import export
    from compiler.passes.pipeline import optimize
    from nablac.commands.train import training_of
    from runtime.onnx_file import save
    from runtime.training.run_options import Options
    from runtime.training.steppers import DISABLED_PASSES
    from runtime.verification import tolerance_of
    from runtime.weights import save_weights

    seed = options.seed if options.is_run or asked("seed") else None
    if options.is_run:
        options = read_run(options.file).model(options)
    training = training_of(options, Options(seed=seed, backend="ort"))
    training = replace(training, raw=training.known is not None)  # or nothing says how a batch is to be scaled
    if not training.raw and any(stage.name in ("standardize", "min_max") for stage in training.spec.data):
        note("note: batches are not scaled here: a run's folder records how its data is scaled", how.quiet)
    state = training.first_state()
    graph = optimize(training.step.graph, disabled=DISABLED_PASSES)
    model = export(graph, opset=how.opset, weights=None, metadata=_metadata(training))
    onnx.checker.check_model(model, full_check=True)
    worst = None
    if how.verify:
        with unless_kernels_lack():
            worst = _compared(training, options.seed)
    if worst is not None and worst > tolerance_of([training.step.graph], _STEPS):
        note(f"not written: after {_STEPS} steps the losses of onnxruntime and NumPy differ by {worst:.1e}")
        return 1
    needed = {each.name for each in model.graph.input} & state.keys()
    beside = target.with_suffix(".safetensors")
    save_weights(beside, {name: state[name] for name in sorted(needed)})  # whole before the step takes its name
    save(model, target)
    inputs = [each.name for each in model.graph.input if each.name not in needed]
    if how.as_json:
        facts = {"output": str(target), "state": str(beside), "inputs": inputs, "outputs": list(graph.outputs)}
        print_json({**facts, "states": len(needed), "nodes": len(model.graph.node), "worst_error": worst})
    if how.as_json or how.quiet:
        return 0
    opset_shown = f"opset {model.opset_import[0].version}, IR {model.ir_version}"
    click.echo(f"{target}: one training step of {training.name}, {len(model.graph.node)} nodes, {opset_shown}")
    click.echo(f"{beside}: {len(needed)} tensors of initial state")
    note(f"feed {', '.join(inputs)} and the state; `NAME.next` is the state for the next step")
    if worst is not None:
        note(f"verified over {_STEPS} steps against the NumPy runtime: worst relative difference {worst:.1e}")
    return 0


def _metadata(training: Training) -> dict[str, str]:
    """What the file says of itself: which of its states are the step's own, and what they belong to."""
    states = {
        path: {"kind": each.kind, "name": each.name, "of": each.of} for path, each in training.step.states.items()
    }
    return {"nablac.step": training.name, "nablac.states": json.dumps(states, ensure_ascii=False)}


def _compared(training: Training, seed: int) -> float:
    """The largest relative difference of the losses of both runtimes over a few steps on random batches."""
    import numpy as np

    from runtime.training.steppers import NumpyStepper, OnnxStepper, StepperSetup
    from runtime.verification import errors, random_feeds, sample_sizes

    step, evaluation, state = training.step_graph, training.loss_graph, training.first_state()
    setup = StepperSetup(step, evaluation, state, training.step.averages)
    steppers = NumpyStepper(setup), OnnxStepper(setup)
    feeds: dict[str, Any] = dict(random_feeds(step, list(sample_sizes(step))[-1], seed))  # the largest
    dtypes = {name: value.type.dtype.numpy for name, value in (evaluation.inputs | step.inputs).items()}
    worst = 0.0
    for number in range(1, _STEPS + 1):
        counters = {"step": number, "seed": number, "rate": 1.0}
        feeds |= {name: np.array(each, dtypes[name]) for name, each in counters.items() if name in dtypes}
        ours, theirs = (np.asarray(stepper.step(feeds)["loss"]) for stepper in steppers)
        worst = max(worst, errors(theirs, ours)[0])
    return worst
