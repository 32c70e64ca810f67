"""The stage `tokens`: texts and pairs of texts as padded rows of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.coded_text import WindowRows, coded, learn_of_text, read_small, smallest_type
from runtime.data.context import Context
from runtime.data.csv_file import PLAIN
from runtime.data.examples import Examples, Text, cuts, window_parts
from runtime.data.padding import pad
from runtime.data.rows import Rows
from runtime.data.stored_rows import StoredRows, change_rows
from runtime.data.text_columns import TextColumns
from runtime.data.token_row import TokenRow
from runtime.text import roles
from runtime.text.learning import learn
from runtime.text.tokenizers import PADDING, Tokenizer, read_tokenizer

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span


_AT_ONCE = 1 << 20  # tokens that are hidden together
IGNORED = -100  # the label of tokens that are not hidden, which losses ignore


def tokens(data: Text | Rows, stage: DataStage, context: Context) -> Examples | Rows:
    """Pairs as `source`, `target_in` and `target_out`, or as `tokens` and `label`; a single text as windows.

    `target_in` begins with a begin token and `target_out` ends with an end token: they are shifted by one. With
    `target: "class"` the second side of a pair is the name of a class, with `target: "number"` a number. The vocabulary
    of at most `most` tokens is learnt from the training part. Pairs of more than `length` tokens on a side are skipped,
    and reported with their lines. Of a table, columns are requested as tokens; see `runtime.data.text_columns`.
    """
    if isinstance(data, Rows):
        return _requested(data, TextColumns.of(stage.arguments, stage.span))
    if not isinstance(data, Text):
        raise NablacError(Diagnostic(codes.E823, "`tokens` takes a text, or pairs of texts", stage.span))
    if not data.lines:
        return _masked_tokens(data, stage, context) if stage.arguments["hide"] else _next_tokens(data, stage, context)
    return _pairs(data, stage, context)


def _requested(data: Rows, request: TextColumns) -> Rows:
    """The rows with a request for tokens of columns."""
    data.require(request.columns, request.span)
    return replace(data, texts=(*data.texts, request))


def _pairs(data: Text, stage: DataStage, context: Context) -> Examples:
    """The examples of pairs of texts: translations, or texts with a class or a number."""
    classes: tuple[str, ...] = ()
    if stage.arguments["target"] == "class":
        data, classes = _read_classes(data, context)
    whole = Examples({"line": np.arange(len(data.lines))}).split(context)
    translated = stage.arguments["target"] == "text"
    training = (data.lines[number] for number in whole.parts["training"])
    texts = [side for line in training for side in line[: 2 if translated else 1]]
    tokenizer = _tokenizer(partial(learn, texts), stage, context)
    check_special(tokenizer, stage.span, ends=translated)
    sources = [roles.whole(tokenizer, line[0]) for line in data.lines]
    answers = [tokenizer.encode(line[1]) for line in data.lines] if translated else None
    kept = _fitting_pairs(data, sources, answers, tokenizer, stage, context)
    new_numbers = np.full(len(data.lines), -1)
    new_numbers[kept] = np.arange(len(kept))
    parts = {name: new_numbers[part][new_numbers[part] >= 0] for name, part in whole.parts.items()}
    kept_lines = [data.lines[number] for number in kept]
    padding = tokenizer.padding or PADDING
    source = pad([sources[number] for number in kept], padding)
    if answers is not None:
        arrays = {
            "source": source,
            "target_in": pad([roles.answer(tokenizer, answers[number]) for number in kept], padding),
            "target_out": pad([[*answers[number], tokenizer.end or 0] for number in kept], padding),
        }
        names = ("source", "target_in"), ("target_out",)
        return Examples(arrays, *names, parts=parts, tokenizer=tokenizer, padded=True, texts=kept_lines)
    second = [line[1] for line in kept_lines]
    locations = [data.locations[number] for number in kept]
    label = np.array([classes.index(side) for side in second]) if classes else _numbers(second, locations)
    return Examples(
        {"tokens": source, "label": label},
        ("tokens",),
        ("label",),
        parts=parts,
        columns={"label": ("label",)},
        classes={"label": classes} if classes else {},
        tokenizer=tokenizer,
        padded=True,
        texts=[line[:1] for line in kept_lines],
    )


def _fitting_pairs(
    data: Text,
    sources: list[list[int]],
    answers: list[list[int]] | None,
    tokenizer: Tokenizer,
    stage: DataStage,
    context: Context,
) -> list[int]:
    """The numbers of the usable pairs; the others are skipped with a reason. NablacError if there is none."""
    most, fitting = stage.arguments["length"], []
    for number, line in enumerate(data.lines):
        # A target has one token more than its text, at its beginning or end.
        longest = max(len(sources[number]), len(answers[number]) + 1 if answers is not None else 0)
        if not tokenizer.encode(line[0]) or (answers is not None and not answers[number]):
            context.skipped.append(f"{data.locations[number]}: a side without a token")
        elif longest > most:
            context.skipped.append(f"{data.locations[number]}: {longest:,} tokens, and `length` is {most:,}")
        else:
            fitting.append(number)
    if not fitting:
        raise NablacError(Diagnostic(codes.E823, f"no pair has at most {most} tokens per side", stage.span))
    return fitting


def known_tokenizer(context: Context) -> Tokenizer | None:
    """The tokenizer of the training part or the run, if there is one already."""
    return context.fitted.tokenizer if context.fitted is not None else None


def check_special(tokenizer: Tokenizer, span: Span | None, *, ends: bool) -> None:
    """NablacError for a tokenizer without a token for padding, or without one that `ends` a translation."""
    if tokenizer.padding is None:
        message = "this tokenizer has no padding token, which fills up the shorter of two texts"
        hint = "use a tokenizer with a token `<pad>` or `[PAD]`; windows of one text need none"
        raise NablacError(Diagnostic(codes.E850, message, span, hint=hint))
    if ends and tokenizer.end is None:
        message, hint = "this tokenizer has no end token", "use one with `</s>`, `<eos>` or `[SEP]`"
        raise NablacError(Diagnostic(codes.E850, message, span, hint=hint))


Learnt = Callable[[str, int], Tokenizer]
"""A tokenizer of a kind and a size that is learnt."""


def _tokenizer(learnt: Learnt, stage: DataStage, context: Context) -> Tokenizer:
    """The run's tokenizer, or a new one."""
    arguments = stage.arguments
    return known_tokenizer(context) or new_tokenizer(learnt, arguments["kind"], arguments["most"], stage.span, context)


