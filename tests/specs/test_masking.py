"""Padding never changes a result, and what a causal model says of a token never depends on later ones."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.elaborate.program import load
from compiler.gradient import gradients
from compiler.graph import Graph, Value
from compiler.operators.indexing import Take
from compiler.operators.leaves import Input
from compiler.operators.making import filled
from compiler.operators.slicing import Slice
from compiler.passes.pipeline import optimize
from compiler.rewrite import replace
from runtime.generation.machines import machine
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate
from tests.paths import SPECS

SMALL: dict[str, dict[str, object]] = {
    "bert": {"dropout": 0.0},
    "sentence": {"width": 24, "heads": 3, "depth": 2, "inner": 48, "vocabulary": 60},
    "sentiment": {"vocabulary": 60},
    "transformer": {},
    "translate": {"width": 24, "vocabulary": 60},
    "t5": {},
    "gpt": {},
    "llama": {},
    "characters": {"hidden": 32},
}
# The input that is padded, and the axis of outputs that is as long, if one is.
PADDED = {
    "bert": ("tokens", {"logits": 1, "encoded": 1}),
    "sentence": ("tokens", {}),
    "sentiment": ("tokens", {}),
    "transformer": ("source", {}),
    "translate": ("source", {}),
    "t5": ("source", {}),
}
CAUSAL = {
    "gpt": "tokens",
    "llama": "tokens",
    "characters": "text",
    "transformer": "target_in",
    "translate": "target_in",
    "t5": "target_in",
}


def graph_of(spec: str) -> Graph:
    return elaborate(load(SPECS / f"{spec}.model"), hypers=SMALL[spec])


def tokens_for(graph: Graph, length: int = 7) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    names = [name for name in graph.inputs if name != "segments"]
    feeds = {name: random.integers(3, 60, (2, length + place)) for place, name in enumerate(names)}
    if "segments" in graph.inputs:
        feeds["segments"] = np.zeros_like(feeds["tokens"])
    return feeds


@pytest.mark.parametrize("spec", PADDED)
@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("more", [1, 5, 40])
def test_longer_padding_changes_nothing(spec: str, backend: str, more: int) -> None:
    name, along = PADDED[spec]
    graph = graph_of(spec)
    model = machine(optimize(graph), initialize(graph, 1), backend, "cpu")
    feeds = tokens_for(graph)
    feeds[name][1, -2:] = 0  # one of the two is shorter than the other, too
    longer = dict(feeds)
    for each in (name, "segments") if "segments" in feeds else (name,):
        longer[each] = np.pad(feeds[each], ((0, 0), (0, more)))
    results = [model.run({key: model.value(array) for key, array in given.items()}) for given in (feeds, longer)]
    for output in graph.outputs:
        before, after = (model.array(result[output]) for result in results)
        if output in along:
            after = after[:, : before.shape[along[output]]]
            real = feeds[name] != 0
            before, after = before[real], after[real]
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6 * max(1, np.abs(before).max()))


@pytest.mark.parametrize("spec", CAUSAL)
@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_later_tokens_change_nothing_before_them(spec: str, backend: str) -> None:
    graph = graph_of(spec)
    model = machine(optimize(graph), initialize(graph, 1), backend, "cpu")
    feeds = tokens_for(graph)
    name = CAUSAL[spec]
    scores = [model.array(model.run({key: model.value(array) for key, array in feeds.items()})["logits"])]
    for place in range(1, feeds[name].shape[1]):
        other = {**feeds, name: feeds[name].copy()}
        other[name][:, place:] = (other[name][:, place:] + 17) % 57 + 3
        found = model.array(model.run({key: model.value(array) for key, array in other.items()})["logits"])
        np.testing.assert_allclose(found[:, :place], scores[0][:, :place], rtol=1e-6, atol=1e-6)
        assert np.abs(found[:, place:] - scores[0][:, place:]).max() > 1e-3


@pytest.mark.parametrize("spec", CAUSAL)
def test_no_gradient_flows_back_from_a_token_to_later_ones(spec: str) -> None:
    """The gradient of the scores at one token for the vectors of all tokens is 0 exactly after it."""
    graph = graph_of(spec)
    name, place = CAUSAL[spec], 3
    given = graph.inputs[name]
    (looked_up,) = [
        node
        for node in graph
        if isinstance(node.op, Take) and node.operands[1].node is given.node and given.type.rank == 2
    ]
    vectors: Value = Input("vectors", looked_up.result.type)()
    (logits,) = replace([graph.outputs["logits"]], {looked_up.result: vectors})
    chosen: Value = Slice((1,), (place,), (place + 1,))(logits)
    (grad,) = gradients([chosen], [filled(1, chosen.type)], [vectors])
    assert grad is not None
    inputs = {key: value for key, value in graph.inputs.items() if key != name} | {"vectors": vectors}
    feeds = tokens_for(graph)
    length = feeds.pop(name).shape[1]
    width = looked_up.result.shape[2]
    assert isinstance(width, int)
    feeds["vectors"] = np.random.default_rng(0).normal(size=(2, length, width)).astype(np.float32)
    weights = initialize(graph, 1)
    used = {key for key, value in inputs.items() if value.node in set(Graph({}, {"": grad}))}
    found = run(Graph({key: inputs[key] for key in used}, {"grad": grad}), {key: feeds[key] for key in used}, weights)[
        "grad"
    ]
    assert (found[:, place + 1 :] == 0).all()
    assert (np.abs(found[:, : place + 1]).max(axis=(0, 2)) > 0).all()
