"""The data of a run: its examples and their parts, by the train block and the options of the command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import ON_EXAMPLES, SCALES
from compiler.model_spec import EXAMPLE_WEIGHT, SEED, WEIGHTS, DataStage, ModelSpec, TrainingSpec
from compiler.target_uses import target_uses, targets_counted_from_zero
from compiler.training.losses import loss_graph
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.boundary import names_in
from runtime.data.context import Context
from runtime.data.examples import PARTS, Examples, fitted_to
from runtime.data.loading import Requirements, load_examples, run_stages
from runtime.data.matching import PackagePath
from runtime.data.missing_entries import check_lookups
from runtime.data.padding import widen
from runtime.data.stored_rows import StoredRows, change_rows, join_rows
from runtime.data.table_files import of_file
from runtime.data.target_gaps import with_masks_of
from runtime.data.untrained_classes import note_untrained_classes
from runtime.training.batch_axis import check_example_axis
from runtime.training.run_options import Options

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.fitted import Fitted


def context_of(spec: TrainingSpec, options: Options, folder: Path, seed: int, fitted: Fitted | None = None) -> Context:
    """The context of all data by the train block and the command: its folder, fractions and seed.

    Relative paths begin at `folder`; `fitted` is the state that is known before the data is read.
    """
    settings = spec.settings
    if options.undivided:
        fixed = frozenset({"validation", "test"})
        return Context(folder, 0.0, 0.0, seed, options.skip_broken, fixed=fixed, fitted=fitted)
    validation = settings.validation if options.validation is None else options.validation
    test = settings.test
    shares = [0.0 if isinstance(part, str) else float(part) for part in (validation, test)]  # another file is no share
    if sum(shares) >= 1:
        message = f"validation {validation:g} and test {test:g} leave nothing to train on"
        raise NablacError(Diagnostic(codes.E823, message, spec.span))
    fixed = frozenset({"validation"} if options.validation is not None else ())
    return Context(folder, shares[0], shares[1], seed, options.skip_broken, fixed=fixed, fitted=fitted)


LoadExamples = Callable[[Sequence[DataStage], Context, Requirements], Examples]


def examples_of(
    model: ModelSpec,
    context: Context,
    options: Options,
    batch: int,
    arrays: Examples | None = None,
    load: LoadExamples = load_examples,
) -> Examples:
    """The examples, by the names of a model's inputs and targets; NablacError for data that does not fit it.

    `model` is in inference mode, with its train block. `arrays` replace the source and the stages that make examples
    of it; the other stages apply to them too. `load` reads the files.
    """
    spec = model.training
    assert spec is not None
    inputs = {name: value.type for name, value in model.graph.inputs.items() if name != SEED}
    targets = {name: value.type for name, value in spec.targets.items()}
    if arrays is not None:
        columns = tuple(stage.arguments["column"] for stage in spec.data if stage.name == WEIGHTS)
        _check_unread([name for name in arrays.arrays if name not in columns], {**inputs, **targets})
    examples = _all_examples(model, spec, context, options, arrays, _wanted(spec, inputs, targets), load)
    _check_metrics(spec, inputs, examples)
    count, shuffled = len(examples.parts["training"]), spec.settings.shuffle
    in_one_batch = count == len(examples) <= batch and not shuffled
    check_example_axis({**inputs, **targets}, spec.span, in_one_batch)
    return examples


def _check_unread(arrays: Iterable[str], wanted: Mapping[str, TensorType]) -> None:
    """NablacError for an unused array, if no input or target is missing that it may be meant for."""
    names = list(arrays)
    spare = [name for name in names if name not in wanted]
    if spare and all(name in names for name in wanted):
        hint = did_you_mean(spare[0], wanted) or f"its inputs and targets are {', '.join(wanted)}"
        message = f"the model has no input or target `{spare[0]}`"
        raise NablacError(Diagnostic(codes.E802, message, place=f"array `{spare[0]}`", hint=hint))


def _wanted(spec: TrainingSpec, inputs: Mapping[str, TensorType], targets: Mapping[str, TensorType]) -> Requirements:
    weight = spec.weights[EXAMPLE_WEIGHT].type.dtype if EXAMPLE_WEIGHT in spec.weights else None
    return Requirements(inputs, targets, target_uses(spec.loss, spec.targets).measured, weight)


def _all_examples(
    model: ModelSpec,
    spec: TrainingSpec,
    context: Context,
    options: Options,
    arrays: Examples | None,
    wanted: Requirements,
    load_stages: LoadExamples,
) -> Examples:
    """The examples of all files of the block and the command, with their parts."""
    looked_up = loss_graph(model)

    def load(stages: Sequence[DataStage], context: Context) -> Examples:
        examples = load_stages(stages, context, wanted)
        check_lookups(looked_up, examples, spec.span)
        return examples

    stages: Sequence[DataStage] = spec.data
    if arrays is not None:
        examples = run_stages(arrays, [stage for stage in stages if stage.name in ON_EXAMPLES], context, wanted)
        check_lookups(looked_up, examples, spec.span)
    else:
        if stages and options.data is not None:
            stages = _of_file(stages, _existing(path_of(options.data)))
        examples = load(stages, context)
    for part, path in (("validation", spec.settings.validation), ("test", spec.settings.test)):
        if isinstance(path, str) and part not in context.fixed:
            undivided = [stage for stage in _of_file(stages, path) if stage.name != "split"]
            whole = replace(context, validation=0.0, test=0.0, order="", fitted=fitted_to(examples))
            other = load(undivided, whole)
            examples = _join(with_masks_of(examples, other), part, with_masks_of(other, examples), path)
    if options.overfit is not None:
        return _first_examples(examples, options.overfit)
    if context.fitted is None:
        note_untrained_classes(examples, context)
    return examples


def _check_metrics(spec: TrainingSpec, inputs: Iterable[str], examples: Examples) -> None:
    """NablacError for a metric that scaling changes by more than its unit."""
    stage = next((stage.name for stage in spec.data if stage.name in SCALES), SCALES[0])
    listed = ", ".join(f'"{name}"' for name in inputs)
    for metric, value in spec.metrics.items():
        for name in sorted(targets_counted_from_zero(value, spec.targets) & examples.scalings.keys()):
            message = f"the metric `{metric}` depends on the zero of `{name}`, which scaling moves"
            note = f"it divides by `{name}`, takes its logarithm or compares it with a number"
            hint = f"leave it out, or scale the inputs alone: `{stage}(columns: [{listed}])`"
            raise NablacError(Diagnostic(codes.E824, message, spec.span, note=note, hint=hint))


def path_of(name: str) -> str:
    """A path of the command line, which is relative to the current folder, not to the model's file."""
    return name if PackagePath.parse(name) is not None else os.path.realpath(name)


