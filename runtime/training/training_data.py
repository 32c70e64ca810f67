"""The data side of a run: its examples in their parts, and what its compiled model says of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import Stage
from compiler.graph import Graph
from compiler.raw_units import in_raw_units, measured, outputs_in_units
from compiler.training import loss_graph
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import PARTS, Examples
from runtime.data.fitted import column_metadata, fitted_to
from runtime.data.loading import Wanted, fitted, load_examples
from runtime.data.lookups import check_lookups
from runtime.data.tokens import widened
from runtime.text.tokenizers import KEY as TOKENIZER

if TYPE_CHECKING:
    from compiler.graph import Value
    from compiler.types import Array
    from runtime.training.session import Training

CLASSES = "nablac.classes"  # of the metadata: the texts of the target's classes, in the order of their numbers


def context_of(training: Training) -> Context:
    """What the train block and the command say of all data: its folder, shares, seed."""
    settings, options = training.spec.settings, training.options
    validation = settings.get("validation", 0.0) if options.validation is None else options.validation
    test = settings.get("test", 0.0)
    shares = [0.0 if isinstance(each, str) else float(each) for each in (validation, test)]  # another file is no share
    if sum(shares) >= 1:
        message = f"validation {validation:g} and test {test:g} leave nothing to train on"
        raise NablacError(Diagnostic("E823", message, training.spec.span))
    folder = training.folder or Path(training.program.source.name).resolve().parent
    return Context(folder, shares[0], shares[1], training.seed, options.skip_broken, fitted=training.fitted)


def examples_of(training: Training) -> Examples:
    """The examples, by the names of the model's inputs and targets; NablacError for what does not fit it."""
    context, wanted = training.context, _wanted(training)
    if training.examples is not None:
        examples = fitted(training.examples, context, wanted, None)
        check_lookups(loss_graph(training.inference), examples, training.spec.span)
        return _overfit(training, examples)
    stages: Sequence[Stage] = training.spec.data
    if stages and training.options.data is not None:
        stages = _of_file(stages, path_of(training.options.data))
    examples = _loaded(training, stages, context, wanted)
    for part in ("validation", "test"):
        path = training.spec.settings.get(part)
        if isinstance(path, str):
            there = [stage for stage in _of_file(stages, path) if stage.name != "split"]
            whole = replace(context, validation=0.0, test=0.0, order="", fitted=fitted_to(examples))
            examples = _joined(examples, part, _loaded(training, there, whole, wanted), path)
    return _overfit(training, examples)


def path_of(given: str) -> str:
    """A path of the command line, which is relative to where the command runs, and not to the model's file."""
    return given if given.startswith("package:") else str(Path(given).resolve())


def _wanted(training: Training) -> Wanted:
    targets = {name: value.type for name, value in training.spec.targets.items()}
    return Wanted(training.inputs, targets, frozenset(_measured(training)))


def _measured(training: Training) -> dict[str, list[Value]]:
    """The values that the loss takes the difference of each target from, in the model for inference."""
    spec = training.inference.training
    assert spec is not None and spec.loss is not None
    return measured(spec.loss, spec.targets)


def _of_file(stages: Sequence[Stage], path: str) -> Sequence[Stage]:
    """A data description of another file."""
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


def graph_in_raw_units(training: Training) -> Graph:
    """The model for inference, taking and giving raw units where the data was scaled."""
    graph, scalings = training.inference.graph, training.data.scalings
    if not scalings:
        return graph
    numbers = {key: (each.offset, each.scale) for key, each in scalings.items()}
    shapes = {name: value.shape for name, value in training.spec.targets.items()}
    return in_raw_units(graph, numbers, _measured(training), shapes)


def unmeasured(training: Training) -> list[str]:
    """A line for each scaled target that no output is measured against: the compiled model keeps its outputs scaled."""
    outputs = outputs_in_units(training.inference.graph, _measured(training))
    return [
        f"note: no output is what the loss compares with `{name}`: the compiled model gives none in its raw units"
        for name in training.spec.targets
        if name in training.data.scalings and name not in outputs.values()
    ]


def metadata_of(data: Examples) -> dict[str, str]:
    """What the compiled model's file says of its data: a text model's tokenizer, the names of classes."""
    found = column_metadata(data)
    if data.tokenizer is not None:
        found[TOKENIZER] = data.tokenizer.to_json()
    columns = [data.columns.get(target, ()) for target in data.targets]
    classes = next((data.classes[each[0]] for each in columns if len(each) == 1 and each[0] in data.classes), None)
    if classes is not None:
        found[CLASSES] = json.dumps(classes, ensure_ascii=False)
    return found
