"""Decoders compute the scores of the next token, with a cache of earlier results or by recomputing everything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compiler.decode import Decode
from compiler.dims import PAST, Size
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.generation.machines import Machine, select

if TYPE_CHECKING:
    from compiler.types import Array

_AT_ONCE = 1024  # tokens of all prompts together that are processed in one step
KEY = "nablac.decode"  # of a compiled decode step's metadata


class Decoder(Protocol):
    """A model that scores the next tokens of a batch of texts."""

    def begin(self, tokens: Array, feeds: Mapping[str, Array]) -> Array:
        """Process prompts [batch, T] and other inputs; returns the scores [batch, vocabulary] of the next token."""

    def next(self, tokens: Array) -> Array:
        """Append one token to each text, [batch]; returns the scores of the next one."""

    def choose(self, rows: Array) -> None:
        """Continue with these rows of the batch, [new batch], which may be repeated."""


@dataclass(frozen=True)
class Layout:
    """The inputs of a decode step, which the metadata of a compiled step keeps (see compiler.decode.Decode)."""

    tokens: str
    output: str
    context: tuple[str, ...]
    states: tuple[str, ...]
    caches: Mapping[str, tuple[str, tuple[int | str, ...]]]  # dtype, shape: a number, `batch` or `past`
    axes: Mapping[str, int | None]  # the batch axis of each

    @staticmethod
    def of(step: Decode) -> Layout:
        """The layout of a decode step; NablacError for a cache whose initial size is unknown."""
        caches = {name: (type.dtype.value, _shape(step, name, type)) for name, type in step.caches.items()}
        axes = {name: step.batch_axis(name) for name in (*step.context, *step.states, *step.caches)}
        return Layout(step.tokens, step.output, tuple(step.context), tuple(step.states), caches, axes)

    def to_json(self) -> str:
        """The JSON in a compiled step's metadata."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(stored: Any) -> Layout:
        """The layout of parsed JSON that `to_json` wrote; KeyError, TypeError or ValueError for anything else."""
        caches = {name: (dtype, tuple(shape)) for name, (dtype, shape) in stored["caches"].items()}
        kept = {"context": tuple(stored["context"]), "states": tuple(stored["states"]), "caches": caches}
        return Layout(**{**stored, **kept})


class Cached:
    """A decode step with its states and caches."""

    def __init__(self, layout: Layout, start: Machine | None, step: Machine) -> None:
        self.layout, self.start, self.step = layout, start, step
        self.kept: dict[str, Any] = {}

    def begin(self, tokens: Array, feeds: Mapping[str, Array]) -> Array:
        """Run the step on the prompts in blocks of tokens, beginning with an empty cache."""
        layout, sizes = self.layout, {"batch": len(tokens), PAST: 0}
        self.kept = {}
        if self.start is not None:
            available = {**feeds, layout.tokens: tokens}
            values = {name: self.start.value(array) for name, array in select(available, self.start.inputs).items()}
            results = self.start.run(values)
            self.kept = select(results, (*layout.context, *layout.states))
        for name, (dtype, shape) in layout.caches.items():
            empty = np.zeros([sizes.get(size, size) for size in shape], DType(dtype).numpy)  # type: ignore[arg-type]
            self.kept[name] = self.step.value(empty)
        width = max(1, _AT_ONCE // len(tokens))  # the scores of all tokens of a long prompt would not fit in memory
        for begin in range(0, tokens.shape[1], width):
            scores = self._run(tokens[:, begin : begin + width])
        return scores

    def next(self, tokens: Array) -> Array:
        """Run the step on one token of each text."""
        return self._run(tokens[:, None])

    def choose(self, rows: Array) -> None:
        """Choose rows of states and caches; NablacError (E861) for a state without a batch axis."""
        for name, value in self.kept.items():
            axis = self.layout.axes[name]
            if axis is None:
                message = f"what is kept of `{name}` is shared by all texts"
                hint = "use `--no-cache`"
                raise NablacError(Diagnostic(codes.E861, message, place="--beams", hint=hint))
            self.kept[name] = self.step.value(np.take(self.step.array(value), rows, axis))

    def _run(self, tokens: Array) -> Array:
        results = self.step.run({self.layout.tokens: self.step.value(tokens), **self.kept})
        self.kept.update(select(results, (*self.layout.states, *self.layout.caches)))
        return self.step.array(results[self.layout.output])[:, -1]


class Recomputing:
    """The whole model, run again on the whole texts for every token."""

    def __init__(self, tokens: str, output: str, model: Machine) -> None:
        self.tokens, self.output, self.model = tokens, output, model
        self.texts = np.zeros((0, 0), np.int64)
        self.feeds: dict[str, Array] = {}

    def begin(self, tokens: Array, feeds: Mapping[str, Array]) -> Array:
        """Run the model on the prompts."""
        self.texts, self.feeds = tokens, dict(feeds)
        return self._run()

    def next(self, tokens: Array) -> Array:
        """Run the model on all tokens once more."""
        self.texts = np.concatenate([self.texts, tokens[:, None]], axis=1)
        return self._run()

    def choose(self, rows: Array) -> None:
        """Choose rows of the texts, and of the model's other inputs."""
        self.texts = self.texts[rows]
        self.feeds = {name: array[rows] for name, array in self.feeds.items()}

    def _run(self) -> Array:
        feeds = {**self.feeds, self.tokens: self.texts}
        values = {name: self.model.value(array) for name, array in select(feeds, self.model.inputs).items()}
        return self.model.array(self.model.run(values)[self.output])[:, -1]


def _shape(step: Decode, name: str, type: TensorType) -> tuple[int | str, ...]:
    return tuple(_size(step, name, size) for size in type.shape)


def _size(step: Decode, name: str, size: Size) -> int | str:
    if isinstance(size, int):
        return size
    if size == step.batch:
        return "batch"
    if str(size) == PAST:
        return PAST
    message = f"the decode step keeps `{name}`, of size `{size}`, whose initial size is unknown"
    raise NablacError(Diagnostic(codes.E860, message, place=step.step.name, hint="use `--no-cache`"))


def rows_of(arrays: Sequence[Array]) -> Array:
    """Prompts of one length as an array."""
    return np.stack([np.asarray(prompt, np.int64) for prompt in arrays])
