"""Predictions of a model in Python: builds a predictor from its graph and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Protocol

from compiler.lazy import LazyModule
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from nablac.arguments import check_float_inputs
from runtime.foreign_arrays import from_torch

if TYPE_CHECKING:
    import numpy as np

    from compiler.graph import Graph
    from compiler.types import Array
    from compiler.units import Unit
    from runtime.data.recipe import Recipe
    from runtime.prediction.prediction import Inputs
    from runtime.prediction.predictions import Predictions
    from runtime.prediction.predictor import Predictor
    from runtime.text.tokenizers import Tokenizer
else:
    np = LazyModule("numpy")

_MOST_LISTED = 8  # columns in a hint


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
    from runtime.padding_effects import unread_padding
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
    unread = unread_padding(model.elaborated, recipe.fitted)
    return Predictor(model.name, recipe, types, units, lambda feeds: model(**feeds), *lengths, unread)


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
    predictor = predictor_of(model)
    by_name = _calls_by_name(predictor)
    predictor = replace(predictor, without_recipe=f"as after training on arrays: {by_name}")
    parts = list(predict(predictor, _inputs(inputs, predictor, by_name), Request(**options), findings))
    return Predictions.of(parts, findings.lines())


def _calls_by_name(predictor: Predictor) -> str:
    """How a prediction, or else the model, is called with columns or arrays by name."""
    columns = [column for name in predictor.types for column in predictor.recipe.columns_of(name) or (name,)]
    entries = ", ".join(f'"{column}": ...' for column in columns[:_MOST_LISTED])
    more = ", ..." if len(columns) > _MOST_LISTED else ""
    keywords = ", ".join(f"{name}=..." for name in predictor.types)
    return f"`predict({{{entries}{more}}})` takes columns or arrays by name, as `model({keywords})` takes arrays"


def _inputs(inputs: Sequence[Any], predictor: Predictor, by_name: str) -> Inputs:
    """Names of files, or the columns of one mapping or data frame; NablacError for anything else.

    And for integers as a float input of arrays, as in a call.
    """
    arguments = _files_or_columns(inputs, by_name)
    recipe = predictor.recipe
    if isinstance(arguments, Mapping) and recipe.stage("columns") is None and recipe.stage("window") is None:
        check_float_inputs(predictor.types, arguments, {name: np.asarray(arguments[name]) for name in arguments})
    return arguments


def _files_or_columns(inputs: Sequence[Any], by_name: str) -> Inputs:
    if len(inputs) == 1 and not isinstance(inputs[0], (str, PathLike)):
        (table,) = inputs
        if isinstance(table, Mapping):
            return {str(name): from_torch(table[name]) for name in table}
        if hasattr(table, "columns") and hasattr(table, "__getitem__"):  # a data frame, of whichever library
            return {str(name): table[name] for name in table.columns}
    if not all(isinstance(path, (str, PathLike)) for path in inputs):
        message = "an input is the name of a file, a dict of columns, or a data frame"
        raise NablacError(Diagnostic(codes.E823, message, place="inputs", hint=by_name))
    return [str(fspath(path)) for path in inputs]