def new_tokenizer(learnt: Learnt, kind: str, most: int, span: Span | None, context: Context) -> Tokenizer:
    """A tokenizer from the file that `kind` names, or one that is learnt."""
    if not kind.endswith((".json", ".txt")):
        return learnt(kind, most)
    return read_tokenizer(context.path(kind, span))


def _tokenizer_of_text(data: Text, stage: DataStage, context: Context) -> Tokenizer:
    """The same for a text, whose training part is its beginning."""
    first, _ = cuts(data.content.size, context)
    return _tokenizer(lambda kind, most: learn_of_text(data.content, first, kind, most), stage, context)


def _read_classes(data: Text, context: Context) -> tuple[Text, tuple[str, ...]]:
    """The pairs with their classes, the second sides; pairs whose class is not among the known ones are broken."""
    fitted = context.fitted.classes.get("label") if context.fitted is not None else None
    classes = fitted or tuple(sorted({line[1] for line in data.lines}))
    kept = []
    for line, location in zip(data.lines, data.locations, strict=True):
        if line[1] in classes:
            kept.append((line, location))
        else:
            context.report_broken(location, f"`{line[1]}` is none of the classes {', '.join(classes)}")
    return replace(data, lines=[line for line, _ in kept], locations=[location for _, location in kept]), classes


def _numbers(texts: list[str], locations: list[str]) -> Array:
    """Parse numbers like the cells of a CSV file."""
    numbers: list[float] = []
    for text, location in zip(texts, locations, strict=True):
        number = PLAIN.number(text)
        if number is None:
            raise NablacError(Diagnostic(codes.E821, f"`{text}` is not a number", place=location))
        numbers.append(number)
    return np.array(numbers)[:, None]


def _next_tokens(data: Text, stage: DataStage, context: Context) -> Examples:
    """Windows of `length` tokens, whose targets are the same windows one token later."""
    tokenizer, length = _tokenizer_of_text(data, stage, context), stage.arguments["length"]
    return windows_of(coded(data.content, tokenizer), tokenizer, length, length, context, stage)


