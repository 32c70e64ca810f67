"""What data is on its way from a file to batches: a text, then examples. Tables are in `runtime.data.rows`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.fitted import Fitted
from runtime.data.scaling import Scale, Scaling

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.text.tokenizers import Tokenizer

PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class Text:
    """A text, or pairs of them, and of each the line that it is from."""

    path: str
    lines: list[tuple[str, ...]]
    text: str = ""
    locations: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Examples:
    """Arrays with an example at each index of axis 0, and which of them train, validate and test.

    `inputs` and `targets` name the arrays in order, for models that call theirs otherwise. `scales` are asked for,
    `scalings` were fitted, and the compiled model has to undo them. `padded` rows of tokens end in padding.
    """

    arrays: dict[str, Array]
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    ordered: bool = False  # in time: parts are cut in order, and never shuffled into one another
    parts: dict[str, Array] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what the last axis of an array was called
    scales: tuple[Scale, ...] = ()
    samples: dict[str, Array] = field(default_factory=dict)  # rows that windows were cut of: scalings see them once
    scalings: dict[str, Scaling] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by column: the texts that its numbers stand for
    tokenizer: Tokenizer | None = None
    padded: bool = False
    texts: list[tuple[str, ...]] = field(default_factory=list)  # what padded rows were made of
    augmentations: dict[str, Any] = field(default_factory=dict)
    path: str = ""  # the file
    lines: Array | None = None  # of the file, an example's each

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def location(self, row: int) -> str | None:
        """Where in the file an example stands, which of a window is where it begins; None where no line is known."""
        if self.lines is None:
            return None
        line = self.lines[row]
        return f"{self.path}: the window from line {line}" if self.ordered else f"{self.path}:{line}"

    def texts_of(self, name: str) -> tuple[str, ...]:
        """The classes that an array's numbers stand for, where it is of one column of texts."""
        columns = self.columns.get(name, ())
        return self.classes.get(columns[0], ()) if len(columns) == 1 else ()

    @property
    def padding(self) -> int:
        """What rows of tokens are filled up with."""
        return (self.tokenizer.padding or 0) if self.tokenizer is not None else 0

    def split(self, context: Context) -> Examples:
        """With each example in one part: the last ones in time, or any (seeded), for validation and test."""
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
    """What finished examples were scaled, numbered and cut by."""
    columns = [examples.columns.get(target, ()) for target in examples.targets]
    single = [names[0] for names in columns if len(names) == 1]
    labels = next((examples.classes[column] for column in single if column in examples.classes), ())
    used = {name: examples.columns[name] for name in examples.inputs if examples.columns.get(name)}
    return Fitted(examples.scalings, examples.classes, examples.tokenizer, labels, used)


def digest(examples: Examples) -> str:
    """A hash of all examples and of which part each is in."""
    hashed = blake2b(digest_size=8)
    parts = {f"{name}:": rows for name, rows in examples.parts.items()}
    for name, array in sorted({**examples.arrays, **parts}.items()):
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # which bf16 has not of itself
    return hashed.hexdigest()


def cuts(count: int, context: Context) -> tuple[int, int]:
    """Where validation and test begin, of `count` in order."""
    test = round(count * context.test)
    validation = round(count * context.validation)
    return max(0, count - test - validation), count - test


def window_parts(
    begin: Array, end: Array, count: int, overlap: bool, context: Context, stage: DataStage
) -> dict[str, Array]:
    """Which windows lie whole in each part, from where they begin and end; one across a border is in none.

    None is said where windows that do not `overlap` are dealt out at random, as examples of any other kind.
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
