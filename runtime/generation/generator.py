"""Text in, text out: a tokenizer, a decoder, and what the model calls its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.decode import decode, generating_ends
from compiler.dims import Dim
from compiler.graph import Graph
from compiler.operators.indexing import Take
from compiler.passes.pipeline import optimize
from compiler.rewrite import reached
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError
from runtime.generation.checks import check_causal
from runtime.generation.decoders import KEY, Cached, Decoder, Layout, Recomputing
from runtime.generation.machines import OnnxMachine, machine
from runtime.generation.sampling import Sampling
from runtime.generation.search import Limits, beam_search, sample
from runtime.text import roles
from runtime.text.tokenizers import KEY as TOKENIZER
from runtime.text.tokenizers import Tokenizer, from_json

if TYPE_CHECKING:
    from compiler.types import Array

START, STEP = "start.onnx", "step.onnx"  # of a compiled decode step's folder


@dataclass(frozen=True)
class Request:
    """How to generate; `beams` above 1 search, without drawing. `stops` are texts that end a text."""

    tokens: int = 64
    sampling: Sampling = field(default_factory=Sampling)
    beams: int = 1
    length_penalty: float = 1.0
    stops: tuple[str, ...] = ()
    seed: int = 0


@dataclass
class Generator:
    """What `nablac generate` runs. `source` is the other input of tokens, of an encoder-decoder model."""

    decoder: Decoder
    tokenizer: Tokenizer
    vocabulary: int
    source: str | None
    name: str
    places: int | None = None  # how long a text can be, where positions are learned

    def __post_init__(self) -> None:
        if self.tokenizer.size > self.vocabulary:
            message = f"the tokenizer has {self.tokenizer.size:,} tokens, and {self.name} knows {self.vocabulary:,}"
            hint = f"train the model with `vocabulary` of at least {self.tokenizer.size}, or give its own tokenizer"
            raise NablacError(Diagnostic("E851", message, place="the tokenizer", hint=hint))
        self.decoder = _Known(self.decoder, self.tokenizer.size)

    @staticmethod
    def of_graph(
        graph: Graph, weights: Mapping[str, Array], tokenizer: Tokenizer, backend: str, device: str, cached: bool = True
    ) -> Generator:
        """A model, with a cache by its derived decode step, or without."""
        tokens, output = generating_ends(graph)
        step = decode(graph)
        check_causal(graph, step, weights)
        if cached:
            step = replace(step, start=optimize(step.start), step=optimize(step.step))
            layout = Layout.of(step)
            start = machine(step.start, weights, backend, device) if step.start.outputs else None
            decoder: Decoder = Cached(layout, start, machine(step.step, weights, backend, device))
        else:
            decoder = Recomputing(tokens, output, machine(optimize(graph), weights, backend, device))
        types = {name: value.type for name, value in graph.inputs.items()}
        source = _source(types, tokens)
        vocabulary = _whole(graph.outputs[output].type)
        return Generator(decoder, tokenizer, vocabulary, source, graph.name, _places(graph, tokens))

    @staticmethod
    def of_folder(folder: Path, device: str, tokenizer: Tokenizer | None = None) -> Generator:
        """A decode step compiled by `nablac compile --decode`."""
        step = OnnxMachine(folder / STEP, device)
        if KEY not in step.metadata:
            hint = "`nablac compile --decode` writes one"
            raise NablacError(Diagnostic("E909", f"{folder} holds no decode step", place=str(folder), hint=hint))
        layout = Layout.from_json(step.metadata[KEY])
        start = OnnxMachine(folder / START, device) if (folder / START).is_file() else None
        others = [name for name in (start.inputs if start is not None else ()) if name != layout.tokens]
        vocabulary = int(step.metadata["nablac.tokens"])
        found = _stored(step, tokenizer, folder / STEP)
        return Generator(Cached(layout, start, step), found, vocabulary, others[0] if others else None, str(folder))

    @staticmethod
    def of_file(file: Path, device: str, tokenizer: Tokenizer | None = None) -> Generator:
        """A compiled model, without a cache: one file is enough."""
        model = OnnxMachine(file, device)
        types = model.runner.signature.types
        for each in model.runner.session.get_outputs():
            shape = list(each.shape)
            for name, type in types.items():
                given = [size if isinstance(size, int) else str(size) for size in type.shape]
                if len(shape) == 3 and isinstance(shape[2], int) and type.dtype.is_integer and given == shape[:2]:
                    decoder = Recomputing(name, model.ours[each.name], model)
                    found = _stored(model, tokenizer, file)
                    return Generator(decoder, found, shape[2], _source(types, name), str(file))
        raise NablacError(Diagnostic("E860", f"{file} does not generate text", place=str(file)))

    def generate(self, prompts: Sequence[str], how: Request, watch: Callable[[str], None] | None = None) -> list[str]:
        """A text for each prompt, those of one length in a batch. `watch` is told of the text as it grows, of one."""
        coded = [self._coded(prompt, number) for number, prompt in enumerate(prompts, 1)]
        found = [""] * len(prompts)
        lengths = sorted({len(each) for each in coded})
        for length in lengths:
            places = [place for place, each in enumerate(coded) if len(each) == length]
            made = self._batch(np.array([coded[place] for place in places], np.int64), how, watch)
            for place, tokens in zip(places, made, strict=True):
                found[place] = self._cut(self.tokenizer.decode(tokens), how.stops)
        return found

    def _batch(self, coded: Array, how: Request, watch: Callable[[str], None] | None) -> list[list[int]]:
        feeds: dict[str, Array] = {}
        texts = coded
        if self.source is not None:
            feeds[self.source] = coded
            texts = np.full((len(coded), 1), roles.start(self.tokenizer), np.int64)
        tokens = how.tokens
        if self.places is not None:
            if texts.shape[1] > self.places:
                message = f"a text of {texts.shape[1]:,} tokens is too long: {self.name} has {self.places:,} places"
                raise NablacError(Diagnostic("E855", message, place="prompt", hint="shorten it"))
            tokens = min(tokens, self.places - texts.shape[1] + 1)  # the last is not looked up
        single = (self.tokenizer.encode(stop) for stop in how.stops)
        stops = {each[0] for each in single if len(each) == 1} | {self.tokenizer.end}
        limits = Limits(tokens, frozenset(stop for stop in stops if stop is not None))
        if how.beams > 1:
            penalties = {"length_penalty": how.length_penalty, "repetition_penalty": how.sampling.repetition_penalty}
            return beam_search(self.decoder, texts, feeds, limits, how.beams, **penalties)
        tell = None
        if watch is not None and len(coded) == 1:
            shown: list[int] = []

            def tell(row: int, token: int) -> None:
                shown.append(token)
                watch(self._cut(self.tokenizer.decode(shown), how.stops))

        return sample(self.decoder, texts, feeds, limits, how.sampling, how.seed, tell)

    def _coded(self, prompt: str, number: int) -> list[int]:
        if self.tokenizer.encode(prompt):
            role = roles.prompt if self.source is None else roles.whole
            coded = role(self.tokenizer, prompt)
        elif self.source is None and self.tokenizer.begin is not None:
            coded = [self.tokenizer.begin]
        else:
            hint = "a text goes on from at least one token" if self.source is None else "there is nothing to translate"
            raise NablacError(Diagnostic("E852", "this prompt is empty", place=f"prompt {number}", hint=hint))
        return coded

    @staticmethod
    def _cut(text: str, stops: Sequence[str]) -> str:
        return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


class _Known:
    """A decoder whose scores of tokens that the tokenizer does not have are out of reach."""

    def __init__(self, inner: Decoder, size: int) -> None:
        self.inner, self.size = inner, size

    def begin(self, tokens: Array, feeds: Mapping[str, Array]) -> Array:
        return self.inner.begin(tokens, feeds)[:, : self.size]

    def next(self, tokens: Array) -> Array:
        return self.inner.next(tokens)[:, : self.size]

    def choose(self, rows: Array) -> None:
        self.inner.choose(rows)


def _whole(type: TensorType) -> int:
    size = type.shape[-1]
    assert isinstance(size, int), "a vocabulary is a number"
    return size


def _places(graph: Graph, tokens: str) -> int | None:
    """The size of the smallest table that is looked up by the places of tokens alone."""
    given = graph.inputs[tokens]
    time = str(given.shape[1])
    dynamic = reached(graph.ends, graph.inputs.values())
    found: list[int] = []
    for node in graph:
        if isinstance(node.op, Take) and node.operands[1].node not in dynamic:
            size, indices = node.operands[0].shape[node.operands[0].type.axis(node.op.axis)], node.operands[1]
            if isinstance(size, int) and indices.type.rank == 1 and str(indices.shape[0]) == time:
                found.append(size)
    return min(found, default=None)


def _source(types: Mapping[str, TensorType], tokens: str) -> str | None:
    """The other input of tokens; NablacError where a model needs more than texts."""
    others = [name for name in types if name != tokens]
    fits = len(others) == 1 and types[others[0]].dtype.is_integer and types[others[0]].rank == 2
    if not others:
        return None
    if not fits or not isinstance(types[others[0]].shape[1], Dim):
        named = ", ".join(f"`{name}`" for name in others)
        hint = "it may have one other input, of tokens: `source: i64[batch, S]`"
        raise NablacError(Diagnostic("E860", f"text alone does not feed {named}", place=named, hint=hint))
    return others[0]


def _stored(model: OnnxMachine, tokenizer: Tokenizer | None, place: Path) -> Tokenizer:
    if tokenizer is not None:
        return tokenizer
    if TOKENIZER not in model.metadata:
        hint = "`--tokenizer FILE` gives one; a model that `nablac train` made of texts has its own"
        raise NablacError(Diagnostic("E853", f"{place} has no tokenizer", place=str(place), hint=hint))
    return from_json(model.metadata[TOKENIZER])
