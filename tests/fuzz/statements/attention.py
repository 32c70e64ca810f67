"""Attention in several forms, with mask rows in which no key is visible."""

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
    """`softmax(scores) @ V` in several forms."""
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
    causal = g.chance(0.5)
    before: list[str] = []
    extra: Value | None = None
    if mask == "causal":
        name, never = g.name("c"), g.random.choice(["-infinity", "-1e9"])
        before = [f"{name} = unsqueeze(iota({t}), 1) >= unsqueeze(iota({t}), 0)"]
        text = f"where({name}, {text}, {never})"
    elif mask == "bool":
        extra = g.fresh((t, s_), "b")
        text = f"where({extra.name}, {text}, -1e4)"
    elif mask in ("bool_last", "library"):
        extra = g.fresh((b, s_), "b")
        row = f"unsqueeze(unsqueeze({extra.name}, 1), 1)" if heads else f"unsqueeze({extra.name}, 1)"
        text = f"where({row}, {text}, -1e4)" if mask == "bool_last" else text
    elif mask == "bias":
        extra = g.like((t, s_))
        text = f"{text} + {extra.name}"
    uses = [q, k, w, *([extra] if extra is not None else [])]
    other = extra.name if extra is not None else ""
    soft = f"softmax({text}, axis: -1)"
    if mask == "library":
        soft = f"attention_weights({text}, {other}, causal: {str(causal).lower()})"

    def compute(e: Any, s: Any) -> Any:
        scores = e[q.name] @ e[k.name].transpose(-1, -2)
        scores = scores / math.sqrt(width) if scale else scores
        earlier = torch.ones(t.at(s), s_.at(s), dtype=torch.bool).tril()
        if mask == "causal":
            scores = scores.masked_fill(~earlier, -1e30)
        elif mask == "bool":
            scores = torch.where(e[other], scores, -1e4)
        elif mask == "bool_last":
            row = e[other][:, None]
            scores = torch.where(row[:, None] if heads else row, scores, -1e4)
        elif mask == "bias":
            scores = scores + e[other]
        if mask != "library":
            return torch.softmax(scores, -1) @ e[w.name]
        allowed = (e[other][:, None, None] & (earlier | (not causal))).expand(scores.shape)
        seen = allowed.any(-1, keepdim=True)
        weights = torch.softmax(torch.where(seen, torch.where(allowed, scores, -math.inf), 0.0), -1)
        return torch.where(seen, weights, 0.0) @ e[w.name]

    return g.statement(
        f"{soft} @ {w.name}",
        "f",
        (b, *heads, t, v),
        uses,
        compute,
        smooth=mask is None,
        before=before,
    )
