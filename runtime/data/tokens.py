"""Texts and pairs of texts as padded tokens: what a stage `tokens` makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import PARTS, Context, Examples, Text, cuts, parts_of
from runtime.text.tokenizers import BEGIN, END, MASK, PADDING, SPECIAL, Tokenizer, learn

if TYPE_CHECKING:
    from compiler.types import Array


IGNORED = -100  # the label of tokens that were not hidden, which losses leave out


def tokens(data: Text, stage: Stage, context: Context) -> Examples:
    """Pairs as `source`, `target_in` and `target_out`; with `classes`, as `tokens` and `label`; a text in windows.

    `target_in` begins with a begin token and `target_out` ends with an end token: one step apart. One vocabulary of at
    most `most` tokens for both sides, learnt from the training part. Sentences of more than `length` tokens are left
    out and counted.
    """
    if not isinstance(data, Text):
        raise NablacError(Diagnostic("E823", "`tokens` takes a text, or pairs of texts", stage.span))
    given = stage.arguments
    if not data.lines:
        return _masked(data, stage, context) if given["hide"] else _foretold(data, stage, context)
    whole = Examples({"line": np.arange(len(data.lines))}).split(context)
    training = whole.parts["training"]
    classes = sorted({name for _, name in data.lines}) if given["classes"] else []
    learnt = (side for place in training for side in data.lines[place][: 1 if classes else 2])
    tokenizer = learn(learnt, given["kind"], given["most"])
    kept: list[int] = []
    sides: list[tuple[list[int], list[int]]] = []
    for place, (source, target) in enumerate(data.lines):
        first = tokenizer.encode(source)
        second = [classes.index(target)] if classes else tokenizer.encode(target)
        if 0 < len(first) <= given["length"] and 0 < len(second) < given["length"]:
            kept.append(place)
            sides.append((first, second))
    if len(kept) < len(data.lines):
        context.skipped.append(f"{len(data.lines) - len(kept)} pairs of more than {given['length']} tokens")
    if not kept:
        raise NablacError(Diagnostic("E823", f"no pair has at most {given['length']} tokens a side", stage.span))
    if classes:
        arrays = {
            "tokens": padded([first for first, _ in sides]),
            "label": np.array([second[0] for _, second in sides]),
        }
    else:
        arrays = {
            "source": padded([first for first, _ in sides]),
            "target_in": padded([[BEGIN, *second] for _, second in sides]),
            "target_out": padded([[*second, END] for _, second in sides]),
        }
    where = np.full(len(data.lines), -1)
    where[kept] = np.arange(len(kept))
    parts = {name: where[places][where[places] >= 0] for name, places in whole.parts.items()}
    inputs, targets = (("source", "target_in"), ("target_out",)) if not classes else (("tokens",), ("label",))
    return Examples(
        arrays, inputs, targets, parts=parts, tokenizer=tokenizer, padded=True, vocabulary=tuple(classes or ())
    )


def _foretold(data: Text, stage: Stage, context: Context) -> Examples:
    """Windows of `length` tokens, each the target of the one before it."""
    given = stage.arguments
    first, _ = cuts(len(data.text), context)
    tokenizer = learn([data.text[:first]], given["kind"], given["most"])
    return windows_of(data.text, tokenizer, given["length"], given["length"], context, stage)


def _masked(data: Text, stage: Stage, context: Context) -> Examples:
    """Windows of `length` tokens in which a share `hide` is hidden (Devlin et al. 2018, section 3.1).

    `tokens` is what the model sees, `hidden` the tokens that it has to find, and IGNORED elsewhere; `segments` is 0. Of
    the tokens chosen, eight in ten become MASK, one another token, and one stays.
    """
    given = stage.arguments
    length, share = given["length"], given["hide"]
    if not 0 < share < 1:
        raise NablacError(Diagnostic("E823", "`hide` is a share of the tokens, above 0 and below 1", stage.span))
    first, _ = cuts(len(data.text), context)
    tokenizer = learn([data.text[:first]], given["kind"], given["most"])
    coded = np.array(tokenizer.encode(data.text), np.int64)
    count = len(coded) // length
    if not count:
        raise NablacError(Diagnostic("E823", f"{len(coded)} tokens are too few for windows of {length}", stage.span))
    whole = coded[: count * length].reshape(count, length)
    generator = np.random.default_rng([context.seed, 0x3A5C])
    chosen, how = generator.random(whole.shape) < share, generator.random(whole.shape)
    others = generator.integers(len(SPECIAL), max(tokenizer.size, len(SPECIAL) + 1), whole.shape)
    seen = np.where(chosen & (how < 0.8), MASK, np.where(chosen & (how >= 0.9), others, whole))
    arrays = {"tokens": seen, "segments": np.zeros_like(seen), "hidden": np.where(chosen, whole, IGNORED)}
    edges = cuts(count, context)
    places = np.split(np.arange(count), edges)
    parts = dict(zip(PARTS, places, strict=True))
    return Examples(arrays, ("tokens",), ("hidden",), True, parts, tokenizer=tokenizer)


def windows_of(text: str, tokenizer: Tokenizer, length: int, stride: int, context: Context, stage: Stage) -> Examples:
    """Windows of a text's tokens, each the target of the one before it."""
    coded = np.array(tokenizer.encode(text), np.int64)
    first, second = cuts(len(coded), context)
    starts = np.arange(0, len(coded) - length, stride)
    if not len(starts):
        raise NablacError(Diagnostic("E823", f"{len(coded)} tokens are too few for windows of {length}", stage.span))
    places = starts[:, None] + np.arange(length)
    parts = parts_of(starts, starts + length + 1, first, second)
    arrays = {"input": coded[places], "target": coded[places + 1]}
    return Examples(arrays, ("input",), ("target",), True, parts, tokenizer=tokenizer)


def padded(rows: list[list[int]]) -> Array:
    """Rows of numbers as one array, filled up with PADDING."""
    made = np.full((len(rows), max(map(len, rows))), PADDING, np.int64)
    for number, row in enumerate(rows):
        made[number, : len(row)] = row
    return made


def trimmed(batch: dict[str, Array]) -> dict[str, Array]:
    """A batch of padded rows without the columns that are padding in every row: as long as its longest sentence."""
    found = {}
    for name, array in batch.items():
        text = array.ndim == 2 and array.dtype.kind == "i"
        used = np.flatnonzero((array != PADDING).any(axis=0)) if text else None
        found[name] = array if used is None else array[:, : int(used[-1]) + 1 if len(used) else 1]
    return found


__all__ = ["Tokenizer", "padded", "tokens", "trimmed"]
