"""Texts and pairs of texts as padded tokens: what a stage `tokens` makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples, Text, cuts, window_parts
from runtime.text.tokenizers import BEGIN, END, MASK, PADDING, SPECIAL, Tokenizer, learn, read_tokenizer

if TYPE_CHECKING:
    from compiler.types import Array


IGNORED = -100  # the label of tokens that were not hidden, which losses leave out


def tokens(data: Text, stage: Stage, context: Context) -> Examples:
    """Pairs as `source`, `target_in` and `target_out`, a text as windows; other `target`s as `tokens` and `label`.

    `target_in` begins with a begin token and `target_out` ends with an end token: one step apart. Of `target: "class"`
    the second side is the name of one, of `target: "number"` a number. One vocabulary of at most `most` tokens, learnt
    from the training part. Sentences of more than `length` tokens are left out and counted.
    """
    if not isinstance(data, Text):
        raise NablacError(Diagnostic("E823", "`tokens` takes a text, or pairs of texts", stage.span))
    given = stage.arguments
    if not data.lines:
        return _masked(data, stage, context) if given["hide"] else _foretold(data, stage, context)
    classes: tuple[str, ...] = ()
    if given["target"] == "class":
        data, classes = _classed(data, context)
    whole = Examples({"line": np.arange(len(data.lines))}).split(context)
    translated = given["target"] == "text"
    learnt = (side for place in whole.parts["training"] for side in data.lines[place][: 2 if translated else 1])
    tokenizer = _tokenizer(learnt, stage, context)
    coded = [[tokenizer.encode(side) for side in line[: 2 if translated else 1]] for line in data.lines]
    # The longest has to leave room for the token that begins or ends a target.
    kept = [
        place
        for place, (source, *target) in enumerate(coded)
        if 0 < len(source) <= given["length"] and all(0 < len(each) < given["length"] for each in target)
    ]
    if len(kept) < len(data.lines):
        context.skipped.append(f"{len(data.lines) - len(kept)} pairs of more than {given['length']} tokens")
    if not kept:
        raise NablacError(Diagnostic("E823", f"no pair has at most {given['length']} tokens a side", stage.span))
    where = np.full(len(data.lines), -1)
    where[kept] = np.arange(len(kept))
    parts = {name: where[places][where[places] >= 0] for name, places in whole.parts.items()}
    source = padded([coded[place][0] for place in kept])
    if translated:
        begin = BEGIN if tokenizer.begin is None else tokenizer.begin
        end = END if tokenizer.end is None else tokenizer.end
        arrays = {
            "source": source,
            "target_in": padded([[begin, *coded[place][1]] for place in kept]),
            "target_out": padded([[*coded[place][1], end] for place in kept]),
        }
        names = ("source", "target_in"), ("target_out",)
        return Examples(arrays, *names, parts=parts, tokenizer=tokenizer, padded=True)
    texts = [data.lines[place][1] for place in kept]
    label = np.array([classes.index(text) for text in texts]) if classes else _numbers(texts, data.place, stage)
    return Examples(
        {"tokens": source, "label": label},
        ("tokens",),
        ("label",),
        parts=parts,
        columns={"label": ("label",)},
        classes={"label": classes} if classes else {},
        tokenizer=tokenizer,
        padded=True,
    )


def known(context: Context) -> Tokenizer | None:
    """The tokenizer that the training part, or the run, has already."""
    return context.fitted.tokenizer if context.fitted is not None else None


def _tokenizer(texts: Iterable[str], stage: Stage, context: Context) -> Tokenizer:
    """What the run has already, the file that `kind` names, or one learnt from texts."""
    kind = stage.arguments["kind"]
    fitted = known(context)
    if fitted is not None:
        return fitted
    if not kind.endswith((".json", ".txt")):
        return learn(texts, kind, stage.arguments["most"])
    tokenizer = read_tokenizer(context.path(kind, stage.span))
    if tokenizer.decode([PADDING]):
        message = f"token 0 of {kind} is `{tokenizer.decode([PADDING])}`, and rows are padded with it"
        raise NablacError(Diagnostic("E850", message, stage.span, hint="a tokenizer whose first token is padding fits"))
    return tokenizer


def _classed(data: Text, context: Context) -> tuple[Text, tuple[str, ...]]:
    """The classes that the second sides name, in order, or those that are known already; other pairs are broken."""
    fitted = context.fitted.classes.get("label") if context.fitted is not None else None
    classes = fitted or tuple(sorted({line[1] for line in data.lines}))
    lines = []
    for line in data.lines:
        if line[1] in classes:
            lines.append(line)
        else:
            context.broken(data.place, f"`{line[1]}` is none of the classes {', '.join(classes)}")
    return replace(data, lines=lines), classes


def _numbers(texts: list[str], place: str, stage: Stage) -> Array:
    try:
        return np.array([float(text) for text in texts])[:, None]
    except ValueError:
        wrong = next(text for text in texts if not _is_number(text))
        raise NablacError(Diagnostic("E821", f"`{wrong}` is no number", stage.span, place=place)) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _foretold(data: Text, stage: Stage, context: Context) -> Examples:
    """Windows of `length` tokens, each the target of the one before it."""
    given = stage.arguments
    first, _ = cuts(len(data.text), context)
    tokenizer = _tokenizer([data.text[:first]], stage, context)
    return windows_of(data.text, tokenizer, given["length"], given["length"], context, stage)


def _masked(data: Text, stage: Stage, context: Context) -> Examples:
    """Windows of `length` tokens in which a share `hide` is hidden (Devlin et al. 2018, section 3.1).

    `tokens` is what the model sees, `hidden` the tokens that it has to find, and IGNORED elsewhere; `segments` is 0. Of
    the tokens chosen, eight in ten become MASK, one another token, and one stays.
    """
    given = stage.arguments
    length, share = given["length"], given["hide"]
    first, _ = cuts(len(data.text), context)
    tokenizer = _tokenizer([data.text[:first]], stage, context)
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
    return Examples(arrays, ("tokens",), ("hidden",), ordered=True, tokenizer=tokenizer)


def windows_of(text: str, tokenizer: Tokenizer, length: int, stride: int, context: Context, stage: Stage) -> Examples:
    """Windows of a text's tokens, each the target of the one before it."""
    coded = np.array(tokenizer.encode(text), np.int64)
    starts = np.arange(0, len(coded) - length, stride)
    if not len(starts):
        raise NablacError(Diagnostic("E823", f"{len(coded)} tokens are too few for windows of {length}", stage.span))
    places = starts[:, None] + np.arange(length)
    parts = window_parts(starts, starts + length + 1, len(coded), stride < length, context, stage)
    arrays = {"input": coded[places], "target": coded[places + 1]}
    return Examples(arrays, ("input",), ("target",), ordered=True, parts=parts, tokenizer=tokenizer)


def padded(rows: list[list[int]]) -> Array:
    """Rows of numbers as one array, filled up with PADDING."""
    made = np.full((len(rows), max(map(len, rows))), PADDING, np.int64)
    for number, row in enumerate(rows):
        made[number, : len(row)] = row
    return made


def widened(array: Array, width: int) -> Array:
    """Padded rows with more padding, up to `width`."""
    return np.pad(array, ((0, 0), (0, max(0, width - array.shape[1]))), constant_values=PADDING)


def trimmed(batch: dict[str, Array]) -> dict[str, Array]:
    """A batch of padded rows without the columns that are padding in every row: as long as its longest sentence."""
    found = {}
    for name, array in batch.items():
        text = array.ndim == 2 and array.dtype.kind == "i"
        used = np.flatnonzero((array != PADDING).any(axis=0)) if text else None
        found[name] = array if used is None else array[:, : int(used[-1]) + 1 if len(used) else 1]
    return found


__all__ = ["Tokenizer", "known", "padded", "tokens", "trimmed", "widened", "windows_of"]
