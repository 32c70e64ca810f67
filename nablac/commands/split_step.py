"""`nablac compile --train --split`: a training step as two ONNX files, its gradients and the update of its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.file_kinds import ONNX, SAFETENSORS
from nablac.commands.compilation_options import FileOptions, StepOptions
from nablac.commands.model_options import ModelOptions
from nablac.commands.output import note, print_json, skip_without_kernels
from nablac.commands.pass_report import section
from nablac.commands.target_report import TargetJson, say_what_leaves, target_facts
from nablac.commands.training_step import STEPS, sample_feeds, step_metadata, training_of, verified_steps

if TYPE_CHECKING:
    import onnx

    from compiler.graph import Graph
    from compiler.targets import Target
    from compiler.types import Array
    from runtime.training.training_run import Training


class SplitStepJson(TargetJson):
    """The training step as a folder of files."""

    output: Annotated[str, "the folder"]
    state: Annotated[str, "the file of the first state"]
    states: Annotated[int, "tensors of the state"]
    nodes: Annotated[dict[str, int], "the operators of each file"]
    inputs: Annotated[dict[str, list[str]], "the inputs of each file"]
    worst_error: Annotated[float | None, "of the losses of 3 steps, relative to NumPy's; null if not compared"]


GRADIENT, UPDATE, STATE = "gradient.onnx", "update.onnx", "state.safetensors"
FILES = {GRADIENT: ONNX, UPDATE: ONNX, STATE: SAFETENSORS}  # with their kinds


def write_split(options: ModelOptions, output: Path, file_options: FileOptions, step_options: StepOptions) -> int:
    """Write the files to the folder `output`, all or none; returns the exit status."""
    import onnx

    from compiler.onnx.exporter import export
    from runtime.atomic_files import put_all, scratch
    from runtime.onnx_file import save
    from runtime.verification import tolerance_of
    from runtime.weights import save_weights

    training = training_of(options, file_options, step_options)
    metadata, target = step_metadata(training), file_options.target
    models = {}
    for name, graph in _graphs(training, target).items():
        with section(name):
            models[name] = export(graph, opset=file_options.opset, weights=None, metadata=metadata, target=target)
    state, worst = training.first_state(), None
    if file_options.verify:
        with skip_without_kernels(), section("the training step as a whole, to be compared"):
            worst = _compare(training, models, state, options.seed)
    if worst is not None and worst > tolerance_of([training.step.graph], STEPS):
        note(f"not written: after {STEPS} steps the losses of onnxruntime and NumPy differ by {worst:.1e}")
        return 1
    read = {value.name for model in models.values() for value in model.graph.input}
    with scratch(output) as folder:  # all files are complete before one of them is moved to its name
        for name, model in models.items():
            onnx.checker.check_model(model, full_check=True)
            save(model, folder / name)
        save_weights(folder / STATE, {name: state[name] for name in sorted(state.keys() & read)})
        put_all(folder, output)
    facts = _facts(output, models, len(state.keys() & read), target, worst)
    if file_options.as_json:
        print_json(facts)
    elif not file_options.quiet:
        opsets = {name: model.opset_import[0].version for name, model in models.items()}
        _say_written(output, training.name, facts, opsets, target)
    return 0


def _facts(
    output: Path, models: Mapping[str, onnx.ModelProto], states: int, target: Target, worst: float | None
) -> SplitStepJson:
    """The facts on the written files that `--json` prints."""
    return {
        **target_facts(target, models.values()),
        "output": str(output),
        "state": str(output / STATE),
        "states": states,
        "nodes": {name: len(model.graph.node) for name, model in models.items()},
        "inputs": {name: [value.name for value in model.graph.input] for name, model in models.items()},
        "worst_error": worst,
    }


def _say_written(output: Path, model: str, facts: SplitStepJson, opsets: Mapping[str, int], target: Target) -> None:
    """The written files and how they are used, for a reader."""
    for name, what in ((GRADIENT, f"the gradients of {model}"), (UPDATE, "the update of its state")):
        nodes, opset = facts["nodes"][name], opsets[name]
        click.echo(f"{output / name}: {what}, {nodes} nodes, opset {opset}, for {target.name}")
    say_what_leaves(target, facts["leaving"])
    click.echo(f"{facts['state']}: {facts['states']} tensors of initial state")
    note("feed the batch and the state to the first, its `grad.NAME` to the second; `NAME.next` is the next state")
    if facts["worst_error"] is not None:
        note(verified_steps(facts["worst_error"]))


def _graphs(training: Training, target: Target) -> dict[str, Graph]:
    """The graphs of both files, optimised for a target; NablacError for a step that is not in two parts."""
    from compiler.passes.pipeline import optimize

    split = training.step.split
    if split is None:
        message = "this training step is not in two parts: its update reads the batch, not only its gradients"
        hint = "leave out `--split`, or compute the learning rate from `step`"
        raise NablacError(Diagnostic(codes.E917, message, training.spec.span, hint=hint))
    with section(UPDATE):
        update = optimize(split.update, target)
    with section(GRADIENT):
        return {GRADIENT: training.within_budget(optimize(split.gradient, target), update), UPDATE: update}


def _compare(training: Training, models: Mapping[str, onnx.ModelProto], state: Mapping[str, Array], seed: int) -> float:
    """The largest relative difference between the losses of the files and of the NumPy runtime over a few steps."""
    import numpy as np

    from runtime.onnx_session import OnnxRunner
    from runtime.training.steppers import NumpyStepper, StepperSetup
    from runtime.verification import relative_error

    step, evaluation = training.step_graph, training.loss_graph
    setup = StepperSetup(step, evaluation, dict(state), training.step.averages)
    by_numpy = NumpyStepper(setup)
    gradient, update = (OnnxRunner(models[name].SerializeToString()) for name in (GRADIENT, UPDATE))
    values, worst = dict(state), 0.0
    for feeds in sample_feeds({**evaluation.inputs, **step.inputs}, step, seed):
        expected = np.asarray(by_numpy.step(feeds)["loss"])
        results = gradient.run({name: {**values, **feeds}[name] for name in gradient.inputs})
        worst = max(worst, relative_error(np.asarray(float(results["loss"])), expected))
        results |= update.run({name: {**values, **feeds, **results}[name] for name in update.inputs})
        values |= dict(_following(results))
    return worst


def _following(results: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """The next state by path, from the outputs of both files."""
    for name, array in results.items():
        if name.endswith(".next"):
            yield name.removesuffix(".next"), array
