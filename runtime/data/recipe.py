"""Recipes: the facts of its training data with which a model predicts from raw tables, images or texts.

A recipe is the fitted state of the data (`Fitted`), its stages, and the meaning of each output by the loss. A run
stores it in `data.json`, a compiled model in its metadata; both predict with it alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from compiler.elaborate.data import SOURCES, TABLES, listed_names
from compiler.model_spec import WEIGHTS, DataStage, ModelSpec
from compiler.output_meanings import Kind, Meaning, output_meanings
from runtime.atomic_files import write_bytes
from runtime.boundary import LARGEST_JSON, read_file, reason_of
from runtime.data.fitted import DATA, FILES, TOKENS, Fitted, Stage, facts_of, parse_facts, unreadable
from runtime.metadata import CLASSES, COLUMNS, read_entry, text_lists, texts
from runtime.text.tokenizers import KEY as TOKENIZER
from runtime.text.tokenizers import LEARNT, Tokenizer, from_json, read_tokenizer
from runtime.text.words import KINDS as LISTED
from runtime.typed import read_as

RECIPE = "nablac.recipe"  # of the metadata
_OF_TRAINING = frozenset({"split", "augment", WEIGHTS})  # stages that are not applied to later data
_BEST_FIRST: tuple[Kind, ...] = ("probabilities", "log_probabilities", "logits", "class")


@dataclass(frozen=True)
class Recipe:
    """The data of a training: its stages, its fitted state, and the meanings of the model's outputs."""

    fitted: Fitted = field(default_factory=Fitted)
    outputs: Mapping[str, Meaning] = field(default_factory=dict)

    @property
    def source(self) -> Stage | None:
        """The source of the data; None if it is not known, as for arrays."""
        first = self.fitted.stages[0] if self.fitted.stages else None
        return first if first is not None and first.name in SOURCES else None

    def stage(self, name: str) -> Stage | None:
        """The stage with a name; None if there is none."""
        return next((stage for stage in self.fitted.stages if stage.name == name), None)

    @property
    def series_columns(self) -> tuple[str, ...]:
        """The columns that told the series of the training data apart; none where it was one series."""
        stage = self.stage("by")
        return tuple(listed_names(stage.arguments["columns"])) if stage is not None else ()

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The columns of an input or a target in the table; empty if it has none."""
        return self.fitted.columns.get(name) or self.fitted.targets.get(name, ())

    def classes_of(self, target: str) -> tuple[str, ...]:
        """The names of a target's classes by index; empty if they have none."""
        columns = self.fitted.targets.get(target, ())
        named = self.fitted.classes.get(columns[0], ()) if len(columns) == 1 else ()
        return named or (self.fitted.labels if not self.fitted.targets else ())

    def class_output(self, target: str) -> str | None:
        """The most informative output about a target's classes; None if there is none."""
        for kind in _BEST_FIRST:
            for name, meaning in self.outputs.items():
                if meaning == Meaning(kind, target):
                    return name
        return None


def described(stages: Iterable[DataStage], decided: Mapping[str, Any] | None = None) -> tuple[Stage, ...]:
    """The stages to apply to later data: without files, with the arguments that the source has `decided`."""
    kept: list[Stage] = []
    for stage in stages:
        if stage.name in _OF_TRAINING:
            continue
        arguments = {name: value for name, value in stage.arguments.items() if name not in FILES}
        if stage.name == "tokens" and arguments["kind"] not in (*LISTED, *LEARNT):
            del arguments["kind"]  # the file of a tokenizer, which the run has whole
        if not kept:
            arguments.update(decided or {})
        kept.append(Stage(stage.name, arguments))
    return tuple(kept)


def recipe_of(model: ModelSpec, fitted: Fitted | None) -> Recipe | None:
    """The recipe of a model, given for inference, that was trained on what `fitted` says; None where nothing is known.

    What earlier versions have kept has no stages: those of the train block stand for them.
    """
    if fitted is None:
        return None
    spec = model.training
    if spec is not None and not fitted.stages and spec.data and spec.data[0].name in SOURCES:
        if fitted.columns or spec.data[0].name not in TABLES:  # else the data was given as arrays
            fitted = replace(fitted, stages=described(spec.data), targets=_targets_of(model, fitted))
    return Recipe(fitted, output_meanings(model))


