"""The derived decode step against the whole model: the same scores, tokens and beams, on both runtimes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from compiler.decode import Decode, decode
from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.passes.pipeline import optimize
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.generation.decode_checks import check_causal, worst_difference
from runtime.generation.decoders import Cached, Decoder, Layout, Recomputing
from runtime.generation.decoding import Limits, beam_search, sample
from runtime.generation.generator import Generator, Request
from runtime.generation.machines import machine
from runtime.generation.sampling import Sampling
from runtime.initialization import initialize
from runtime.text.learning import learn
from tests.models import elaborate
from tests.paths import SPECS

HEAD = "model M {\n    input tokens: i64[batch, T]\n    x = tokens -> Embedding(20, 12)\n"
TAIL = "    output logits = x -> Dense(20)\n}\n"
BODIES = {
    "attention": "    x = x + (x -> MultiHeadAttention(3, causal: true))\n",
    "grouped attention with rotary positions": (
        "    x = x -> MultiHeadAttention(6, kv_heads: 2, causal: true, rotary: true, bias: false)\n"
    ),
    "attention with a padding mask": "    x = MultiHeadAttention(2, causal: true)(x, mask: tokens != 0)\n",
    "learned positions": "    x = x -> LearnedPositions(50) -> TransformerEncoder(2, 3, 24, causal: true)\n",
    "sinusoids": "    x = x -> SinusoidalPositions() -> TransformerEncoder(1, 2, 24, causal: true, norm_first: true)\n",
    "positions alone": "    x = x -> LearnedPositions(50)\n",
    "gru": "    x = x -> GRU(8, sequences: true)\n",
    "two lstms": "    x = x -> LSTM(8, sequences: true) -> LSTM(6, sequences: true)\n",
    "lstm and attention": "    x = x -> LSTM(8, sequences: true) -> MultiHeadAttention(2, causal: true)\n",
}


def graph_of(body: str) -> Graph:
    return elaborate(HEAD + body + TAIL)


def optimized(step: Decode) -> Decode:
    return replace(step, start=optimize(step.start), step=optimize(step.step))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_token_by_token_is_all_at_once(body: str, backend: str) -> None:
    graph = graph_of(BODIES[body])
    step = decode(graph)
    verify(step.step)
    weights = initialize(graph, 0)
    check_causal(graph, step.tokens, step.output, weights)
    assert worst_difference(graph, optimized(step), weights, backend) < 1e-5


@pytest.mark.parametrize("spec", ["gpt", "transformer", "characters"])
@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_specs_generate_the_same_with_and_without_a_cache(spec: str, backend: str) -> None:
    graph = elaborate(load(SPECS / f"{spec}.model"))
    weights = initialize(graph, 1)
    step = optimized(decode(graph))
    layout = Layout.from_json(json.loads(Layout.of(step).to_json()))
    start = machine(step.start, weights, backend, "cpu") if step.start.outputs else None
    cached: Decoder = Cached(layout, start, machine(step.step, weights, backend, "cpu"))
    whole = Recomputing(step.tokens, step.output, machine(optimize(graph), weights, backend, "cpu"))
    random = np.random.default_rng(0)
    prompts = random.integers(5, 50, (3, 4))
    feeds = {name: random.integers(1, 50, (3, 9)) for name in graph.inputs if name != step.tokens}
    limits = Limits(10, frozenset(range(60, 80)))
    for how in (Sampling(), Sampling(1.0, top_k=40, top_p=0.9, min_p=0.01, repetition_penalty=1.3)):
        ours, theirs = (sample(each, prompts, feeds, limits, how, seed=3) for each in (cached, whole))
        assert ours == theirs and any(len(text) > 3 for text in ours)
    assert beam_search(cached, prompts, feeds, limits, 3) == beam_search(whole, prompts, feeds, limits, 3)


def test_the_cost_of_a_token_does_not_grow_with_what_is_recomputed() -> None:
    step = optimize(decode(graph_of(BODIES["attention"])).step)
    flops = sum((node.op.flops(*(operand.type for operand in node.operands)) for node in step), start=0)
    assert "T^2" not in str(flops) and "past^2" not in str(flops)  # products of queries with keys: T * past at most


def refused(body: str, tail: str = TAIL) -> str:
    graph = elaborate(HEAD + body + tail)
    with pytest.raises(NablacError) as caught:
        step = decode(graph)
        check_causal(graph, step.tokens, step.output, initialize(graph, 0))
    return str(caught.value)


def test_a_model_that_looks_ahead_is_refused_at_its_line() -> None:
    found = refused("    x = x -> MultiHeadAttention(2)\n")
    assert found.startswith("error[E862]: M does not generate: here, the result for a token depends on later tokens\n")
    assert "y = rearrange(weights @ V" in found
    assert refused("    x = x - mean(x, axis: 1, keep: true)\n").splitlines()[:4] == [
        "error[E862]: M does not generate: here, the result for a token depends on later tokens",
        " --> test.model:4:9",
        "  |",
        "4 |     x = x - mean(x, axis: 1, keep: true)",
    ]


def test_a_walk_from_the_end_is_refused_at_its_line() -> None:
    found = refused("    x = x -> Bidirectional(LSTM(6, sequences: true))\n")
    assert found.startswith("error[E860]: M has no decode step: its scan runs from the last token to the first\n")


def test_a_model_without_scores_of_tokens_is_refused() -> None:
    found = refused("", "    output logits = mean(x, axis: 1) -> Dense(20)\n}\n")
    assert found.startswith("error[E860]: M does not generate text\n")


@pytest.mark.parametrize("places", [1, 2, 5])
def test_a_text_of_few_places_is_checked_as_far_as_it_goes(places: int) -> None:
    graph = graph_of(f"    x = x -> LearnedPositions({places}) -> MultiHeadAttention(3, causal: true)\n")
    step, weights = decode(graph), initialize(graph, 0)
    check_causal(graph, step.tokens, step.output, weights)
    assert worst_difference(graph, optimized(step), weights) < 1e-5


def test_a_long_prompt_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of all its places would fill the memory, and only those of the last are asked for."""
    monkeypatch.setattr("runtime.generation.decoders._AT_ONCE", 6)
    graph = graph_of(BODIES["lstm and attention"])
    step, weights = optimized(decode(graph)), initialize(graph, 0)
    start = machine(step.start, weights, "numpy", "cpu")
    cached = Cached(Layout.of(step), start, machine(step.step, weights, "numpy", "cpu"))
    whole = Recomputing(step.tokens, step.output, machine(graph, weights, "numpy", "cpu"))
    prompts = np.random.default_rng(0).integers(1, 20, (2, 11))
    np.testing.assert_allclose(cached.begin(prompts, {}), whole.begin(prompts, {}), atol=1e-5)


