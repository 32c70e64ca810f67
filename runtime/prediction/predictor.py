"""A trained model for predictions: its recipe, the types of its inputs, and a function that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.assignment import Assigned
from runtime.data.examples import Examples
from runtime.data.model_arrays import cast, check_kind, reshape
from runtime.data.recipe import Recipe, recipe_in
from runtime.metadata import UNITS, read_entry, unit_kinds
from runtime.padding_effects import stored_unread_padding
from runtime.signature import random_keys
from runtime.table_lookups import check_stored
from runtime.text.lengths import LEAST, stored_lengths

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.onnx_session import OnnxRunner
    from runtime.text.tokenizers import Tokenizer

Feeds = dict[str, "Array"]
_NUMBERS_AT_ONCE = 1 << 22  # of the inputs of one batch
_MOST_AT_ONCE = 1024  # examples


@dataclass(frozen=True, eq=False)
class Predictor:
    """`run` takes arrays by the names of inputs, and returns those of all outputs, in raw units.

    `longest` and `least` are how many tokens a text of an input may have, and has to have (see runtime.text.lengths);
    of the inputs in `unread_padding`, texts of any length may share a batch (see runtime.padding_effects).
    """

    name: str
    recipe: Recipe
    types: Mapping[str, TensorType]
    units: Mapping[str, str]  # of the outputs of a model of scaled data: "raw", "computed" or the "model"'s own
    run: Callable[[Feeds], Feeds]
    longest: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    unread_padding: tuple[str, ...] = ()
    without_recipe: str | None = None  # what to do instead where the recipe says nothing of the data

    @staticmethod
    def of_runner(runner: OnnxRunner, seed: int = 0, tokenizer: Tokenizer | None = None) -> Predictor:
        """The predictor of a compiled model; NablacError if its file has no recipe."""
        metadata = runner.metadata
        recipe = recipe_in(metadata, tokenizer)
        if recipe is None or (recipe.source is None and not recipe.outputs):
            raise no_recipe(runner.name, _hint_of(metadata))
        keys = random_keys(runner.signature.types)
        drawn = {name: np.array(seed, np.int64) for name in keys}

        def run(feeds: Feeds) -> Feeds:
            check_stored(metadata, feeds)
            outputs = runner.run({**drawn, **feeds})
            return {name: array for name, array in outputs.items() if isinstance(array, np.ndarray)}

        foreign = next(iter(runner.foreign), None)
        if foreign is not None:
            message = f"the input `{foreign}` is {runner.inputs[foreign].type}, which is not supported"
            raise NablacError(Diagnostic(codes.E804, message, place=runner.name))
        types = {name: type for name, type in runner.signature.types.items() if name not in keys}
        longest, least = stored_lengths(metadata), stored_lengths(metadata, LEAST)
        units: dict[str, str] = read_entry(metadata, UNITS, {}, unit_kinds)
        unread = stored_unread_padding(metadata) if tokenizer is None else ()  # another may have other padding
        return Predictor(runner.name, recipe, types, units, run, longest, least, unread)

    def batch(self, shapes: Mapping[str, tuple[int, ...]] | None = None) -> int:
        """The number of examples in a batch, so that memory is bounded; always the same for the same model."""
        elements = 1
        for name, type in self.types.items():
            shape = (shapes or {}).get(name) or [size if isinstance(size, int) else 1 for size in type.shape[1:]]
            elements += int(np.prod(shape))
        return max(1, min(_MOST_AT_ONCE, _NUMBERS_AT_ONCE // elements))

    def feed(self, name: str, array: Array, examples: Examples) -> Array:
        """An array of examples in the type of the input `name`; NablacError with the row that does not fit."""
        columns = self.recipe.fitted.columns.get(name, ())
        part = Assigned(name, name, array, columns, None)
        type = self.types[name]
        check_kind(part, type, examples, None)
        return cast(reshape(array, part, type, examples, False, None), part, type, examples, None)[:]

    def in_scaled_units(self) -> list[str]:
        """The outputs about a target that stay in its scaled units of training."""
        return [
            name
            for name, meaning in self.recipe.outputs.items()
            if meaning.kind == "value" and meaning.target in self.recipe.fitted.scalings
            if self.units.get(name, "model") == "model"
        ]


COMPILE_AGAIN = "compile the run again with this version of nablac, or feed arrays with `nablac run`"


def _hint_of(metadata: Mapping[str, str]) -> str:
    """What to do instead with a file that has no recipe, by what its metadata says it is."""
    if "nablac.step" in metadata:
        return "it is one step of a training: name the run, or a model that `nablac compile RUN` writes"
    return COMPILE_AGAIN if "nablac.model" in metadata else "nablac has not compiled it: feed arrays with `nablac run`"


def no_recipe(name: str, hint: str | None = None) -> NablacError:
    """The error for a model without a recipe."""
    hint = hint or COMPILE_AGAIN
    message = f"{name} does not say what data it was trained on"
    return NablacError(Diagnostic(codes.E880, message, place=name, hint=hint))
