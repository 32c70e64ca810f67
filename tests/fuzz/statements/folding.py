"""Statements that reduce axes, or run along one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.fuzz.generator import Generator, distinct
from tests.fuzz.program import Statement, Value
from tests.fuzz.sizes import ONES, Size, listed
from tests.fuzz.statements.table import template


@template(5)
def reduction(g: Generator) -> Statement:
    x = g.pick()
    keep = g.chance(0.4)
    everything = g.chance(0.2) or not x.rank
    axes = list(range(x.rank)) if everything else g.axes(x)
    name = g.random.choice(["sum", "mean", "max", "min", "prod", "logsumexp"])
    compute: dict[str, Callable[..., Any]] = {
        "sum": lambda v: v.sum(axes, keepdim=keep) if axes else v.clone(),
        "mean": lambda v: v.mean(axes, keepdim=keep) if axes else v.clone(),
        "max": lambda v: v.amax(axes, keepdim=keep) if axes else v.clone(),
        "min": lambda v: v.amin(axes, keepdim=keep) if axes else v.clone(),
        "logsumexp": lambda v: v.logsumexp(axes, keepdim=keep) if axes else v.clone(),
        "prod": lambda v: _prod(v, axes, keep),
    }
    options = []
    if not everything:
        shown = [g.signed(axis, x.rank) for axis in axes]
        g.random.shuffle(shown)
        options.append(f"axis: {shown[0] if len(shown) == 1 and g.chance(0.7) else listed(shown)}")
    if keep:
        options.append("keep: true")
    shape = tuple(Size.of(1) if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes)
    smooth = name not in ("max", "min")
    if name == "prod" and bool((g.env[x.name].abs() < 1e-3).any()):
        smooth = False
    if name in ("max", "min"):
        g.no_ties(g.env[x.name])
    text = f"{name}({', '.join([x.name, *options])})"
    return g.statement(text, "f", shape, [x], lambda e, s: compute[name](e[x.name]), smooth=smooth)


def _prod(v: Any, axes: list[int], keep: bool) -> Any:
    for axis in sorted(axes, reverse=True):
        v = v.prod(axis, keepdim=keep)
    return v.clone()


@template(1)
def whole_reduction(g: Generator) -> Statement:
    """Reductions of integers and booleans."""
    kind = g.random.choice("ib")
    x = g.pick(kind, [1, 2, 3])
    keep, axes = g.chance(0.4), g.axes(x)
    name = g.random.choice(["sum", "max", "min", "prod"] if kind == "i" else ["all", "any"])
    shape = tuple(Size.of(1) if p in axes else size for p, size in enumerate(x.shape) if keep or p not in axes)

    def compute(v: Any) -> Any:
        if name == "prod":
            return _prod(v, axes, keep)
        if name in ("all", "any"):
            for axis in sorted(axes, reverse=True):
                v = getattr(v, name)(axis, keepdim=keep)
            return v
        return {"sum": torch.sum, "max": torch.amax, "min": torch.amin}[name](v, axes, keepdim=keep)

    text = f"{name}({x.name}, axis: {listed(axes)}, keep: {str(keep).lower()})"
    return g.statement(text, kind, shape, [x], lambda e, s: compute(e[x.name]))


@template(2)
def softmaxes(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3, 4])
    axis = g.axis(x)
    name = g.random.choice(["softmax", "log_softmax"])
    compute = getattr(torch, name)
    text = f"{name}({x.name}, axis: {g.signed(axis, x.rank)})"
    return g.statement(text, "f", x.shape, [x], lambda e, s: compute(e[x.name], axis))


@template(1)
def softmax_by_hand(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3, 4])
    axis = g.axis(x)
    n = x.name
    g.no_ties(g.env[n])
    name = g.name("e")
    peak = g.random.choice([f"exp({n} - max({n}, axis: {axis}, keep: true))", f"exp({n})"])
    text = f"{name} / sum({name}, axis: {axis}, keep: true)"
    return g.statement(
        text, "f", x.shape, [x], lambda e, s: torch.softmax(e[n], axis), smooth=False, before=[f"{name} = {peak}"]
    )


@template(2)
def cumulative(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    axis = g.axis(x)
    exclusive, reverse = g.chance(0.4), g.chance(0.4)

    def compute(v: Any) -> Any:
        v = v.flip(axis) if reverse else v
        total = torch.cumsum(v, axis)
        total = total - v if exclusive else total
        return total.flip(axis) if reverse else total

    options = f"exclusive: {str(exclusive).lower()}, reverse: {str(reverse).lower()}"
    text = f"cumsum({x.name}, axis: {g.signed(axis, x.rank)}, {options})"
    return g.statement(text, "f", x.shape, [x], lambda e, s: compute(e[x.name]))


@template(1)
def arg_extreme(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    axis, keep = g.axis(x), g.chance(0.3)
    g.no_ties(g.env[x.name])
    name = g.random.choice(["argmax", "argmin"])
    compute = getattr(torch, name)
    shape = list(x.shape)
    high = shape[axis]
    shape[axis : axis + 1] = [Size.of(1)] if keep else []
    text = f"{name}({x.name}, axis: {g.signed(axis, x.rank)}, keep: {str(keep).lower()})"
    statement = g.statement(text, "i", tuple(shape), [x], lambda e, s: compute(distinct(e[x.name]), axis, keepdim=keep))
    statement.results[0].high = high
    return statement


@template(1)
def top_k(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    axis = g.axis(x)
    g.no_ties(g.env[x.name])
    k = g.random.choice([Size.of(1), Size.of(2), x.shape[axis]])
    if k.at(ONES) > x.shape[axis].at(ONES):
        k = Size.of(1)
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    n = x.name
    text = f"top_k({n}, k: {k}, axis: {g.signed(axis, x.rank)})"
    first = Value(g.name(), "f", shape, False)
    second = Value(g.name(), "i", shape, high=x.shape[axis])
    return Statement([first, second], text, [n], lambda e, s: tuple(torch.topk(distinct(e[n]), k.at(s), axis)))
