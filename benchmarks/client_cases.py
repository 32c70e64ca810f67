"""The files that `benchmarks.clients` runs in other clients: specs, and small models that each need one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nablac
from compiler.decode import decode
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.passes.known_weights import with_known_weights
from compiler.passes.pipeline import optimize
from compiler.targets import Target
from compiler.training.step import training_step
from runtime.initialization import initialize

if TYPE_CHECKING:
    import onnx

    from compiler.types import Array

SPECS = Path(__file__).parents[1] / "specs"


@dataclass(frozen=True)
class Built:
    """A graph to write, its weights, and the values of those inputs that are no random numbers."""

    graph: Graph
    weights: Mapping[str, Array]
    fixed: Mapping[str, Any] | None = None
    fed: bool = False  # the weights are inputs of the file

    def write(self, target: Target) -> onnx.ModelProto:
        """The ONNX model for a target."""
        graph = optimize(self.graph, target)
        if self.fed:
            return export(graph, weights=None, target=target)
        known = with_known_weights(graph, self.weights, target)
        return export(known.graph, weights=known.weights, target=target)


@dataclass(frozen=True)
class Case:
    """One file: its name and kind in the table, and what builds it."""

    name: str
    kind: str
    build: Callable[[], Built]
    length: int = 6  # of what named sizes other than the batch are


def inference(source: str, **choices: Any) -> Built:
    """A spec, or a text, in inference."""
    model = nablac.compile(source if "{" in source else SPECS / f"{source}.model", **choices)
    return Built(model.elaborated, model.weights)


def gradient(source: str, **choices: Any) -> Built:
    """The gradients of a spec's loss."""
    model = nablac.compile(SPECS / f"{source}.model", **choices).gradient()
    return Built(model.elaborated, model.weights)


def step(source: str, **choices: Any) -> Built:
    """One training step of a spec; its state is an input."""
    spec = nablac.compile(SPECS / f"{source}.model", training=True, **choices).spec
    graph = training_step(spec).graph
    return Built(graph, initialize(graph, 0), {"step": 1, "seed": 7, "rate": 1}, fed=True)


def decode_step(source: str) -> Built:
    """The decode step of a language model."""
    model = nablac.compile(SPECS / f"{source}.model")
    return Built(decode(model.elaborated).step, model.weights)


_RECURRENT = ("rnn", "lstm", "gru", "characters", "forecaster")
_TRAINED = ("mlp", "cnn", "resnet", "gpt", "llama", "bert", "t5", "transformer", "translate", "sentiment", *_RECURRENT)
_SPECS = (*_TRAINED, "sentence")
_DECODED = ("gpt", "llama", "characters", "t5", "transformer", "translate")
_CHOSEN = {"gru": "GatedDigits", "rnn": "ManyToMany"}  # of the models in a spec
# Of images of 6 pixels little is left to the last norms: their results differ by 1 where inputs do by a millionth.
_STABLE = {("resnet", "training step"): 48}
_SMALL = {
    "reverse GRU alone": """model M { input x: [batch, T, 3]
        output y = x -> GRU(4, reverse: true) }""",
    "GRU, reset before": """model M { input x: [batch, T, 3]
        output y = x -> GRU(4, reset_after: false) }""",
    "own recurrence": """cell Independent(units: int) {
        input x: [batch, features]
        state h: [batch, units] = 0
        param W: [features, units] ~ normal(0.5)
        param u: [units] ~ normal(0.5)
        h' = relu(x @ W + u * h)
        output h'
    }
    model M { input x: [batch, T, 3]
        output y = scan(Independent(4))(x, axis: 1) }""",
    "indices": """model M { input tokens: i64[batch, T]
        x = tokens -> Embedding(11, 6)
        output y = x * cast(one_hot(tokens, 6), f32) + cast(iota(6), f32)
        output last = argmax(x, axis: -1) }""",
    "powers and rounding": """model M { input x: [batch, 5]
        output y = abs(x) ** 2.5 + x ** 3 + floor(x) + x % 2
        output n = abs(cast(x * 10, i64)) }""",
}


def cases() -> Iterator[Case]:
    """All files."""
    for name in _SPECS:
        yield Case(name, "inference", partial(inference, name, model=_CHOSEN.get(name)))
    yield Case("gru, bidirectional", "inference", partial(inference, "gru", model="BidirectionalDigits"))
    for name, text in _SMALL.items():
        yield Case(name, "inference", partial(inference, text))
    for kind, build in (("gradient", gradient), ("training step", step)):
        for name in _TRAINED:
            length = _STABLE.get((name, kind), Case.length)
            yield Case(name, kind, partial(build, name, model=_CHOSEN.get(name)), length)
    for name in _DECODED:
        yield Case(name, "decode step", partial(decode_step, name))
