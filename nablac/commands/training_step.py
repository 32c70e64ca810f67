"""`nablac compile --train`: the training step as an ONNX file, and its initial state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from compiler.targets import Target
from nablac.commands.compilation_options import FileOptions, StepOptions
from nablac.commands.model_options import ModelOptions
from nablac.commands.output import note, print_json, skip_without_kernels
from nablac.commands.pass_report import section
from nablac.commands.runs import read_run
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
from nablac.commands.training_setup import seed_of_step, set_up_training

if TYPE_CHECKING:
    from compiler.graph import Graph, Value
    from runtime.training.run_options import Options
    from runtime.training.training_run import Training


class TrainingStepJson(TargetJson):
    """The training step as one file."""

    output: Annotated[str, "the file"]
    state: Annotated[str, "the file of the first state"]
    inputs: Annotated[list[str], "besides the state: the batch, `step`, `seed`"]
    outputs: Annotated[list[str], "the loss, the metrics, and the next state as `NAME.next`"]
    states: Annotated[int, "tensors of the state"]
    nodes: Annotated[int, "operators of the file"]
    worst_error: Annotated[float | None, "of the losses of 3 steps, relative to NumPy's; null if not compared"]


STEPS = 3  # compared between both runtimes before the file is written


def write_step(options: ModelOptions, path: Path, file_options: FileOptions, step_options: StepOptions) -> int:
    """Write `path` and its `.safetensors`, both or neither; returns the exit status."""
    import onnx

    from compiler.onnx.exporter import export
    from compiler.passes.pipeline import optimize
    from runtime.onnx_file import save
    from runtime.verification import tolerance_of
    from runtime.weights import save_weights

    training = training_of(options, file_options, step_options)
    state = training.first_state()
    target = file_options.target
    with section("the training step"):
        graph = training.within_budget(optimize(training.step.graph, target))
        model = export(graph, opset=file_options.opset, weights=None, metadata=step_metadata(training), target=target)
    onnx.checker.check_model(model, full_check=True)
    worst = None
    if file_options.verify:
        with skip_without_kernels(), section("the training step with its measures, to be compared"):
            worst = _compare(training, options.seed, target)
    if worst is not None and worst > tolerance_of([training.step.graph], STEPS):
        note(f"not written: after {STEPS} steps the losses of onnxruntime and NumPy differ by {worst:.1e}")
        return 1
    names = [value.name for value in model.graph.input]
    needed = state.keys() & set(names)
    state_file = path.with_suffix(".safetensors")
    save_weights(state_file, {name: state[name] for name in sorted(needed)})  # before the step, which needs it
    save(model, path)
    inputs = [name for name in names if name not in needed]
    reported = target_facts(target, [model])
    if file_options.as_json:
        facts: TrainingStepJson = {
            **reported,
            "output": str(path),
            "state": str(state_file),
            "inputs": inputs,
            "outputs": list(graph.outputs),
            "states": len(needed),
            "nodes": len(model.graph.node),
            "worst_error": worst,
        }
        print_json(facts)
    if file_options.as_json or file_options.quiet:
        return 0
    opset_shown = f"opset {model.opset_import[0].version}, IR {model.ir_version}, for {target.name}"
    click.echo(f"{path}: one training step of {training.name}, {len(model.graph.node)} nodes, {opset_shown}")
    say_what_leaves(target, reported["leaving"])
    click.echo(f"{state_file}: {len(needed)} tensors of initial state")
    note(f"feed {', '.join(inputs)} and the state; `NAME.next` is the state for the next step")
    if worst is not None:
        note(verified_steps(worst))
    return 0


def verified_steps(worst: float) -> str:
    """What a note says of the comparison: what was compared, and how far it differs."""
    steps = f"{STEPS} steps on a random batch"
    return f"verified: the losses of {steps}, onnxruntime against NumPy, differ by {worst:.1e} at most (relative)"


def training_of(options: ModelOptions, file_options: FileOptions, step_options: StepOptions) -> Training:
    """The training whose step is compiled, of a model or of a run; a note where its batches are not scaled."""
    from compiler.elaborate.data import SCALES
    from compiler.training.losses import loss_graph
    from runtime.training.memory_budget import batch_sizes

    seed = seed_of_step(options)
    if options.is_run:
        options = read_run(options.file).model(options)
    training = set_up_training(options, _options(step_options, seed))
    training.target = file_options.target
    if training.memory_budget is not None:
        training = replace(training, sizes=batch_sizes(loss_graph(training.elaborated), training.batch, {}))
    training = replace(training, raw=training.known is not None)  # the file has no other record of the scaling
    if not training.raw and any(stage.name in SCALES for stage in training.spec.data):
        note("note: batches are not scaled here: a run's folder records how its data is scaled", file_options.quiet)
    return training


def _options(step: StepOptions, seed: int | None) -> Options:
    from runtime.training.run_options import Options

    return Options(seed=seed, backend="ort", memory_budget=step.memory_budget, precision=step.precision)


def step_metadata(training: Training) -> dict[str, str]:
    """The file's metadata: the kind of each state, and the parameter that it belongs to."""
    states = {
        path: {"kind": state.kind, "name": state.name, "of": state.of} for path, state in training.step.states.items()
    }
    return {"nablac.step": training.name, "nablac.states": json.dumps(states, ensure_ascii=False)}


def _compare(training: Training, seed: int, target: Target) -> float:
    """The largest relative difference between the losses of both runtimes over a few steps on random batches."""
    import numpy as np

    from compiler.passes.pipeline import optimize
    from runtime.training.onnx_steppers import OnnxStepper
    from runtime.training.steppers import NumpyStepper, StepperSetup
    from runtime.verification import relative_error

    step = optimize(training.step.measured, target)
    evaluation, state = training.loss_graph, training.first_state()

    def setup() -> StepperSetup:
        return StepperSetup(step, evaluation, dict(state), training.step.averages)

    steppers = NumpyStepper(setup()), OnnxStepper(setup(), target)
    worst = 0.0
    for feeds in sample_feeds({**evaluation.inputs, **step.inputs}, step, seed):
        by_numpy, by_onnx = (np.asarray(stepper.step(feeds)["loss"]) for stepper in steppers)
        worst = max(worst, relative_error(by_onnx, by_numpy))
    return worst


def sample_feeds(inputs: Mapping[str, Value], step: Graph, seed: int) -> Iterator[dict[str, Any]]:
    """Feeds of a few steps on one random batch, of the largest of the sizes that are verified."""
    import numpy as np

    from runtime.verification import random_feeds, sample_sizes

    feeds: dict[str, Any] = dict(random_feeds(step, list(sample_sizes(step))[-1], seed))
    dtypes = {name: value.type.dtype.numpy for name, value in inputs.items()}
    for number in range(1, STEPS + 1):
        counters = {"step": number, "seed": number, "rate": 1.0}
        yield feeds | {name: np.array(value, dtypes[name]) for name, value in counters.items() if name in dtypes}