def _existing(path: str) -> str:
    """The path of `--data`; NablacError if there is no such file, where the train block is not to blame."""
    if PackagePath.parse(path) is None and "*" not in path and not os.path.exists(path):
        hint = did_you_mean(os.path.basename(path), names_in(Path(path).parent))
        raise NablacError(Diagnostic(codes.E820, f"there is no file {path}", place="--data", hint=hint))
    return path


def _of_file(stages: Sequence[DataStage], path: str) -> Sequence[DataStage]:
    """The data description with another file; NablacError if it reads no file, or two that belong together."""
    if not stages or "path" not in stages[0].arguments or stages[0].arguments.get("labels"):
        what = "`labels` belong to its own file" if stages and "path" in stages[0].arguments else "it reads no file"
        message = f"{path} cannot replace what the train block's `data` reads: {what}"
        raise NablacError(Diagnostic(codes.E824, message, stages[0].span if stages else None))
    return (of_file(stages[0], path), *stages[1:])


def _join(examples: Examples, part: str, other: Examples, path: str) -> Examples:
    """Add the examples of another file as a part."""
    arrays: dict[str, Array | StoredRows] = {}
    for name, array in examples.arrays.items():
        added = other.arrays[name]
        if examples.padded and array.ndim == 2:
            padding = examples.padding_of(name)
            widest = partial(widen, width=max(array.shape[1], added.shape[1]), padding=padding)
            array, added = change_rows(array, widest), change_rows(added, widest)
        if array.shape[1:] != added.shape[1:]:
            shapes = [list(rows.shape[1:]) for rows in (added, array)]
            message = f"an example's `{name}` is {shapes[0]}, and {shapes[1]} in the training data"
            raise NablacError(Diagnostic(codes.E824, message, place=path))
        arrays[name] = join_rows(array, added)
    count = len(examples)
    parts = {**examples.parts, part: np.arange(count, count + len(other))}
    raw = {name: join_rows(array, other.raw[name]) for name, array in examples.raw.items()}
    texts = [*examples.texts, *other.texts]
    files = (*examples.files, *other.files)
    joined = replace(examples, arrays=arrays, parts=parts, texts=texts, lines=None, files=files, raw=raw)
    joined = replace(joined, series=None, starts=None)
    if examples.series is None or examples.starts is None or other.series is None or other.starts is None:
        return joined
    series, moved = examples.series.joined(other.series)
    return replace(joined, series=series, starts=np.concatenate([examples.starts, other.starts + moved]))


def _first_examples(examples: Examples, count: int) -> Examples:
    """Only the first examples of the training part."""
    kept = examples.parts["training"][:count]
    return replace(examples, parts={**dict.fromkeys(PARTS, kept[:0]), "training": kept}, augmentations={})