def _masked_tokens(data: Text, stage: DataStage, context: Context) -> Examples:
    """Windows of `length` tokens of which a fraction `hide` is hidden (Devlin et al. 2018, section 3.1).

    `tokens` is the model's input; `hidden` holds the hidden tokens to predict, and IGNORED elsewhere; `segments` is 0.
    Of the hidden tokens 80% become the mask token, 10% a random token, and 10% stay. The special tokens around a text
    are put around each window.
    """
    length = stage.arguments["length"]
    tokenizer = _tokenizer_of_text(data, stage, context)
    if tokenizer.mask is None:
        hint = "use a tokenizer with a token `<mask>` or `[MASK]`"
        raise NablacError(Diagnostic(codes.E850, "this tokenizer has no mask token", stage.span, hint=hint))
    tokens = coded(data.content, tokenizer)
    width = length - sum(map(len, tokenizer.around))
    count = len(tokens) // width if width > 0 else 0
    if not count:
        raise _too_few(tokens, length, stage)
    seen, hidden = hide(tokens, count, width, tokenizer, stage.arguments["hide"], context.seed)
    arrays: dict[str, Array | StoredRows] = {
        "tokens": WindowRows(seen, length, np.zeros(0, np.int64), 0, (count, length)),
        "hidden": WindowRows(hidden, length, np.zeros(0, np.int64), 0, (count, length)),
    }
    arrays = read_small(arrays)
    segments = change_rows(arrays["tokens"], np.zeros_like)
    arrays = {"tokens": arrays["tokens"], "segments": segments, "hidden": arrays["hidden"]}
    return Examples(arrays, ("tokens",), ("hidden",), ordered=True, tokenizer=tokenizer)


def hide(
    tokens: TokenRow, count: int, width: int, tokenizer: Tokenizer, share: float, seed: int
) -> tuple[TokenRow, TokenRow]:
    """The windows that a model sees of `count` times `width` tokens, and what is hidden in them, one after the other.

    The draws are those of whole arrays, in this order: which tokens are hidden, how, and which others stand for them.
    """
    draws = [np.random.default_rng([seed, 0x3A5C]) for _ in range(3)]
    for number, generator in enumerate(draws):
        generator.bit_generator.advance(number * count * width)  # type: ignore[attr-defined]  # one draw a number
    before, after = (np.array(special, np.int64) for special in tokenizer.around)
    mask = tokenizer.mask or 0
    ordinary = np.array(tokenizer.ordinary or [mask])
    seen = TokenRow(smallest_type(tokenizer), tokens.path)
    hidden = TokenRow(np.result_type(smallest_type(tokenizer), np.int8), tokens.path)
    step = max(1, _AT_ONCE // width)
    for start in range(0, count, step):
        here = min(step, count - start)
        whole = tokens.read(start * width, here * width).astype(np.int64).reshape(here, width)
        chosen, how = draws[0].random(whole.shape) < share, draws[1].random(whole.shape)
        others = draws[2].choice(ordinary, whole.shape)
        shown = np.where(chosen & (how < 0.8), mask, np.where(chosen & (how >= 0.9), others, whole))
        seen.append(np.hstack([np.tile(before, (here, 1)), shown, np.tile(after, (here, 1))]).reshape(-1))
        answers = np.pad(np.where(chosen, whole, IGNORED), ((0, 0), (len(before), len(after))), constant_values=IGNORED)
        hidden.append(answers.reshape(-1))
    return seen, hidden


def windows_of(
    tokens: TokenRow, tokenizer: Tokenizer, length: int, stride: int, context: Context, stage: DataStage
) -> Examples:
    """Windows of a text's tokens, whose targets are the same windows one token later.

    Each begins with the special tokens before a text, like a prompt.
    """
    before = np.array(tokenizer.around[0], np.int64)
    width = length - len(before)  # of the text's own tokens
    starts = np.arange(0, len(tokens) - width, min(stride, width)) if width > 0 else np.arange(0)
    if not len(starts):
        raise _too_few(tokens, length, stage)
    parts = window_parts(starts, starts + width + 1, len(tokens), stride < width, context, stage)
    shape = (len(starts), length)
    arrays: dict[str, Array | StoredRows] = {
        "input": WindowRows(tokens, min(stride, width), before, 0, shape),
        "target": WindowRows(tokens, min(stride, width), before, 1, shape),
    }
    arrays = read_small(arrays)
    return Examples(arrays, ("input",), ("target",), ordered=True, parts=parts, tokenizer=tokenizer)


def _too_few(tokens: TokenRow, length: int, stage: DataStage) -> NablacError:
    return NablacError(Diagnostic(codes.E823, f"{len(tokens)} tokens are too few for windows of {length}", stage.span))


__all__ = ["Tokenizer", "check_special", "known_tokenizer", "new_tokenizer", "pad", "tokens", "windows_of"]
