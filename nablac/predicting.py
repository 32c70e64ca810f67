"""Predictions of a model in Python: builds a predictor from its graph and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Protocol

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.foreign_arrays import from_torch

if TYPE_CHECKING:
    from compiler.graph import Graph
    from compiler.types import Array
    from compiler.units import Unit
    from runtime.data.recipe import Recipe
    from runtime.prediction.prediction import Inputs
    from runtime.prediction.predictions import Predictions
    from runtime.prediction.predictor import Predictor
    from runtime.text.tokenizers import Tokenizer


class Trained(Protocol):
    """The part of `Model` that predictions need."""

    @property
    def graph(self) -> Graph:
        """The optimised graph."""

    elaborated: Graph

    @property
    def name(self) -> str:
        """Its name in the program."""

    @property
    def units(self) -> dict[str, Unit]:
        """The units of its outputs, if its data was scaled."""

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of its data."""

    def __call__(self, **inputs: Any) -> dict[str, Array]:
        """The outputs by name."""


def predictor_of(model: Trained, tokenizer: Tokenizer | None = None) -> Predictor:
    """What predictions need of a model; NablacError where it does not know what data it was trained on.

    `tokenizer` stands for the one of the training.
    """
    from runtime.prediction.predictor import Predictor, no_recipe
    from runtime.signature import random_keys
    from runtime.text.lengths import longest_texts, shortest_texts

    recipe = model.recipe
    if recipe is None:
        raise no_recipe(model.name, "its weights are not trained: name the folder of a run, or weights of one")
    if tokenizer is not None:
        recipe = replace(recipe, fitted=recipe.fitted.with_tokenizer(tokenizer))
    types = {name: value.type for name, value in model.graph.inputs.items()}
    types = {name: type for name, type in types.items() if name not in random_keys(types)}
    lengths = longest_texts(model.elaborated), shortest_texts(model.elaborated)
    units = {name: str(unit.kind) for name, unit in model.units.items()}
    return Predictor(model.name, recipe, types, units, lambda feeds: model(**feeds), *lengths)


def predictions(model: Trained, inputs: Sequence[Any], skip_broken: bool, options: Mapping[str, Any]) -> Predictions:
    """All predictions for the inputs; `options` are fields of a Request."""
    from runtime.prediction.findings import Findings
    from runtime.prediction.prediction import Request, predict
    from runtime.prediction.predictions import Predictions

    known = [field.name for field in fields(Request)]
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None:
        hint = did_you_mean(unknown, known) or f"there are {', '.join(known)}"
        raise NablacError(Diagnostic(codes.E402, f"`predict` has no option `{unknown}`", place=unknown, hint=hint))
    findings = Findings(skip_broken)
    parts = list(predict(predictor_of(model), _inputs(inputs), Request(**options), findings))
    return Predictions.of(parts, findings.lines())


def _inputs(inputs: Sequence[Any]) -> Inputs:
    """Names of files, or the columns of one mapping or data frame; NablacError for anything else."""
    if len(inputs) == 1 and not isinstance(inputs[0], (str, PathLike)):
        (table,) = inputs
        if isinstance(table, Mapping):
            return {str(name): from_torch(table[name]) for name in table}
        if hasattr(table, "columns") and hasattr(table, "__getitem__"):  # a data frame, of whichever library
            return {str(name): table[name] for name in table.columns}
    if not all(isinstance(path, (str, PathLike)) for path in inputs):
        message = "an input is the name of a file, a dict of columns, or a data frame"
        raise NablacError(Diagnostic(codes.E823, message, place="inputs"))
    return [str(fspath(path)) for path in inputs]
