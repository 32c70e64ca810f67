"""Data for a compiled model, read as its recipe says: with the targets that its outputs say something of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from compiler.output_meanings import CLASS_SCORES
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError
from grammar.source import Source, Span
from runtime.data.context import Context
from runtime.data.loading import Requirements, load_examples
from runtime.data.padding import Padding
from runtime.data.table_files import of_file
from runtime.prediction.predictor import no_recipe
from runtime.training.training_data import path_of

if TYPE_CHECKING:
    from runtime.data.examples import Examples
    from runtime.prediction.predictor import Predictor

PART = "all"


def examples_by_recipe(
    predictor: Predictor, outputs: Mapping[str, TensorType], path: str, skip_broken: bool = False
) -> tuple[Examples, Context]:
    """The examples of a file, all in one part, scaled and numbered as those of the training were, and what was noted.

    `outputs` are the types of the model's outputs. NablacError for data that does not fit, and for a model that does
    not say what its data went through.
    """
    recipe = predictor.recipe
    if recipe.source is None or not recipe.outputs:
        raise no_recipe(predictor.name)
    nowhere = Span(Source(path, ""), 0, 0)
    stages = [DataStage(stage.name, dict(stage.arguments), nowhere) for stage in recipe.fitted.stages]
    stages[0] = of_file(DataStage(stages[0].name, {"labels": "", **stages[0].arguments}, nowhere), path_of(path))
    stages = [
        DataStage(stage.name, {"kind": "words", **stage.arguments}, nowhere) if stage.name == "tokens" else stage
        for stage in stages  # the kind of a tokenizer that is there already is not asked for
    ]
    fixed = frozenset({"validation", "test"})
    targets = _target_types(predictor, outputs)
    masks = all(type.dtype.is_float for type in targets.values())
    context = Context(
        Path.cwd(), skip_broken=skip_broken, fixed=fixed, fitted=recipe.fitted, keeps_raw=True, masks=masks
    )
    try:
        examples = load_examples(stages, context, Requirements(predictor.types, targets, frozenset(targets)))
    except NablacError as error:  # there is no text that its spans are of
        raise NablacError(
            *(replace(fault, span=None, labels=(), place=fault.place or path) for fault in error.diagnostics)
        ) from error
    examples.parts[PART] = np.arange(len(examples))
    return examples, context


def padding_by_types(predictor: Predictor, examples: Examples) -> Padding | None:
    """The padding of such examples: none along inputs of a fixed width, and as many tokens as the model needs."""
    if not examples.padded:
        return None
    padding = Padding.of_examples(examples)
    fixed = {name for name, type in predictor.types.items() if type.rank > 1 and isinstance(type.shape[1], int)}
    return replace(padding, axes={name: name for name in padding.axes if name not in fixed}, least=predictor.least)


def _target_types(predictor: Predictor, outputs: Mapping[str, TensorType]) -> dict[str, TensorType]:
    """The type of each target, by what an output says of it: its value, or its class by its number."""
    types: dict[str, TensorType] = {}
    for name, meaning in predictor.recipe.outputs.items():
        type = outputs.get(name)
        if type is None:
            continue
        if meaning.kind in CLASS_SCORES:
            type = TensorType(DType.I64, type.shape[:-1])
        elif meaning.kind == "class":
            type = TensorType(DType.I64, type.shape)
        types.setdefault(meaning.target, type)
    return types
