"""The forms of data between a file and batches: texts and examples. Tables are in `runtime.data.rows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.fitted import Fitted, Stage
from runtime.data.long_text import LongText
from runtime.data.scaling import Scale, Scaling
from runtime.data.stored_rows import StoredRows, blocks, change_rows, join_rows

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.text.tokenizers import Tokenizer

PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class Text:
    """A text, or pairs of texts with their locations in the files."""

    path: str
    lines: list[tuple[str, ...]]
    content: LongText = field(default_factory=LongText)
    locations: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Series:
    """The rows of a table that windows were cut of: `numbers: [rows, columns]`, in raw units, which may be on disk.

    `rows` are their numbers among all rows of the file, which jump where a row was left out; `beside` are the cells of
    the other columns, dates among them, of a table in memory.
    """

    names: tuple[str, ...]
    numbers: Array | StoredRows
    rows: Array
    lines: Array | StoredRows
    beside: Mapping[str, list[str]] = field(default_factory=dict)
    # The number of the first row of each file, and of each series that `by` tells apart, after the first.
    borders: tuple[int, ...] = ()
    filled: Array | StoredRows | None = None  # the numbers as the model reads them, where some are missing
    keys: tuple[str, ...] = ()  # of the series that `by` tells apart
    gaps: Array | StoredRows | None = None  # of the filled numbers those that windows interpolate

    @property
    def read(self) -> Array | StoredRows:
        """The numbers as the model reads them, but for those that its windows interpolate."""
        return self.numbers if self.filled is None else self.filled

    def columns(self, names: Sequence[str], at: Array | None = None) -> Array:
        """Columns [rows, columns] in memory, of all rows or of those at these indices."""
        chosen = [self.names.index(name) for name in names]
        parts = [rows[:, chosen] for _, rows in blocks(self.numbers, at)]
        return np.concatenate(parts) if parts else np.zeros((0, len(chosen)))

    def as_read(self, at: Array) -> tuple[Array, Array]:
        """The rows [..., columns] at indices [...] as the model reads them, and which numbers windows interpolate."""
        shape, flat = (*at.shape, len(self.names)), at.reshape(-1)
        rows = self.read[flat].reshape(shape)
        return rows, np.zeros(shape, bool) if self.gaps is None else self.gaps[flat].reshape(shape)

    def joined(self, other: Series) -> tuple[Series, int]:
        """The rows of both, apart by a gap, and what was added to the numbers of the other's."""
        moved = int(self.rows[-1]) + 2 if len(self.rows) else 0
        beside = {name: [*cells, *other.beside[name]] for name, cells in self.beside.items() if name in other.beside}
        numbers, lines = join_rows(self.numbers, other.numbers), join_rows(self.lines, other.lines)
        rows = np.concatenate([self.rows, other.rows + moved])
        borders = (*self.borders, moved, *(border + moved for border in other.borders))
        keys, gaps = (*self.keys, *other.keys), join_rows(self._flags(), other._flags())
        return Series(
            self.names, numbers, rows, lines, beside, borders, join_rows(self.read, other.read), keys, gaps
        ), moved

    def _flags(self) -> Array | StoredRows:
        """Which of the numbers windows interpolate."""
        none = change_rows(self.numbers, lambda rows: np.zeros(rows.shape, bool))
        return none if self.gaps is None else self.gaps


