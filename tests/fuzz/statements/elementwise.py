"""Statements element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement
from tests.fuzz.sizes import broadcast
from tests.fuzz.statements.table import template

SMOOTH: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tanh": ("tanh({0})", torch.tanh),
    "sigmoid": ("sigmoid({0})", torch.sigmoid),
    "softplus": ("softplus({0})", lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype))),
    "erf": ("erf({0})", torch.erf),
    "sin": ("sin({0})", torch.sin),
    "cos": ("cos({0})", torch.cos),
    "tan": ("tan(0.5 * tanh({0}))", lambda x: torch.tan(0.5 * torch.tanh(x))),
    "atan": ("atan({0})", torch.atan),
    "asin": ("asin(0.9 * tanh({0}))", lambda x: torch.asin(0.9 * torch.tanh(x))),
    "acos": ("acos(0.9 * tanh({0}))", lambda x: torch.acos(0.9 * torch.tanh(x))),
    "sinh": ("sinh(tanh({0}))", lambda x: torch.sinh(torch.tanh(x))),
    "cosh": ("cosh(tanh({0}))", lambda x: torch.cosh(torch.tanh(x))),
    "asinh": ("asinh({0})", torch.asinh),
    "acosh": ("acosh(1.5 + {0} ** 2)", lambda x: torch.acosh(1.5 + x**2)),
    "atanh": ("atanh(0.9 * tanh({0}))", lambda x: torch.atanh(0.9 * torch.tanh(x))),
    "exp": ("exp({0})", torch.exp),
    "expm1": ("expm1({0})", torch.expm1),
    "log": ("log({0} ** 2 + 0.3)", lambda x: torch.log(x**2 + 0.3)),
    "log1p": ("log1p({0} ** 2)", lambda x: torch.log1p(x**2)),
    "sqrt": ("sqrt({0} ** 2 + 0.3)", lambda x: torch.sqrt(x**2 + 0.3)),
    "reciprocal": ("reciprocal({0} ** 2 + 0.7)", lambda x: torch.reciprocal(x**2 + 0.7)),
    "neg": ("-{0}", torch.neg),
    "square": ("{0} ** 2", lambda x: x**2),
    "cube": ("{0} ** 3", lambda x: x**3),
    "inverse": ("({0} ** 2 + 1) ** -1.5", lambda x: (x**2 + 1) ** -1.5),
    "root": ("({0} ** 2 + 1) ** 0.5", lambda x: (x**2 + 1) ** 0.5),
    "minus": ("1 - {0}", lambda x: 1 - x),
    "half": ("{0} / 2 + 0.25", lambda x: x / 2 + 0.25),
    "gelu": ("gelu({0})", F.gelu),
    "gelu_tanh": ("gelu_tanh({0})", lambda x: F.gelu(x, approximate="tanh")),
    "silu": ("silu({0})", F.silu),
    "mish": ("mish({0})", F.mish),
    "logistic": ("1 / (1 + exp(-{0}))", torch.sigmoid),
    "over": ("2 / ({0} ** 2 + 1)", lambda x: 2 / (x**2 + 1)),
    "power": ("2 ** {0}", lambda x: 2**x),
    "stop": ("stop_gradient({0}) * {0}", lambda x: x.detach() * x),
}
ROUGH: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "relu": ("relu({0})", F.relu),
    "abs": ("abs({0})", torch.abs),
    "clip": ("clip({0}, -0.7, 0.9)", lambda x: torch.clamp(x, -0.7, 0.9)),
    "clip_low": ("clip({0}, -0.5)", lambda x: torch.clamp(x, min=-0.5)),
    "leaky_relu": ("leaky_relu({0}, 0.1)", lambda x: F.leaky_relu(x, 0.1)),
    "elu": ("elu({0}, 0.7)", lambda x: F.elu(x, 0.7)),
    "selu": ("selu({0})", F.selu),
    "hard_swish": ("hard_swish({0})", F.hardswish),
    "hard_tanh": ("hard_tanh({0})", F.hardtanh),
    "softsign": ("softsign({0})", F.softsign),
    "sign": ("sign({0}) * {0}", lambda x: torch.sign(x) * x),
    "floor": ("floor({0}) + {0}", lambda x: torch.floor(x) + x),
    "ceil": ("ceil({0}) * {0}", lambda x: torch.ceil(x) * x),
    "round": ("round({0} * 3) + {0}", lambda x: torch.round(x * 3) + x),
    "mod": ("{0} % 0.75", lambda x: torch.remainder(x, 0.75)),
    "floor_div": ("{0} // 0.6 + {0}", lambda x: torch.div(x, 0.6, rounding_mode="floor") + x),
    "root_abs": ("sqrt(abs({0}) + 0.1)", lambda x: torch.sqrt(x.abs() + 0.1)),
}


@template(5)
def smooth(g: Generator) -> Statement:
    x = g.pick()
    text, compute = SMOOTH[g.random.choice(list(SMOOTH))]
    return g.statement(text.format(x.name), "f", x.shape, [x], lambda env, s: compute(env[x.name]))


@template(3)
def rough(g: Generator) -> Statement:
    x = g.pick()
    text, compute = ROUGH[g.random.choice(list(ROUGH))]
    if bool((g.env[x.name] == 0).any()):
        raise Rejected  # a kink
    return g.statement(text.format(x.name), "f", x.shape, [x], lambda env, s: compute(env[x.name]), smooth=False)


BINARY: dict[str, tuple[str, Callable[[Any, Any], Any], bool]] = {
    "add": ("{0} + {1}", torch.add, True),
    "sub": ("{0} - {1}", torch.sub, True),
    "mul": ("{0} * {1}", torch.mul, True),
    "div": ("{0} / (1 + {1} ** 2)", lambda x, y: x / (1 + y**2), True),
    "mixed": ("2 * {0} - {1} * 0.5", lambda x, y: 2 * x - y * 0.5, True),
    "pow": ("({0} ** 2 + 0.5) ** tanh({1})", lambda x, y: (x**2 + 0.5) ** torch.tanh(y), True),
    "maximum": ("maximum({0}, {1})", torch.maximum, False),
    "minimum": ("minimum({0}, {1})", torch.minimum, False),
    "mod": ("{0} % (abs({1}) + 0.6)", lambda x, y: torch.remainder(x, y.abs() + 0.6), False),
    "where": ("where({0} > {1}, {0} * {1}, {1})", lambda x, y: torch.where(x > y, x * y, y), False),
    "route": ("where({0} <= 0.1, {1}, 0.5)", lambda x, y: torch.where(x <= 0.1, y, 0.5), False),
}


@template(8)
def binary(g: Generator) -> Statement:
    x = g.pick()
    y = g.beside(x)
    if g.chance(0.4):
        x, y = y, x
    name = g.random.choice(list(BINARY))
    text, compute, smooth = BINARY[name]
    shape = broadcast(x.shape, y.shape)
    assert shape is not None
    if name in ("maximum", "minimum", "where") and bool((g.env[x.name] == g.env[y.name]).any()):
        raise Rejected
    if name == "route" and not x.rank:
        raise Rejected
    return g.statement(
        text.format(x.name, y.name), "f", shape, [x, y], lambda e, s: compute(e[x.name], e[y.name]), smooth=smooth
    )


@template(2)
def integers(g: Generator) -> Statement:
    x = g.pick("i")
    y = g.beside(x)
    forms: list[tuple[str, Callable[[Any, Any], Any]]] = [
        ("{0} + {1}", torch.add),
        ("{0} - 2 * {1}", lambda x, y: x - 2 * y),
        ("{0} // 3 - {1} // -2", lambda x, y: x.div(3, rounding_mode="floor") - y.div(-2, rounding_mode="floor")),
        ("({0} - {1}) % 3", lambda x, y: torch.remainder(x - y, 3)),
        ("maximum({0}, {1}) % -4", lambda x, y: torch.remainder(torch.maximum(x, y), -4)),
        ("where({0} < {1}, {0}, -{1})", lambda x, y: torch.where(x < y, x, -y)),
        ("clip({0} * {1}, -3, 7)", lambda x, y: torch.clamp(x * y, -3, 7)),
        ("abs({0} - {1})", lambda x, y: (x - y).abs()),
        ("minimum(sign({0} - {1}), {0})", lambda x, y: torch.minimum(torch.sign(x - y), x)),
    ]
    text, compute = g.random.choice(forms)
    shape = broadcast(x.shape, y.shape)
    assert shape is not None
    return g.statement(text.format(x.name, y.name), "i", shape, [x, y], lambda e, s: compute(e[x.name], e[y.name]))


@template(2)
def compared(g: Generator) -> Statement:
    kind = g.random.choice("ffi")
    x = g.pick(kind)
    y = g.beside(x)
    sign, compute = g.random.choice(
        [("<", torch.lt), ("<=", torch.le), (">", torch.gt), (">=", torch.ge), ("==", torch.eq), ("!=", torch.ne)]
    )
    shape = broadcast(x.shape, y.shape)
    assert shape is not None
    return g.statement(f"{x.name} {sign} {y.name}", "b", shape, [x, y], lambda e, s: compute(e[x.name], e[y.name]))


@template(1)
def logic(g: Generator) -> Statement:
    x = g.pick("b")
    y = g.beside(x)
    text, compute = g.random.choice(
        [
            ("{0} and {1}", torch.logical_and),
            ("{0} or not {1}", lambda x, y: x | ~y),
            ("logical_xor({0}, {1})", torch.logical_xor),
            ("not ({0} and {1})", lambda x, y: ~(x & y)),
            ("{0} == {1}", torch.eq),
            ("where({0}, {1}, not {1})", lambda x, y: torch.where(x, y, ~y)),
        ]
    )
    shape = broadcast(x.shape, y.shape)
    assert shape is not None
    return g.statement(text.format(x.name, y.name), "b", shape, [x, y], lambda e, s: compute(e[x.name], e[y.name]))


@template(2)
def chosen(g: Generator) -> Statement:
    x = g.pick()
    condition, y = g.beside(x, "b"), g.beside(x)
    either = broadcast(x.shape, y.shape)
    shape = broadcast(condition.shape, either) if either is not None else None
    if shape is None:
        raise Rejected
    c, a, b = condition.name, x.name, y.name
    return g.statement(
        f"where({c}, {a}, {b})", "f", shape, [condition, x, y], lambda e, s: torch.where(e[c], e[a], e[b])
    )


@template(1)
def casts(g: Generator) -> Statement:
    kind = g.random.choice("ibf")
    x = g.pick(kind)
    n = x.name
    if kind == "b":
        to, text = g.random.choice([("f", f"cast({n}, f32)"), ("i", f"cast({n}, i64)")])
        return g.statement(text, to, x.shape, [x], lambda e, s: e[n].to(torch.float64 if to == "f" else torch.int64))
    if kind == "i":
        return g.statement(f"cast({n}, f32) * 0.5", "f", x.shape, [x], lambda e, s: e[n].double() * 0.5)
    text, to, compute = g.random.choice(
        [
            (f"cast(floor({n}), i64)", "i", lambda x: torch.floor(x).long()),
            (f"cast({n}, i64)", "i", lambda x: x.long()),
            (f"cast({n} * 2, i32)", "i", lambda x: (x * 2).long()),
            (f"cast({n}, bool)", "b", lambda x: x != 0),
        ]
    )
    text = f"cast({text}, i64)" if "i32" in text else text
    return g.statement(text, to, x.shape, [x], lambda e, s: compute(e[n]))
