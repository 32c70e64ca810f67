"""Attention in several writings, with rows of masks in which no key is seen."""

from __future__ import annotations

import math
from typing import Any

import torch

from tests.fuzz.generator import Generator
from tests.fuzz.program import Statement, Value
from tests.fuzz.sizes import Size
from tests.fuzz.statements.table import template


@template(2)
def attention(g: Generator) -> Statement:
    """`softmax(scores) @ V` in several writings."""
    b, t, d, v = g.size(), g.size(), Size.of(g.random.choice([2, 3, 4])), Size.of(g.random.choice([2, 3]))
    s_ = t if g.chance(0.5) else g.size()
    heads = () if g.chance(0.5) else (Size.of(2),)
    q, k, w = g.like((b, *heads, t, d)), g.like((b, *heads, s_, d)), g.like((b, *heads, s_, v))
    scale = g.random.choice([None, "after", "before", "both"])
    mask = g.random.choice([None, "causal", "bool", "bias", "bool_last", "library"])
    if mask == "library" and not heads:
        mask = None
    if mask == "causal" and s_ != t:
        mask = None
    width = d.number
    assert width is not None
    left = f"({q.name} / sqrt({width}))" if scale == "before" else q.name
    text = f"{left} @ {k.name}^T"
    text = f"({text}) / sqrt({width})" if scale == "after" else f"({text}) * {width**-0.5}" if scale == "both" else text
    uses: list[Value] = [q, k, w]
    extra: Value | None = None
    if mask == "causal":
        name = g.name("c")
        before = [f"{name} = unsqueeze(iota({t}), 1) >= unsqueeze(iota({t}), 0)"]
        text = f"where({name}, {text}, -infinity)" if g.chance(0.5) else f"where({name}, {text}, -1e9)"
    else:
        before = []
    if mask == "bool":
        extra = g.fresh((t, s_), "b")
        text = f"where({extra.name}, {text}, -1e4)"
    elif mask == "bool_last":
        extra = g.fresh((b, s_), "b")
        lead = f"unsqueeze(unsqueeze({extra.name}, 1), 1)" if heads else f"unsqueeze({extra.name}, 1)"
        text = f"where({lead}, {text}, -1e4)"
    elif mask == "library":
        extra = g.fresh((b, s_), "b")
    elif mask == "bias":
        extra = g.like((t, s_))
        text = f"{text} + {extra.name}"
    if extra is not None:
        uses.append(extra)

    def compute(e: Any, s: Any) -> Any:
        scores = e[q.name] @ e[k.name].transpose(-1, -2)
        scores = scores / math.sqrt(width) if scale else scores
        if mask == "causal":
            scores = scores.masked_fill(~torch.ones(t.at(s), t.at(s), dtype=torch.bool).tril(), -1e30)
        elif mask == "bool":
            scores = torch.where(e[extra.name], scores, -1e4)
        elif mask == "bool_last":
            row = e[extra.name][:, None]
            scores = torch.where(row[:, None] if heads else row, scores, -1e4)
        elif mask == "bias":
            scores = scores + e[extra.name]
        if mask == "library":
            row = e[extra.name][:, None, None]
            row = row & torch.ones(t.at(s), s_.at(s), dtype=torch.bool).tril() if causal else row.expand(scores.shape)
            seen = row.any(-1, keepdim=True)
            soft = torch.softmax(torch.where(seen, torch.where(row, scores, -math.inf), 0.0), -1)
            return torch.where(seen, soft, 0.0) @ e[w.name]
        return torch.softmax(scores, -1) @ e[w.name]

    causal = g.chance(0.5)
    soft = f"softmax({text}, axis: -1)"
    if mask == "library":
        soft = f"attention_weights({text}, {extra.name}, causal: {str(causal).lower()})"
    return g.made(
        f"{soft} @ {w.name}",
        "f",
        (b, *heads, t, v),
        uses,
        compute,
        smooth=mask is None,
        before=before,
    )
