"""What is made of data on its way: one function for each stage of `compiler.elaborate.data.STAGES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import Context, Examples, Rows, Scaling, Text, cuts, parts_of
from runtime.data.tokens import tokens, windows_of
from runtime.text.tokenizers import Listed
from runtime.text.words import pieces

if TYPE_CHECKING:
    from compiler.types import Array

Step = Callable[[Any, Stage, Context], Any]


def columns(data: Rows, stage: Stage, context: Context) -> Examples:
    """Each row an example: `inputs` and `targets` are columns' names."""
    _needs(data, Rows, stage)
    inputs, targets = _names(stage.arguments["inputs"]), _names(stage.arguments["targets"])
    table = data.numbers([*inputs, *targets], context, stage.span)
    arrays = {"input": table[:, : len(inputs)], "target": table[:, len(inputs) :]}
    made = Examples(arrays, ("input",), ("target",)).split(context)
    return _scaled(made, data.scale, data.limits) if data.scale else made


def window(data: Rows, stage: Stage, context: Context) -> Examples:
    """`length` rows in, the `horizon` rows after them out.

    With `shift` the target is the input's own columns, `shift` rows later and as long: for a model that answers at
    every step. `target` names other columns to foretell. Examples whose target lies in the validation or test rows
    belong to these parts, and scaling sees the training rows alone.
    """
    _needs(data, Rows, stage)
    given = stage.arguments
    inputs = _names(given["columns"])
    targets = _names(given["target"]) if given["target"] else inputs
    table = data.numbers(list(dict.fromkeys([*inputs, *targets])), context, stage.span)
    names = list(dict.fromkeys([*inputs, *targets]))
    first, second = cuts(len(table), context)
    scaling = scaling_of(table[:first], data.scale, data.limits)
    table = scaling.scaled(table)
    length, horizon, shift, stride = given["length"], given["horizon"], given["shift"], given["stride"]
    if min(length, horizon, stride) < 1 or shift < 0:
        raise NablacError(Diagnostic("E823", "length, horizon and stride are at least 1, shift at least 0", stage.span))
    begin = shift or length  # of the target, counted from the window's start
    count = len(table) - max(length, begin + horizon) + 1
    if count < 1:
        raise NablacError(
            Diagnostic(
                "E823",
                f"{len(table)} rows are too few for windows of {length} and a horizon of {horizon}",
                stage.span,
                hint="shorten the window, or bring more data",
            )
        )
    starts = np.arange(0, count, stride)
    take_in = [names.index(name) for name in inputs]
    take_out = [names.index(name) for name in targets]
    x = table[starts[:, None] + np.arange(length)][:, :, take_in]
    y = table[starts[:, None] + begin + np.arange(horizon)][:, :, take_out]
    parts = parts_of(starts + begin, starts + begin + horizon, first, second)
    scalings = (
        {
            "input": Scaling(scaling.offset[take_in], scaling.scale[take_in]),
            "target": Scaling(scaling.offset[take_out], scaling.scale[take_out]),
        }
        if data.scale
        else {}
    )
    return Examples({"input": x, "target": y}, ("input",), ("target",), True, parts, scalings)


def standardize(data: Rows | Examples, stage: Stage, context: Context) -> Rows | Examples:
    """To mean 0 and deviation 1, as the training part has them."""
    return _scale(data, "standardize", (0.0, 1.0), context, stage)


def min_max(data: Rows | Examples, stage: Stage, context: Context) -> Rows | Examples:
    """From `low` to `high`, as the training part spans them."""
    return _scale(data, "min_max", (stage.arguments["low"], stage.arguments["high"]), context, stage)


def split(data: Examples, stage: Stage, context: Context) -> Examples:
    """Shares for validation and test, in time `order` or `random`."""
    _needs(data, Examples, stage)
    given = stage.arguments
    validation = context.validation if given["validation"] < 0 else given["validation"]
    shares = replace(context, validation=validation, test=given["test"] or context.test)
    if shares.validation + shares.test >= 1 or given["order"] not in ("", "time", "random"):
        raise NablacError(
            Diagnostic("E823", "shares add up to less than 1, and the order is `time` or `random`", stage.span)
        )
    return replace(data, parts={}).split(shares, given["order"])


