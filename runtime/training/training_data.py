"""The data side of a run: its examples in their parts, and what its compiled model says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import ON_EXAMPLES, SCALES, Stage
from compiler.target_uses import TargetUses, target_uses, targets_counted_from_zero
from compiler.training import loss_graph
from compiler.units import Unit
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import PARTS, Examples, fitted_to
from runtime.data.loading import Wanted, load_examples, staged
from runtime.data.missing_entries import check_lookups
from runtime.data.padding import widened
from runtime.training.batch_axis import check_example_axis
from runtime.training.trained import units_in

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.training.training_run import Training


def context_of(training: Training) -> Context:
    """What the train block and the command say of all data: its folder, shares, seed."""
    settings, options = training.spec.settings, training.options
    folder = training.folder or Path(os.path.realpath(training.program.source.name)).parent
    if options.undivided:
        fixed = frozenset({"validation", "test"})
        return Context(folder, 0.0, 0.0, training.seed, options.skip_broken, fixed=fixed, fitted=training.known)
    validation = settings.get("validation", 0.0) if options.validation is None else options.validation
    test = settings.get("test", 0.0)
    shares = [0.0 if isinstance(each, str) else float(each) for each in (validation, test)]  # another file is no share
    if sum(shares) >= 1:
        message = f"validation {validation:g} and test {test:g} leave nothing to train on"
        raise NablacError(Diagnostic("E823", message, training.spec.span))
    fixed = frozenset({"validation"} if options.validation is not None else ())
    return Context(folder, shares[0], shares[1], training.seed, options.skip_broken, fixed=fixed, fitted=training.known)


def examples_of(training: Training) -> Examples:
    """The examples, by the names of the model's inputs and targets; NablacError for what does not fit it.

    Arrays that are given take the place of the source, and of the stages that make examples of it; the others hold.
    """
    examples = _all_examples(training)
    _check_metrics(training, examples)
    types = {**training.inputs, **{name: value.type for name, value in training.spec.targets.items()}}
    count, shuffled = len(examples.parts["training"]), training.spec.settings.get("shuffle", True)
    whole = count == len(examples) <= training.batch and not shuffled
    check_example_axis(types, training.spec.span, whole)
    return examples


def _all_examples(training: Training) -> Examples:
    context, wanted = training.context, _wanted(training)
    stages: Sequence[Stage] = training.spec.data
    if training.examples is not None:
        examples = staged(training.examples, [stage for stage in stages if stage.name in ON_EXAMPLES], context, wanted)
        check_lookups(loss_graph(training.inference), examples, training.spec.span)
    else:
        if stages and training.options.data is not None:
            stages = _of_file(stages, path_of(training.options.data))
        examples = _loaded(training, stages, context, wanted)
    for part in ("validation", "test"):
        path = training.spec.settings.get(part)
        if isinstance(path, str) and part not in context.fixed:
            there = [stage for stage in _of_file(stages, path) if stage.name != "split"]
            whole = replace(context, validation=0.0, test=0.0, order="", fitted=fitted_to(examples))
            examples = _joined(examples, part, _loaded(training, there, whole, wanted), path)
    return _overfit(training, examples)


def _check_metrics(training: Training, examples: Examples) -> None:
    """NablacError for a metric that says something else of scaled numbers, and not only in another unit."""
    spec = training.inference.training
    assert spec is not None
    stage = next((stage.name for stage in spec.data if stage.name in SCALES), SCALES[0])
    inputs = ", ".join(f'"{name}"' for name in training.inputs)
    for metric, value in spec.metrics.items():
        for name in sorted(targets_counted_from_zero(value, spec.targets) & examples.scalings.keys()):
            message = f"the metric `{metric}` counts `{name}` from 0, and of scaled numbers it says something else"
            note = f"it divides by `{name}`, takes its logarithm or compares it with a number"
            hint = f"leave it out, or scale the inputs alone: `{stage}(columns: [{inputs}])`"
            raise NablacError(Diagnostic("E824", message, spec.span, note=note, hint=hint))


def path_of(given: str) -> str:
    """A path of the command line, which is relative to where the command runs, and not to the model's file."""
    return given if given.startswith("package:") else os.path.realpath(given)