def _targets_of(model: ModelSpec, fitted: Fitted) -> Mapping[str, tuple[str, ...]]:
    """The columns of the one target of a model, as its train block names them."""
    spec = model.training
    if fitted.targets or spec is None or len(spec.targets) != 1:
        return fitted.targets
    (target,) = spec.targets
    for stage in spec.data:
        if stage.name in ("columns", "window"):
            arguments = stage.arguments
            named = arguments["targets"] if stage.name == "columns" else arguments["target"] or arguments["columns"]
            columns = tuple(map(str, named)) if isinstance(named, list) else (str(named),)
            return {target: columns} if columns else {}
    return {target: ("label",)} if "label" in fitted.classes else {}


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON values, without its tokenizer, which has a file or a metadata entry of its own."""
    outputs = {name: {"kind": meaning.kind, "target": meaning.target} for name, meaning in recipe.outputs.items()}
    return {**facts_of(recipe.fitted), "outputs": outputs}


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a recipe to a run's folder."""
    text = json.dumps(recipe_to_json(recipe), indent=2, ensure_ascii=False)
    write_bytes(folder / DATA, (text + "\n").encode())
    if recipe.fitted.tokenizer is not None:
        write_bytes(folder / TOKENS, recipe.fitted.tokenizer.to_json().encode())


def read_recipe(folder: Path) -> Recipe | None:
    """The recipe in a run's folder, without stages and outputs if an older version wrote it; None if none."""
    path, tokens = folder / DATA, folder / TOKENS
    if not os.path.isfile(path):
        return None
    try:
        content = json.loads(read_file(path, LARGEST_JSON))
        tokenizer = read_tokenizer(tokens) if os.path.isfile(tokens) else None
        return Recipe(parse_facts(content, tokenizer), _outputs(content))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise unreadable(str(path), reason_of(error)) from error


def recipe_metadata(recipe: Recipe) -> dict[str, str]:
    """The metadata entries of a recipe and its tokenizer."""
    metadata = {RECIPE: json.dumps(recipe_to_json(recipe), ensure_ascii=False)}
    if recipe.fitted.tokenizer is not None:
        metadata[TOKENIZER] = recipe.fitted.tokenizer.to_json()
    return metadata


def recipe_in(metadata: Mapping[str, str], another: Tokenizer | None = None) -> Recipe | None:
    """The recipe of a compiled model; of an earlier version what it says of columns and classes, None of any other.

    `another` tokenizer stands for its own. NablacError (E915) for what nablac did not write.
    """
    tokenizer = another
    if tokenizer is None and TOKENIZER in metadata:
        tokenizer = from_json(metadata[TOKENIZER])
    if RECIPE in metadata:
        recipe = read_entry(
            metadata, RECIPE, None, lambda value: Recipe(parse_facts(value, tokenizer), _outputs(value))
        )
        if recipe is None or another is None:
            return recipe
        return replace(recipe, fitted=recipe.fitted.with_tokenizer(another))
    columns: dict[str, tuple[str, ...]] = read_entry(metadata, COLUMNS, {}, text_lists)
    labels: list[str] = read_entry(metadata, CLASSES, [], texts)
    if not columns and not labels and tokenizer is None:
        return None
    return Recipe(Fitted(tokenizer=tokenizer, labels=tuple(labels), columns=columns))


def _outputs(content: Any) -> dict[str, Meaning]:
    """The meanings of outputs; raises Python's own exceptions for anything else."""
    meanings = read_as(dict[str, dict[str, str]], content.get("outputs", {}))
    unknown = next((value["kind"] for value in meanings.values() if value["kind"] not in get_args(Kind)), None)
    if unknown is not None:
        raise ValueError(f"`{unknown}` is nothing that an output says of a target")
    return {name: Meaning(value["kind"], value["target"]) for name, value in meanings.items()}