def characters(data: Text, stage: Stage, context: Context) -> Examples:
    """Windows of `length` characters, each the target of the one before it.

    The vocabulary is that of the training part, after an entry for characters it does not have.
    """
    _needs(data, Text, stage)
    length, stride = stage.arguments["length"], stage.arguments["stride"] or stage.arguments["length"]
    first, _ = cuts(len(data.text), context)
    tokenizer = Listed("characters", tuple(sorted(set(data.text[:first]))), UNSEEN)
    return windows_of(data.text, tokenizer, length, stride, context, stage)


def words(data: Text, stage: Stage, context: Context) -> Examples:
    """As `characters`, of words and punctuation; the `most` frequent words of the training part are known."""
    from collections import Counter

    _needs(data, Text, stage)
    tokens = pieces(data.text, "words")
    first, _ = cuts(len(tokens), context)
    counted = Counter(tokens[:first]).most_common(stage.arguments["most"])
    length, stride = stage.arguments["length"], stage.arguments["stride"] or stage.arguments["length"]
    tokenizer = Listed("words", tuple(word for word, _ in counted), UNSEEN)
    return windows_of(data.text, tokenizer, length, stride, context, stage)


UNSEEN = ("\N{REPLACEMENT CHARACTER}",)  # the only special token of these two


def augment(data: Examples, stage: Stage, context: Context) -> Examples:
    """Changes to training batches as they are drawn; see `runtime.data.augmentation`."""
    _needs(data, Examples, stage)
    chosen = {name: value for name, value in stage.arguments.items() if value}
    return replace(data, augmentations={**data.augmentations, **chosen})


def scaling_of(table: Array, kind: str, limits: tuple[float, float]) -> Scaling:
    """The scaling of each column (last axis); one that does not vary is only moved."""
    flat = table.reshape(-1, table.shape[-1])
    if kind == "standardize":
        offset, scale = flat.mean(axis=0), flat.std(axis=0)
    elif kind == "min_max":
        low, high = limits
        least, most = flat.min(axis=0), flat.max(axis=0)
        scale = (most - least) / (high - low)
        offset = least - low * scale
    else:
        offset, scale = np.zeros(flat.shape[1]), np.ones(flat.shape[1])
    return Scaling(offset, np.where(scale == 0, 1.0, scale))


def _scale(
    data: Rows | Examples, kind: str, limits: tuple[float, float], context: Context, stage: Stage
) -> Rows | Examples:
    if isinstance(data, Rows):
        return replace(data, scale=kind, limits=limits)
    _needs(data, Examples, stage)
    return _scaled(data.split(context), kind, limits)


def _scaled(data: Examples, kind: str, limits: tuple[float, float]) -> Examples:
    """Every float array scaled by what its training part shows."""
    training = data.parts["training"]
    scalings = {
        name: scaling_of(array[training].astype(np.float64), kind, limits)
        for name, array in data.arrays.items()
        if array.dtype.kind == "f" and array.ndim > 1
    }
    arrays = {name: scalings[name].scaled(array) if name in scalings else array for name, array in data.arrays.items()}
    return replace(data, arrays=arrays, scalings={**data.scalings, **scalings})


def _names(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def _needs(data: Any, kind: type, stage: Stage) -> None:
    if not isinstance(data, kind):
        words = {Rows: "rows of a table", Examples: "examples", Text: "a text"}
        raise NablacError(
            Diagnostic(
                "E823",
                f"`{stage.name}` takes {words[kind]}, and gets {words.get(type(data), 'something else')}",
                stage.span,
            )
        )


STAGES: dict[str, Step] = {
    "columns": columns,
    "window": window,
    "standardize": standardize,
    "min_max": min_max,
    "split": split,
    "augment": augment,
    "characters": characters,
    "words": words,
    "tokens": tokens,
}