def _wanted(training: Training) -> Wanted:
    targets = {name: value.type for name, value in training.spec.targets.items()}
    return Wanted(training.inputs, targets, _target_uses(training).measured)


def _target_uses(training: Training) -> TargetUses:
    """What the loss of the model for inference does with its targets."""
    spec = training.inference.training
    assert spec is not None and spec.loss is not None
    return target_uses(spec.loss, spec.targets)


def _of_file(stages: Sequence[Stage], path: str) -> Sequence[Stage]:
    """A data description of another file; NablacError where it names no file, or two that belong together."""
    if not stages or "path" not in stages[0].arguments or stages[0].arguments.get("labels"):
        what = "`labels` belong to its own file" if stages and "path" in stages[0].arguments else "it reads no file"
        message = f"{path} cannot take the place of what the train block's `data` reads: {what}"
        raise NablacError(Diagnostic("E824", message, stages[0].span if stages else None))
    return (replace(stages[0], arguments=stages[0].arguments | {"path": path}), *stages[1:])


def _loaded(training: Training, stages: Sequence[Stage], context: Context, wanted: Wanted) -> Examples:
    examples = load_examples(stages, context, wanted)
    check_lookups(loss_graph(training.inference), examples, training.spec.span)
    return examples


def _joined(examples: Examples, part: str, other: Examples, path: str) -> Examples:
    """With the examples of another file for a part."""
    arrays: dict[str, Array] = {}
    padding = examples.padding
    for name, array in examples.arrays.items():
        added = other.arrays[name]
        if examples.padded and array.ndim == 2:
            array, added = widened(array, added.shape[1], padding), widened(added, array.shape[1], padding)
        if array.shape[1:] != added.shape[1:]:
            shapes = [list(each.shape[1:]) for each in (added, array)]
            message = f"an example's `{name}` is {shapes[0]}, and {shapes[1]} in the training data"
            raise NablacError(Diagnostic("E824", message, place=path))
        arrays[name] = np.concatenate([array, added])
    count = len(examples)
    places = {**examples.parts, part: np.arange(count, count + len(other))}
    return replace(examples, arrays=arrays, parts=places, texts=[*examples.texts, *other.texts], lines=None)


def _overfit(training: Training, examples: Examples) -> Examples:
    """The first few training examples in the place of all, where the command asks for that."""
    few = training.options.overfit
    if few is None:
        return examples
    kept = examples.parts["training"][:few]
    return replace(examples, parts={**dict.fromkeys(PARTS, kept[:0]), "training": kept}, augmentations={})


def units_of_outputs(training: Training) -> dict[str, Unit]:
    """The units of each output of the model that is compiled; empty where no data was scaled."""
    return units_in(training.inference, training.fitted_now)


def unit_notes(training: Training) -> list[str]:
    """What to say of the units of the compiled model's outputs: which data's each has, and which stay scaled."""
    units = units_of_outputs(training)
    scaled_targets = [name for name in training.spec.targets if name in training.data.scalings]
    raw = {name for unit in units.values() for name in unit.of}
    left = _unscaled_notes(training)
    if not scaled_targets and not any(unit.kind == "raw" for unit in units.values()):
        return left
    why = ": weights act on it, and the loss compares it with no data"
    compared = raw & training.data.scalings.keys() or scaled_targets
    notes = ["units:     the loss and the metrics are of scaled numbers"] if compared else []
    notes += [f"units:     `{name}` is {unit}{why if unit.kind == 'model' else ''}" for name, unit in units.items()]
    return (
        notes
        + [
            f"note: no output is what the loss compares with `{name}`: the compiled model gives none in its raw units"
            for name in scaled_targets
            if name not in raw
        ]
        + left
    )


def _unscaled_notes(training: Training) -> list[str]:
    """What to say of a target that stays as it is, though all that is measured was to be scaled."""
    if not any(stage.name in SCALES and not stage.arguments["columns"] for stage in training.spec.data):
        return []
    uses, scaled = _target_uses(training), training.data.scalings
    return [
        f"note: `{name}` is not scaled: the loss does more with it than compare it with what the model computes"
        "; `columns` of a scaling name it all the same"
        for name, value in training.spec.targets.items()
        if name in uses.differences & uses.others and name not in scaled and value.type.dtype.is_float
    ]
