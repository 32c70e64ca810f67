"""Generating text from text, with a tokenizer and a decoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.decode import decode, generating_ends
from compiler.dims import Dim
from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.generation.decode_checks import check_causal
from runtime.generation.decoders import KEY, Cached, Decoder, Layout, Recomputing
from runtime.generation.decoding import Limits, beam_search, sample
from runtime.generation.machines import OnnxMachine, machine
from runtime.generation.sampling import Sampling
from runtime.metadata import read_entry
from runtime.text import roles
from runtime.text.coding import LONGEST, TextLimit, tokens_of
from runtime.text.lengths import longest_texts, stored_lengths
from runtime.text.tokenizers import KEY as TOKENIZER
from runtime.text.tokenizers import Tokenizer, from_json
from runtime.text.vocabulary_checks import check_size

if TYPE_CHECKING:
    from compiler.types import Array

START, STEP = "start.onnx", "step.onnx"  # of a compiled decode step's folder


@dataclass(frozen=True)
class Request:
    """How to generate; with more than one of `beams` by beam search, without sampling. `stops` end a text."""

    tokens: int = 64
    sampling: Sampling = field(default_factory=Sampling)
    beams: int = 1
    length_penalty: float = 1.0
    stops: tuple[str, ...] = ()
    seed: int = 0
    batch: int = 16  # prompts at a time
    longest: int = LONGEST  # tokens of a prompt


@dataclass(frozen=True)
class Answer:
    """A generated text with its number of tokens, or the error."""

    text: str
    tokens: int
    error: NablacError | None = None


@dataclass
class Generator:
    """What `nablac generate` runs. `source` is the encoder's input in an encoder-decoder model."""

    decoder: Decoder
    tokenizer: Tokenizer
    vocabulary: int
    input: str
    source: str | None
    name: str
    longest: Mapping[str, int] = field(default_factory=dict)  # the maximal length of each input

    def __post_init__(self) -> None:
        check_size(self.tokenizer, self.vocabulary, self.name)
        self.decoder = _WithinVocabulary(self.decoder, self.tokenizer.size)

    @staticmethod
    def of_graph(
        graph: Graph, weights: Mapping[str, Array], tokenizer: Tokenizer, backend: str, device: str, cached: bool = True
    ) -> Generator:
        """A model, with its derived decode step and its caches, or recomputing without."""
        tokens, output = generating_ends(graph)
        types = {name: value.type for name, value in graph.inputs.items()}
        source = _source(types, tokens)
        check_causal(graph, tokens, output, weights)
        if cached:
            step = decode(graph)
            step = replace(step, start=optimize(step.start), step=optimize(step.step))
            layout = Layout.of(step)
            start = machine(step.start, weights, backend, device) if step.start.outputs else None
            decoder: Decoder = Cached(layout, start, machine(step.step, weights, backend, device))
        else:
            decoder = Recomputing(tokens, output, machine(optimize(graph), weights, backend, device))
        vocabulary = _vocabulary_size(graph.outputs[output].type)
        return Generator(decoder, tokenizer, vocabulary, tokens, source, graph.name, longest_texts(graph))

    @staticmethod
    def of_folder(folder: Path, device: str, tokenizer: Tokenizer | None = None) -> Generator:
        """A decode step compiled by `nablac compile --decode`."""
        step = OnnxMachine(folder / STEP, device)
        layout = read_entry(step.metadata, KEY, None, Layout.from_json)
        if layout is None:
            hint = "`nablac compile --decode` writes one"
            raise NablacError(Diagnostic(codes.E909, f"{folder} holds no decode step", place=str(folder), hint=hint))
        start = OnnxMachine(folder / START, device) if os.path.exists(folder / START) else None
        others = [name for name in (start.inputs if start is not None else ()) if name != layout.tokens]
        vocabulary = read_entry(step.metadata, "nablac.tokens", 0, int)
        tokenizer = _stored_tokenizer(step, tokenizer, folder / STEP)
        source, known = others[0] if others else None, stored_lengths(step.metadata)
        return Generator(Cached(layout, start, step), tokenizer, vocabulary, layout.tokens, source, str(folder), known)

    @staticmethod
    def of_file(file: Path, device: str, tokenizer: Tokenizer | None = None) -> Generator:
        """A compiled model, without a cache: it has no decode step."""
        model = OnnxMachine(file, device)
        types = model.runner.signature.types
        for output in model.runner.session.get_outputs():
            shape = list(output.shape)
            for name, type in types.items():
                sizes = [size if isinstance(size, int) else str(size) for size in type.shape]
                if len(shape) == 3 and isinstance(shape[2], int) and type.dtype.is_integer and sizes == shape[:2]:
                    decoder = Recomputing(name, model.graph_names[output.name], model)
                    tokenizer = _stored_tokenizer(model, tokenizer, file)
                    source, known = _source(types, name), stored_lengths(model.metadata)
                    return Generator(decoder, tokenizer, shape[2], name, source, str(file), known)
        raise NablacError(Diagnostic(codes.E860, f"{file} does not generate text", place=str(file)))

    def generate(self, prompts: Sequence[str], how: Request) -> list[str]:
        """A text for each prompt; NablacError for the first that fails."""
        coded = {index: self.encode(prompt, f"prompt {index + 1}", how.longest) for index, prompt in enumerate(prompts)}
        texts = [""] * len(prompts)
        for number, answer in self.answers(coded, how):
            if answer.error is not None:
                raise answer.error
            texts[number] = answer.text
        return texts

    def encode(self, prompt: str, location: str, longest: int = LONGEST) -> list[int]:
        """The tokens of a prompt; NablacError if it is empty, too long, or not UTF-8."""
        begin = self.tokenizer.begin
        return tokens_of(
            self.tokenizer,
            prompt,
            roles.prompt if self.source is None else roles.whole,
            location,
            TextLimit(self.name, self.longest.get(self.source or self.input), longest, "--most-tokens"),
            what="prompt",
            empty=[begin] if self.source is None and begin is not None else (),
            hint="generation needs at least one token" if self.source is None else "there is nothing to translate",
        )

    def answers(
        self, coded: Mapping[int, Sequence[int]], how: Request, watch: Callable[[str], None] | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """The answer to each prompt with its number, as soon as it is ready; prompts of equal length share a batch.

        The batch of the first waiting prompt is next. If there is one prompt, `watch` is called with its growing text.
        """
        waiting = dict(coded)
        while waiting:
            length = len(next(iter(waiting.values())))
            numbers = [number for number, tokens in waiting.items() if len(tokens) == length][: how.batch]
            batch = np.array([waiting.pop(number) for number in numbers], np.int64)
            try:
                answers = self._batch(batch, numbers, how, watch if len(coded) == 1 else None)
            except NablacError as error:
                yield from ((number, Answer("", 0, error)) for number in numbers)
                continue
            for number, tokens in zip(numbers, answers, strict=True):
                yield number, Answer(cut_at_stop(self.tokenizer.decode(tokens), how.stops), len(tokens))

    def _batch(
        self, coded: Array, numbers: list[int], how: Request, watch: Callable[[str], None] | None
    ) -> list[list[int]]:
        feeds: dict[str, Array] = {}
        texts = coded
        if self.source is not None:
            feeds[self.source] = coded
            texts = np.full((len(coded), 1), roles.start(self.tokenizer), np.int64)
        most, tokens = self.longest.get(self.input), how.tokens
        if most is not None:
            tokens = min(tokens, most - texts.shape[1] + 1)  # the last token needs no position
        limits = self._limits(tokens, how.stops)
        if how.beams > 1:
            penalties = {"length_penalty": how.length_penalty, "repetition_penalty": how.sampling.repetition_penalty}
            return beam_search(self.decoder, texts, feeds, limits, how.beams, **penalties)
        tell = None
        if watch is not None:
            shown: list[int] = []

            def tell(row: int, token: int) -> None:
                shown.append(token)
                watch(final_part(self.tokenizer.decode(shown), how.stops))

        return sample(self.decoder, texts, feeds, limits, how.sampling, how.seed, tell, numbers)

    def _limits(self, tokens: int, stops: Sequence[str]) -> Limits:
        """Special tokens are recognised by number, since decoding drops them; other stops are found in the text."""
        special = {stop: self.tokenizer.encode(stop) for stop in stops}
        numbers = {
            stop: ids[0]
            for stop, ids in special.items()
            if len(ids) == 1 and ids[0] != self.tokenizer.unknown and not self.tokenizer.decode(ids)
        }
        texts = [stop for stop in stops if stop not in numbers]
        end = {self.tokenizer.end} if self.tokenizer.end is not None else set()

        def ended(new: Sequence[int]) -> bool:
            text = self.tokenizer.decode(new)
            return any(stop in text for stop in texts)

        return Limits(tokens, frozenset({*numbers.values(), *end}), ended if texts else None)


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """A text up to the first stop in it."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def final_part(text: str, stops: Sequence[str]) -> str:
    """The part of a growing text that is final: without an end that may be the beginning of a stop."""
    text = cut_at_stop(text, stops)
    lengths = (size for stop in stops for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size]))
    return text[: len(text) - max(lengths, default=0)]


class _WithinVocabulary:
    """A decoder without the scores of tokens that the tokenizer does not have."""

    def __init__(self, inner: Decoder, size: int) -> None:
        self.inner, self.size = inner, size

    def begin(self, tokens: Array, feeds: Mapping[str, Array]) -> Array:
        return self.inner.begin(tokens, feeds)[:, : self.size]

    def next(self, tokens: Array) -> Array:
        return self.inner.next(tokens)[:, : self.size]

    def choose(self, rows: Array) -> None:
        self.inner.choose(rows)


def _vocabulary_size(type: TensorType) -> int:
    size = type.shape[-1]
    assert isinstance(size, int), "a vocabulary is a number"
    return size


def _source(types: Mapping[str, TensorType], tokens: str) -> str | None:
    """The other input of tokens, if there is one; NablacError if a model needs more than texts."""
    others = [name for name in types if name != tokens]
    fits = len(others) == 1 and types[others[0]].dtype.is_integer and types[others[0]].rank == 2
    if not others:
        return None
    if not fits or not isinstance(types[others[0]].shape[1], Dim):
        named = ", ".join(f"`{name}`" for name in others)
        hint = "it may have one other input, of tokens: `source: i64[batch, S]`"
        raise NablacError(Diagnostic(codes.E860, f"text alone does not provide {named}", place=named, hint=hint))
    return others[0]


def _stored_tokenizer(model: OnnxMachine, tokenizer: Tokenizer | None, path: Path) -> Tokenizer:
    if tokenizer is not None:
        return tokenizer
    if TOKENIZER not in model.metadata:
        hint = "pass `--tokenizer FILE`; a model trained on texts by `nablac train` has its own"
        raise NablacError(Diagnostic(codes.E853, f"{path} has no tokenizer", place=str(path), hint=hint))
    return from_json(model.metadata[TOKENIZER])
