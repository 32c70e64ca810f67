"""What a decode step carries on of running sums, convolutions and shifts: no more for a long text than for a short."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.decode import decode
from compiler.dims import PAST, symbols
from compiler.graph_checks import verify
from grammar.diagnostics import NablacError
from runtime.generation.decode_checks import check_causal
from runtime.generation.decoders import Cached, Layout, Recomputing
from runtime.generation.machines import machine
from runtime.initialization import initialize
from tests.runtime.generation.test_decoding import graph_of, optimized

# `y` is [batch, channels, T].
TURNED = "    y = transpose(x, [0, 2, 1])\n"
BACK = "    x = x + transpose(y, [0, 2, 1])\n"
BOUNDED = {
    "a running sum": "    x = x + cumsum(x, axis: 1)\n",
    "a running sum of what came before": "    x = x + cumsum(x, axis: 1, exclusive: true)\n",
    "linear attention": (
        '    x = einsum("b t i, b t i j -> b t j", x, cumsum(einsum("b t i, b t j -> b t i j", x, x), axis: 1))\n'
    ),
    "a causal convolution": TURNED + '    y = y -> Conv1D(12, 3, padding: "causal")\n' + BACK,
    "a dilated convolution of each channel": (
        TURNED + '    y = y -> Conv1D(12, 4, padding: "causal", dilation: 3, groups: 12)\n' + BACK
    ),
    "a convolution of one position": TURNED + "    y = y -> Conv1D(12, 1)\n" + BACK,
    "convolutions on each other": (
        TURNED
        + '    y = y -> Conv1D(12, 3, padding: "causal", activation: relu)\n'
        + '    y = y -> Conv1D(12, 3, padding: "causal", dilation: 2)\n'
        + BACK
    ),
    "a convolution of what is padded before": (
        TURNED + "    y = pad(y, before: [0, 0, 2], after: [0, 0, 0]) -> Conv1D(12, 3, padding: 0)\n" + BACK
    ),
    "a convolution padded on both sides, then cut": (
        TURNED + "    y = relu(y -> Conv1D(12, 3, padding: 2))[:, :, 0:T]\n" + BACK
    ),
    "a convolution of two axes": (
        "    y = unsqueeze(x, 1)\n    param K: [2, 1, 3, 3] ~ normal\n    y = conv(y, K, pads: [2, 1, 0, 1])\n"
        "    x = x + mean(y, axis: 1)\n"
    ),
    "a convolution written as a sum": (
        "    p = pad(x, before: [0, 2, 0], after: [0, 0, 0])\n"
        "    x = p[:, 0:T] * 0.2 + p[:, 1:T + 1] * 0.3 + p[:, 2:T + 2]\n"
    ),
    "a shift by a token": "    x = x + pad(x, before: [0, 1, 0], after: [0, 0, 0])[:, 0:T]\n",
    "a shift by three, of another number": (
        "    x = x + pad(x[:, 0:T], before: [0, 3, 0], after: [0, 0, 0], value: 2)[:, 0:T]\n"
    ),
    "a token cut off, then a shift": "    x = x + pad(x[:, 0:T - 1] * 2, before: [0, 1, 0], after: [0, 0, 0])\n",
    "a shift behind a vector that is learned": (
        "    param first: [1, 1, 12] ~ normal\n"
        "    x = x + concat([expand(first, [batch, 1, 12]), x[:, 0:T - 1]], axis: 1)\n"
    ),
    "a shift of the tokens themselves": (
        "    x = x + (concat([cast(expand(2, [batch, 1]), i64), tokens[:, 0:T - 1]], axis: 1) -> Embedding(20, 12))\n"
    ),
    "paddings around each other": (
        TURNED
        + "    y = pad(pad(y, before: [0, 0, 1], after: [0, 0, 0], value: 1), before: [0, 1, 1], after: [0, 0, 0])\n"
        + "    y = y -> Conv1D(12, 3, padding: 0)\n"
        + BACK
    ),
    "a walk over a shift": (
        "    x = pad(x, before: [0, 1, 0], after: [0, 0, 0])[:, 0:T] -> GRU(12, sequences: true)\n"
    ),
}
HEADS = (
    '    q = rearrange(x, "b t (h d) -> b h t d", h: 2)\n    s = q @ q^T / 2\n'
    "    seen = unsqueeze(iota(T), 0) <= unsqueeze(iota(T), 1)\n"
)
GROWING = {
    "heads mixed by a product": (
        HEADS + "    w = softmax(where(seen, s, -1e9), axis: -1)\n    param H: [2, 2] ~ normal\n"
        "    w = transpose(transpose(w, [0, 2, 3, 1]) @ H, [0, 3, 1, 2])\n"
        '    x = rearrange(w @ q, "b h t d -> b t (h d)")\n'
    ),
    "heads mixed by einsum, either way about": (
        HEADS + "    s = where(seen, s, -1e9)\n    param H, G: [2, 2] ~ normal\n"
        '    s = einsum("h g, b h t s -> b g t s", G * G, s)\n'
        '    w = einsum("b h t s, h g -> b g t s", softmax(s, axis: -1), H)\n'
        '    x = rearrange(w @ q, "b h t d -> b t (h d)")\n'
    ),
    "scores that fade by a running sum": (
        HEADS + "    f = transpose(cumsum(log(sigmoid(x[:, :, 0:2])), axis: 1), [0, 2, 1])\n"
        "    s = where(seen, s + unsqueeze(f, 3) - unsqueeze(f, 2), -1e9)\n"
        '    x = rearrange(softmax(s, axis: -1) @ q, "b h t d -> b t (h d)")\n'
    ),
    "attention to a key of zeros before the first": (
        "    k = pad(x, before: [0, 1, 0], after: [0, 0, 0])\n    s = x @ k^T / 3\n"
        "    s = where(unsqueeze(iota(T + 1), 0) <= unsqueeze(iota(T), 1) + 1, s, -1e9)\n"
        "    x = softmax(s, axis: -1) @ k\n"
    ),
    "a first token of its own": "    x = x + concat([x[:, 0:1], x[:, 0:T - 1]], axis: 1)\n",
    "an edge repeated": ('    x = x + pad(x, before: [0, 1, 0], after: [0, 0, 0], mode: "edge")[:, 0:T]\n'),
    "the largest of three": (
        TURNED + "    y = pad(y, before: [0, 0, 2], after: [0, 0, 0]) -> MaxPool1D(3, stride: 1)\n" + BACK
    ),
    "attention to shifted keys": (
        "    y = pad(x, before: [0, 1, 0], after: [0, 0, 0])[:, 0:T]\n"
        "    x = x + MultiHeadAttention(2, causal: true)(x, y, y)\n"
    ),
    "a convolution of attention": (
        "    x = x -> MultiHeadAttention(2, causal: true)\n"
        + TURNED
        + '    y = y -> Conv1D(12, 3, padding: "causal")\n'
        + BACK
    ),
    "a masked convolution": (
        TURNED + "    param K: [12, 12, 3] ~ normal\n    seen = cast(iota(3) < 2, f32)\n"
        "    y = conv(y, K * seen, pads: [1, 1])\n" + BACK
    ),
}


@pytest.mark.parametrize("body", BOUNDED)
def test_what_is_kept_and_what_a_token_costs_do_not_grow(body: str) -> None:
    step = optimized(decode(graph_of(BOUNDED[body])))
    assert not step.caches
    assert not any(PAST in symbols(size) for node in step.step for each in node.results for size in each.shape)
    costs = (node.op.flops(*(operand.type for operand in node.operands)) for node in step.step)
    assert symbols(sum(costs, start=0)) == {"batch", "T"}


@pytest.mark.parametrize("body", BOUNDED | GROWING)
@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_prompts_of_every_length_go_on_as_without_a_cache(
    body: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.generation.decoders._AT_ONCE", 6)  # the prompts are taken in pieces of two tokens
    graph = graph_of((BOUNDED | GROWING)[body])
    step, weights = decode(graph), initialize(graph, 0)
    verify(step.step)
    check_causal(graph, step.tokens, step.output, weights)
    step = optimized(step)
    start = machine(step.start, weights, backend, "cpu") if step.start.outputs else None
    cached = Cached(Layout.of(step), start, machine(step.step, weights, backend, "cpu"))
    whole = Recomputing(step.tokens, step.output, machine(graph, weights, "numpy", "cpu"))
    for prompt in (1, 2, 3, 7):
        tokens = np.random.default_rng(prompt).integers(1, 20, (3, prompt + 12))
        scores = [each.begin(tokens[:, :prompt], {}) for each in (cached, whole)]
        for place in range(prompt, tokens.shape[1]):
            np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)
            scores = [each.next(tokens[:, place]) for each in (cached, whole)]
            if place == prompt + 5:  # as a beam search goes on with some of the texts
                tokens, scores = tokens[[2, 0, 0]], [each[[2, 0, 0]] for each in scores]
                cached.choose(np.array([2, 0, 0]))
                whole.choose(np.array([2, 0, 0]))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            TURNED + "    y = y -> Conv1D(12, 2, stride: 2, padding: 0)\n    x = x + mean(y)\n",
            "all of f32[batch, 12, T // 2] is needed for every token",
        ),
        (
            "    p = pad(x, before: [0, 1, 0], after: [0, 0, 0]) -> LSTM(12)\n    x = x + unsqueeze(p, 1)\n",
            "its scan does not run over T",
        ),
        (
            "    param P: [50, 12] ~ normal\n"
            "    x = x + pad(x[:, 0:T - 1] + P[0:T - 1], before: [0, 1, 0], after: [0, 0, 0])\n",
            "it needs positions after its last one",
        ),
    ],
)
def test_what_has_no_step_is_refused(body: str, why: str) -> None:
    with pytest.raises(NablacError) as caught:
        decode(graph_of(body))
    assert caught.value.diagnostics[0].message == f"M has no decode step: {why}"