@dataclass(frozen=True, eq=False)
class Examples:
    """Arrays whose axis 0 counts the examples, and the examples of each part: training, validation and test.

    Rows of large arrays stay in their files: who needs all of them reads `blocks`, or changes them as they are read.
    `inputs` and `targets` are names of arrays in order, for models with other names. `scales` are requested scalings,
    `scalings` are fitted ones, which the compiled model inverts. `padded` rows of tokens end in padding.
    """

    arrays: Mapping[str, Array | StoredRows]
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    ordered: bool = False  # in time: parts are consecutive, never random
    parts: dict[str, Array] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)  # the names along the last axis of an array
    scales: tuple[Scale, ...] = ()
    samples: Mapping[str, Array | StoredRows] = field(
        default_factory=dict
    )  # the rows of overlapping windows, once, for scalings
    scalings: dict[str, Scaling] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by column, the names of its classes
    tokenizer: Tokenizer | None = None
    padded: bool = False
    texts: list[tuple[str, ...]] = field(default_factory=list)  # of the padded rows
    augmentations: dict[str, Any] = field(default_factory=dict)
    path: str = ""  # of the file
    lines: Array | StoredRows | None = None  # of the examples in the file
    files: tuple[str, ...] = ()  # of the examples in the folder `path`, if each is a file
    stages: tuple[Stage, ...] = ()  # that the examples went through, beginning with the source
    decided: Mapping[str, Any] = field(default_factory=dict)  # arguments that the source read from its file
    raw: Mapping[str, Array | StoredRows] = field(
        default_factory=dict
    )  # of scaled arrays what they were before, where that is kept
    series: Series | None = None  # that windows were cut of, where raw numbers are kept
    fills: Mapping[str, float] = field(default_factory=dict)  # by column, the mean that stands for missing numbers
    dates: Mapping[str, str] = field(default_factory=dict)  # by column, how dates are written that features are of
    date_steps: Mapping[str, str] = field(
        default_factory=dict
    )  # by column of dates, the step at which rows are inserted
    class_weights: tuple[float, ...] = ()  # by the number of a class, where examples have weights of their classes
    starts: Array | None = None  # the number of the first row of each window among all rows of the series
    known: tuple[str, ...] = ()  # the inputs of columns that are known of the rows to predict: they are of these rows
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)  # by column of texts

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def location(self, row: int) -> str | None:
        """The location of an example in the file, or of the start of a window; None if the line is unknown."""
        if self.lines is None:
            return None
        line = self.lines[row]
        return f"{self.path}: the window from line {line}" if self.ordered else f"{self.path}:{line}"

    def texts_of(self, name: str) -> tuple[str, ...]:
        """The names of an array's classes, if it is one column of texts."""
        columns = self.columns.get(name, ())
        return self.classes.get(columns[0], ()) if len(columns) == 1 else ()

    def tokenizer_of(self, name: str) -> Tokenizer | None:
        """The tokenizer of an array, if it holds tokens; of data without a table that of all arrays."""
        columns = self.columns.get(name, ())
        return self.tokenizers.get(columns[0]) if self.tokenizers and columns else self.tokenizer

    def padding_of(self, name: str) -> int:
        """The padding token of an array."""
        tokenizer = self.tokenizer_of(name)
        return (tokenizer.padding or 0) if tokenizer is not None else 0

    def split(self, context: Context) -> Examples:
        """The examples with their parts: the last ones in time, or random ones, are for validation and test."""
        if self.parts:
            return self
        count = len(self)
        rows = np.arange(count)
        if context.order == "random" or (not context.order and not self.ordered):
            rows = np.random.default_rng([context.seed, 0x5EED]).permutation(count)
        first, second = cuts(count, context)
        parts = dict(zip(PARTS, np.split(rows, [first, second]), strict=True))
        return replace(self, parts={name: np.sort(part) for name, part in parts.items()})


def fitted_to(examples: Examples) -> Fitted:
    """The scalings, classes and tokenizer that finished examples were made with."""
    columns = [examples.columns.get(target, ()) for target in examples.targets]
    single = [names[0] for names in columns if len(names) == 1]
    labels = next((examples.classes[column] for column in single if column in examples.classes), ())
    inputs, targets = (
        {name: examples.columns[name] for name in names if examples.columns.get(name)}
        for names in (examples.inputs, examples.targets)
    )
    state = (examples.scalings, examples.classes, examples.tokenizer)
    fitted = Fitted(*state, labels, inputs, targets, examples.stages, examples.fills, examples.dates)
    class_weights, tokenizers = examples.class_weights, examples.tokenizers
    fitted = replace(fitted, known=examples.known, date_steps=examples.date_steps)
    return replace(fitted, class_weights=class_weights, tokenizers=tokenizers)


def digest(examples: Examples) -> str:
    """A hash of all examples and their parts."""
    hashed = blake2b(digest_size=8)
    parts = {f"{name}:": rows for name, rows in examples.parts.items()}
    arrays: dict[str, Array | StoredRows] = {**examples.arrays, **parts}
    for name, array in sorted(arrays.items()):
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for _, block in blocks(array):
            hashed.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)  # bf16 has no buffer of its own
    return hashed.hexdigest()


def cuts(count: int, context: Context) -> tuple[int, int]:
    """The indices at which validation and test begin, of `count` examples in order."""
    test = round(count * context.test)
    validation = round(count * context.validation)
    return max(0, count - test - validation), count - test


def window_parts(
    begin: Array, end: Array, count: int, overlap: bool, context: Context, stage: DataStage
) -> dict[str, Array]:
    """The windows within each part, from where they begin and end; a window across a border is in none.

    Empty if windows that do not `overlap` are to be split at random, like other examples.
    """
    if context.order == "random":
        if overlap:
            message = "overlapping windows cannot be split at random: validation would hold what training has seen"
            hint = (
                '`order: "time"` holds out the last ones; with a `stride` as long as a window, windows do not overlap'
            )
            raise NablacError(Diagnostic(codes.E823, message, stage.span, hint=hint))
        return {}
    first, second = cuts(count, context)
    training, test = end <= first, begin >= second
    validation = (begin >= first) & (end <= second)
    return dict(zip(PARTS, map(np.flatnonzero, (training, validation, test)), strict=True))


def joined_parts(split: list[dict[str, Array]], counts: list[int]) -> dict[str, Array]:
    """The examples of each part of all series, one after the other; empty where the parts are to be random."""
    offsets = np.cumsum([0, *counts[:-1]])
    return {
        part: np.concatenate([parts[part] + offset for parts, offset in zip(split, offsets, strict=True)])
        for part in (split[0] if split else ())
    }