def test_what_is_drawn_for_a_prompt_does_not_depend_on_its_batch() -> None:
    graph = graph_of(BODIES["gru"])
    weights = initialize(graph, 0)
    prompts = np.random.default_rng(0).integers(1, 20, (4, 5))
    prompts[3] = prompts[0]

    def drawn(rows: list[int]) -> list[list[int]]:
        whole = Recomputing("tokens", "logits", machine(graph, weights, "numpy", "cpu"))
        return sample(whole, prompts[rows], {}, Limits(8, frozenset({3})), Sampling(1.5), 7, numbers=rows)

    together = drawn([0, 1, 2, 3])
    assert together == [*drawn([0, 1]), *drawn([2]), *drawn([3])] and together[0] != together[3]


def test_without_a_cache_no_decode_step_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(graph: Graph) -> Decode:
        raise NablacError(Diagnostic(codes.E860, "no step"))

    monkeypatch.setattr("runtime.generation.generator.decode", refuse)
    graph = graph_of(BODIES["gru"])
    given = graph, initialize(graph, 0), learn(["a b c"], "words", 20), "numpy", "cpu"
    assert isinstance(Generator.of_graph(*given, cached=False).generate(["a b"], Request(tokens=3))[0], str)
    with pytest.raises(NablacError):
        Generator.of_graph(*given)
