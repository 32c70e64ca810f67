"""Layers and losses of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement
from tests.fuzz.sizes import Size, shape_of
from tests.fuzz.statements.indices import bounded
from tests.fuzz.statements.table import template


@template(3)
def layer(g: Generator) -> Statement:
    name = g.name("L")
    way = g.random.choice(["dense", "norm", "rms", "group", "gated", "loop", "branch", "dense_relu"])
    if way == "group":
        x = g.pick(rank=[3, 4], where=lambda v: v.shape[1].number in (2, 4))
        c = x.shape[1].number
        assert c is not None
        path = {f"{name}.gamma": shape_of(c), f"{name}.beta": shape_of(c)}
        return g.statement(
            f"{x.name} -> {name}",
            "f",
            x.shape,
            [x],
            lambda e, s: F.group_norm(e[x.name], 2, e[f"{name}.gamma"], e[f"{name}.beta"], 1e-2),
            before=[f"{name} = GroupNorm(2, eps: 1e-2)"],
            parameters=path,
        )
    x = g.pick(rank=[2, 3], where=lambda v: v.shape[-1].number is not None)
    width = x.shape[-1].number
    assert width is not None
    n = x.name
    units = g.random.choice([1, 2, 3])
    shape = (*x.shape[:-1], Size.of(units))
    smooth = True
    if way in ("dense", "dense_relu"):
        activation = "tanh" if way == "dense" else "relu"
        smooth = way == "dense"
        before, text = [f"{name} = Dense({units}, activation: {activation})"], f"{n} -> {name}"
        path = {f"{name}.W": shape_of(width, units), f"{name}.b": shape_of(units)}
        act = getattr(torch, activation)
        compute = lambda e, s: act(e[n] @ e[f"{name}.W"] + e[f"{name}.b"])  # noqa: E731
    elif way == "norm":
        before, text, shape = [f"{name} = LayerNorm(eps: 1e-2)"], f"{name}({n})", x.shape
        path = {f"{name}.gamma": shape_of(width), f"{name}.beta": shape_of(width)}
        compute = lambda e, s: F.layer_norm(e[n], (width,), e[f"{name}.gamma"], e[f"{name}.beta"], 1e-2)  # noqa: E731
    elif way == "rms":
        before, text, shape = [f"{name} = RMSNorm(eps: 1e-2)"], f"{name}({n})", x.shape
        path = {f"{name}.gamma": shape_of(width)}
        compute = lambda e, s: F.rms_norm(e[n], (width,), e[f"{name}.gamma"], 1e-2)  # noqa: E731
    elif way == "gated":
        before, text, shape = [f"{name} = FeedForward({units}, activation: silu, gated: true)"], f"{name}({n})", x.shape
        path = {}
        for part, (a, b) in {"up": (width, units), "down": (units, width), "gate": (width, units)}.items():
            path |= {f"{name}.{part}.W": shape_of(a, b), f"{name}.{part}.b": shape_of(b)}

        def compute(e: Any, s: Any) -> Any:
            def dense(v: Any, part: str) -> Any:
                return v @ e[f"{name}.{part}.W"] + e[f"{name}.{part}.b"]

            return dense(F.silu(dense(e[n], "up")) * dense(e[n], "gate"), "down")
    elif way == "loop":
        depth = g.random.choice([1, 2, 3])
        before = [f"{name} = Dense({width}, activation: tanh)", f"r{name} = {n}"]
        before += [f"for i in 0..{depth} {{ r{name} = r{name} -> {name} }}"]
        text, shape = f"r{name} + {n}", x.shape
        path = {f"{name}.W": shape_of(width, width), f"{name}.b": shape_of(width)}

        def compute(e: Any, s: Any) -> Any:
            v = e[n]
            for _ in range(depth):
                v = torch.tanh(v @ e[f"{name}.W"] + e[f"{name}.b"])
            return v + e[n]
    else:
        flag = g.chance(0.5)
        before = [f"if {str(flag).lower()} {{ r{name} = {n} * 2 }} else {{ r{name} = sin({n}) }}"]
        text, shape, path = f"r{name} + 1", x.shape, {}
        compute = lambda e, s: (e[n] * 2 if flag else torch.sin(e[n])) + 1  # noqa: E731
    return g.statement(text, "f", shape, [x], compute, smooth=smooth, before=before, parameters=path)


@template(1)
def loss(g: Generator) -> Statement:
    name = g.random.choice(["mse", "log_cosh", "cross_entropy", "binary_cross_entropy", "categorical", "huber", "mae"])
    x = g.pick(rank=[1, 2, 3])
    n = x.name
    if name == "cross_entropy":
        if x.rank < 2 or x.shape[-1] == 1:  # of one class the library has another loss
            raise Rejected
        label = bounded(g, x.shape[:-1], x.shape[-1])
        smoothing = g.random.choice([0.0, 0.1])

        def compute(e: Any, s: Any) -> Any:
            rows = e[n].reshape(-1, e[n].shape[-1])
            return F.cross_entropy(rows, e[label.name].reshape(-1), label_smoothing=smoothing)

        text = f"cross_entropy({n}, {label.name}, smoothing: {smoothing})"
        return g.statement(text, "f", (), [x, label], compute)
    y = g.like(x.shape)
    m = y.name
    if name in ("huber", "mae") and x is y:
        raise Rejected
    table: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
        "mse": (f"mse({n}, {m})", F.mse_loss),
        "mae": (f"mae({n}, {m})", F.l1_loss),
        "huber": (f"huber({n}, {m}, delta: 0.7)", lambda a, b: F.huber_loss(a, b, delta=0.7)),
        "log_cosh": (f"log_cosh({n}, {m})", lambda a, b: torch.log(torch.cosh(a - b)).mean()),
        "binary_cross_entropy": (
            f"binary_cross_entropy({n}, sigmoid({m}))",
            lambda a, b: F.binary_cross_entropy_with_logits(a, torch.sigmoid(b)),
        ),
        "categorical": (
            f"categorical_cross_entropy({n}, softmax({m}, axis: -1))",
            lambda a, b: -(torch.softmax(b, -1) * torch.log_softmax(a, -1)).sum(-1).mean(),
        ),
    }
    text, compute2 = table[name]
    smooth = name in ("mse", "categorical")
    if not smooth and name != "log_cosh" and bool((g.env[n] == g.env[m]).any()):
        raise Rejected
    return g.statement(text, "f", (), [x, y], lambda e, s: compute2(e[n], e[m]), smooth=smooth)


@template(1)
def slope(g: Generator) -> Statement:
    """A gradient inside the program."""
    shape = g.shape(g.random.choice([1, 2]))
    x, y = g.fresh(shape), g.fresh(shape)  # inputs: neither depends on the other
    n, m = x.name, y.name
    text = f"gradient(sum(sin({n}) * {m} ** 2), {n}) + gradient(mean(tanh({m} * {n})), {m})"

    def compute(e: Any, s: Any) -> Any:
        count = max(e[n].numel(), 1)
        return torch.cos(e[n]) * e[m] ** 2 + (1 - torch.tanh(e[m] * e[n]) ** 2) * e[n] / count

    return g.statement(text, "f", x.shape, [x, y], compute)
