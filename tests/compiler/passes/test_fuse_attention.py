"""Which equations become the one operator, and that it computes what they did."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.decode import decode
from compiler.dims import PAST, Dim
from compiler.graph import Graph
from compiler.graph_checks import verify
from compiler.operators.attention import Attention
from compiler.passes.fuse_attention import fuse_attention
from compiler.passes.join_masks import join_masks
from compiler.passes.pipeline import optimize
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.verification import random_feeds, relative_error, sample_sizes
from tests.models import elaborate

HEAD = """model M {
    input x: [batch, T, 12], memory: [batch, S, 12], seen: bool[batch, S], tokens: i64[batch, T]
    input pairs: bool[T, S], each: bool[batch, T, S], added: [batch, 3, T, S]
"""
LAYERS = {
    "self": ("output y = x -> MultiHeadAttention(3)", False, 3),
    "causal": ("output y = x -> MultiHeadAttention(3, causal: true)", True, 3),
    "cross": ("output y = MultiHeadAttention(3)(x, memory, memory)", False, 3),
    "cross with a mask": ("output y = MultiHeadAttention(3)(x, memory, memory, mask: seen)", False, 4),
    "causal with padding": (
        "output y = MultiHeadAttention(3, causal: true)(x, mask: tokens != 0 or iota(T) == 0)",
        True,
        4,
    ),
    "cross with pairs": ("output y = MultiHeadAttention(3)(x, memory, memory, pairs: pairs)", False, 4),
    "cross with pairs of each": (
        "output y = MultiHeadAttention(3)(x, memory, memory, pairs: each, mask: seen)",
        False,
        5,
    ),
    "cross with a bias": ("output y = MultiHeadAttention(3)(x, memory, memory, score_bias: added)", False, 4),
    "causal with a bias": (
        "output y = MultiHeadAttention(3, causal: true)(x, score_bias: cast(iota(T) - unsqueeze(iota(T), 1), f32) / 8)",
        True,
        4,
    ),
    "groups": ("output y = x -> MultiHeadAttention(6, kv_heads: 2, causal: true)", True, 3),
    "rotary": ("output y = x -> MultiHeadAttention(3, causal: true, rotary: true, bias: false)", True, 3),
}
EQUATIONS = {
    "no scale": ("s = Q @ K^T", 1.0),
    "queries scaled": ("s = (Q * 0.5) @ K^T", 1.0),
    "scores scaled": ("s = Q @ K^T * 0.25", 0.25),
    "a factor first": ("s = 0.25 * (Q @ K^T)", 0.25),
    "divided twice": ("s = Q @ K^T / 2 / 4", 0.125),
    "a bias by distance": ("s = Q @ K^T / 2 - abs(unsqueeze(cast(iota(T), f32), 1) - cast(iota(S), f32)) * 0.1", 0.5),
    "a bias before the scale": ("s = (Q @ K^T + bias) / 2", 1.0),
    "a mask of every pair": ("s = where(Q @ K^T < 100 and seen_by, Q @ K^T, -1e9)", 1.0),
    "a mask of what is hidden": ("s = where(not seen_by, -1e9, Q @ K^T)", 1.0),
    "negations": ("s = where(not (not seen_by), Q @ K^T, -1e9)", 1.0),
    "a mask as a number": ("s = Q @ K^T + where(seen_by, 0.0, -1e9)", 1.0),
    "a mask and a bias": ("s = where(unsqueeze(unsqueeze(seen, 1), 1), Q @ K^T / 2 + bias, -1e9)", 0.5),
}
QKV = """    Q = rearrange(x -> Dense(12), "b t (h d) -> b h t d", h: 3)
    K = rearrange(memory -> Dense(12), "b t (h d) -> b h t d", h: 3)
    V = rearrange(memory -> Dense(12), "b t (h d) -> b h t d", h: 3)
    bias = sin(unsqueeze(cast(iota(T), f32), 1) + cast(iota(S), f32))
    seen_by = unsqueeze(unsqueeze(seen, 1), 1)
"""


def graph_of(body: str) -> Graph:
    return elaborate(HEAD + body + "\n}\n")


def fused(graph: Graph) -> list[Attention]:
    return [node.op for node in graph if isinstance(node.op, Attention)]


def assert_same(graph: Graph, changed: Graph) -> None:
    verify(changed)
    weights = initialize(graph, 0)
    for number, sizes in enumerate(sample_sizes(graph)):
        feeds = random_feeds(graph, sizes, number)
        before, after = run(graph, feeds, weights), run(changed, feeds, weights)
        for name in before:
            assert relative_error(np.asarray(after[name]), before[name]) < 1e-5


@pytest.mark.parametrize("label", LAYERS)
def test_the_librarys_attention_is_one_operator(label: str) -> None:
    body, causal, operands = LAYERS[label]
    graph = graph_of(body)
    changed = optimize(graph)
    (node,) = [node for node in changed if isinstance(node.op, Attention)]
    assert (node.op.causal, len(node.operands)) == (causal, operands)
    assert_same(graph, changed)


@pytest.mark.parametrize("label", [each for each in EQUATIONS if each != "a mask of every pair"])
def test_a_users_own_equations_are_one_operator(label: str) -> None:
    scores, scale = EQUATIONS[label]
    graph = graph_of(QKV + f"    {scores}\n    output y = softmax(s) @ V")
    changed = optimize(graph)
    (found,) = fused(changed)
    assert found.scale == pytest.approx(scale) and not found.causal
    assert_same(graph, changed)


QUERY, KEY = "unsqueeze(iota(T), 1)", "unsqueeze(iota(S), 0)"
CAUSAL = {
    "keys at most": f"where({KEY} <= {QUERY}, s, -1e9)",
    "queries at least": f"where({QUERY} >= {KEY}, s, -1e9)",
    "later keys hidden": f"where({KEY} > {QUERY}, -1e9, s)",
    "earlier queries hidden": f"where({QUERY} < {KEY}, -infinity, s)",
    "not later keys": f"where(not ({KEY} <= {QUERY}), -1e9, s)",
}


@pytest.mark.parametrize("label", CAUSAL)
def test_the_future_is_hidden_by_the_operator_however_it_is_said(label: str) -> None:
    graph = graph_of(QKV + f"    s = Q @ K^T\n    output y = softmax({CAUSAL[label]}) @ V")
    (found,) = fused(changed := optimize(graph))
    assert found.causal or "not" in label
    assert_same(graph, changed)


ONE_HEAD = "    q = x -> Dense(8)\n    k = memory -> Dense(8)\n    v = memory -> Dense(5)\n"
GROUPS = """    q = rearrange(x -> Dense(24), "b t (g r d) -> b g r t d", g: 2, r: 3)
    k = rearrange(memory -> Dense(8), "b s (g d) -> b g 1 s d", g: 2)
    v = rearrange(memory -> Dense(10), "b s (g d) -> b g 1 s d", g: 2)
"""
RANKS = {
    "one head": ONE_HEAD + "    output y = softmax(q @ k^T / sqrt(8)) @ v",
    "one head, masked": ONE_HEAD + "    output y = softmax(where(unsqueeze(seen, 1), q @ k^T, -1e9)) @ v",
    "one head, biased": ONE_HEAD + "    output y = softmax(q @ k^T + iota(S, dtype: f32)) @ v",
    "groups": GROUPS + "    output y = softmax(q @ k^T / 2) @ v",
    "groups, masked": GROUPS
    + "    m = unsqueeze(unsqueeze(unsqueeze(seen, 1), 1), 1)\n    output y = softmax(where(m, q @ k^T, -1e9)) @ v",
    "groups, a bias of each head": GROUPS
    + "    slope = reshape(iota(6, dtype: f32), [2, 3, 1, 1]) * iota(S, dtype: f32)\n"
    + "    output y = softmax(q @ k^T + slope) @ v",
}


@pytest.mark.parametrize("label", RANKS)
def test_attention_of_other_axes_is_the_operator(label: str) -> None:
    graph = graph_of(RANKS[label])
    changed = optimize(graph)
    assert len(fused(changed)) == 1
    assert_same(graph, changed)


WRITTEN = {
    "less its largest": "e = exp(s - max(s, axis: -1, keep: true))\n    w = e / sum(e, axis: -1, keep: true)",
    "by logarithms": "w = exp(log_softmax(s, axis: -1))",
}


@pytest.mark.parametrize("label", WRITTEN)
def test_a_softmax_that_is_written_out_is_known(label: str) -> None:
    graph = graph_of(QKV + f"    s = Q @ K^T / 2\n    {WRITTEN[label]}\n    output y = w @ V")
    changed = optimize(graph)
    assert len(fused(changed)) == 1
    assert_same(graph, changed)


def test_equal_masks_are_shared_between_layers() -> None:
    graph = graph_of("output y = x -> TransformerEncoder(3, 3, 24, causal: true)")
    body = "encoder = TransformerDecoder(3, 3, 24)\n    output y = encoder(x, memory, memory_mask: seen)"
    biases = [
        node.operands[3] for node in optimize(graph_of(body)) if len(node.operands) == 4 and node.op.name == "attention"
    ]
    assert len(biases) == 3 and len(set(biases)) == 1
    assert len(fused(optimize(graph))) == 3


LEFT = {
    "weights that are an output": "    w = softmax(Q @ K^T)\n    output w\n    output y = w @ V",
    "scores that are an output": "    s = Q @ K^T\n    output s\n    output y = softmax(s) @ V",
    "a softmax that may overflow": "    e = exp(Q @ K^T)\n    output y = (e / sum(e, axis: -1, keep: true)) @ V",
    "softmax over queries": "    output y = softmax(Q @ K^T, axis: -2) @ V",
    "a mask of other scores": "    output y = softmax(where(seen_by, Q @ K^T, bias)) @ V",
    "weights of 0 by another mask": "    s = where(seen_by, Q @ K^T, -1e9)\n"
    "    output y = where(bias > 0, softmax(s), 0) @ V",
    "weights of 1": "    output y = where(seen_by, softmax(where(seen_by, Q @ K^T, -1e9)), 1) @ V",
    "scores of another kind": "    output y = softmax(tanh(Q @ K^T)) @ V",
}


@pytest.mark.parametrize("label", LEFT)
def test_what_is_no_attention_stays(label: str) -> None:
    graph = graph_of(QKV + LEFT[label])
    assert fused(fuse_attention(graph)) == []


def test_a_decode_step_is_causal_behind_the_past_and_exported_with_one_mask() -> None:
    text = """model M {
        input tokens: i64[batch, T]
        x = tokens -> Embedding(20, 12) -> TransformerEncoder(3, 3, 24, causal: true)
        output logits = x -> Dense(20)
    }"""
    step = optimize(decode(elaborate(text)).step)
    assert [(op.causal, op.before) for op in fused(step)] == [(True, Dim.named(PAST))] * 3
    assert not any(node.results[0].shape[-2:] == (Dim.named("T"), Dim.named("T") + Dim.named(PAST)) for node in step)
    masked = join_masks(step)
    verify(masked)
    assert not any(op.causal for op in fused(masked))
    assert len({node.operands[3] for node in masked if isinstance(node.op, Attention)}) == 1
    assert join_masks(masked).nodes == masked.nodes
