"""Scans of random cells, and the library's recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement, Value
from tests.fuzz.sizes import Shape, Size, listed, shape_of
from tests.fuzz.statements.table import template

Term = tuple[str, Callable[[dict[str, Any]], Any]]


def term(g: Generator, known: list[str], width: int, parameters: dict[str, Shape], depth: int) -> Term:
    """An expression of `[batch, width]` tensors and the cell's parameters."""
    if not depth or g.chance(0.2):
        name = g.random.choice(known)
        return name, lambda v: v[name]
    a, fa = term(g, known, width, parameters, depth - 1)
    b, fb = term(g, known, width, parameters, depth - 1)
    way = g.random.choice(["add", "mul", "tanh", "sigmoid", "W", "W", "gate", "affine", "softmax", "relu"])
    if way == "add":
        return f"({a} + {b})", lambda v: fa(v) + fb(v)
    if way == "mul":
        return f"({a} * {b})", lambda v: fa(v) * fb(v)
    if way == "relu":
        return f"softplus({a} - {b})", lambda v: F.softplus(fa(v) - fb(v))
    if way in ("tanh", "sigmoid"):
        function = getattr(torch, way)
        return f"{way}({a} - {b})", lambda v: function(fa(v) - fb(v))
    if way == "softmax":
        return f"softmax({a}, axis: -1)", lambda v: torch.softmax(fa(v), -1)
    if way == "gate":
        return (
            f"(sigmoid({a}) * {b} + (1 - sigmoid({a})) * {a})",
            lambda v: torch.sigmoid(fa(v)) * fb(v) + (1 - torch.sigmoid(fa(v))) * fa(v),
        )
    W = f"W{len(parameters)}"
    parameters[W] = shape_of(width, width)
    if way == "affine":
        bias = f"b{len(parameters)}"
        parameters[bias] = shape_of(width)
        inner = f"{W} {a}" if a in known else f"{a} @ {W}^T"
        return f"tanh({inner} + {bias})", lambda v: torch.tanh(fa(v) @ v[W].T + v[bias])
    if g.chance(0.5) or a not in known:
        return f"({a} @ {W})", lambda v: fa(v) @ v[W]
    return f"({W} {a})", lambda v: fa(v) @ v[W].T


def cell(g: Generator, name: str, width: int, inner: Any = None) -> Any:
    """A cell's text, the shapes of its parameters by path, its states with initial values, and its step in torch."""
    states = [f"s{index}" for index in range(g.random.choice([1, 1, 2, 3]))]
    first = {state: g.random.choice(["0", "0.5", "-0.3"]) for state in states}
    parameters: dict[str, Shape] = {}
    known = [*states, "x"]
    lines = [f"input x: [B, {width}]"]
    lines += [f"state {state}: [B, {width}] = {first[state]}" for state in states]
    body: list[str] = []
    steps: list[tuple[str, Callable[[dict[str, Any]], Any]]] = []
    if inner is not None:
        body.append(f"inside = x -> {inner['name']}()")
        known.append("inside")
    for state in states:
        text, compute = term(g, known, width, parameters, 2)
        body.append(f"{state}' = tanh({text})")
        steps.append((f"{state}'", lambda v, compute=compute: torch.tanh(compute(v))))
        known.append(f"{state}'")
    text, compute = term(g, known, width, parameters, 2)
    body.append(f"output {text}")
    lines += [f"param {path}: {listed(shape)} ~ normal(std: 0.5)" for path, shape in parameters.items()]
    declared = f"cell {name}() {{\n" + "".join(f"    {line}\n" for line in [*lines, *body]) + "}\n"
    own = dict(parameters)
    paths = dict(parameters)
    if inner is not None:
        paths |= {f"{snake(inner['name'])}.{path}": shape for path, shape in inner["paths"].items()}

    def step(x: Any, held: dict[str, Any], weights: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        v = {**held, **{path: weights[path] for path in own}, "x": x}
        following: dict[str, Any] = {}
        if inner is not None:
            prefix = snake(inner["name"]) + "."
            inside = {path: weights[prefix + path] for path in inner["paths"]}
            held_inside = {key[len("inner ") :]: value for key, value in held.items() if key.startswith("inner ")}
            v["inside"], after = inner["step"](x, held_inside, inside)
            following |= {f"inner {key}": value for key, value in after.items()}
        for target, function in steps:
            v[target] = function(v)
            following[target[:-1]] = v[target]
        return compute(v), following

    all_first = dict(first) | ({f"inner {key}": value for key, value in inner["first"].items()} if inner else {})
    return {
        "name": name, "text": declared + (inner["text"] if inner else ""), "paths": paths, "states": states,
        "first": all_first, "step": step,
    }  # fmt: skip


def snake(name: str) -> str:
    snake_case = ""
    for index, letter in enumerate(name):
        snake_case += ("_" if letter.isupper() and index and not name[index - 1].isupper() else "") + letter.lower()
    return snake_case


@template(3)
def recurrence(g: Generator) -> Statement:
    """A scan of a random cell: forward or in reverse, along either axis, with or without its final states."""
    axis = g.random.choice([1, 1, 0])
    x = g.pick(rank=3, where=lambda v: v.shape[-1].number in (1, 2, 3))
    width = x.shape[-1].number
    assert width is not None
    inner = cell(g, f"In{g.name('C')}", width) if g.chance(0.3) else None
    outer = cell(g, f"Out{g.name('C')}", width, inner)
    reverse, states = g.chance(0.4), g.chance(0.4)
    name = g.name("R")
    options = f"axis: {axis}, reverse: {str(reverse).lower()}, states: {str(states).lower()}"
    uses = [x]
    begin: Value | None = None
    if g.chance(0.3):
        begin = g.like((x.shape[1 - axis], x.shape[2]))
        uses.append(begin)
        options += f", {outer['states'][0]}: {begin.name}"
    n = x.name

    def compute(e: Any, s: Any) -> Any:
        v = e[n].movedim(axis, 0)
        batch = v.shape[1]
        held = {key: torch.full((batch, width), float(value), dtype=v.dtype) for key, value in outer["first"].items()}
        if begin is not None:
            held[outer["states"][0]] = e[begin.name]
        weights = {path: e[f"{name}.{path}"] for path in outer["paths"]}
        outputs: list[Any] = [None] * v.shape[0]
        for time in reversed(range(v.shape[0])) if reverse else range(v.shape[0]):
            outputs[time], held = outer["step"](v[time], held, weights)
        stacked = torch.stack(outputs, axis)
        if not states:
            return stacked
        return (stacked, *(held[state] for state in outer["states"]))

    results = [Value(g.name(), "f", x.shape, x.smooth)]
    if states:
        results += [Value(g.name(), "f", (x.shape[1 - axis], x.shape[2]), x.smooth) for _ in outer["states"]]
        if inner is not None:
            raise Rejected  # the order of inner states is not promised
    return Statement(
        results,
        f"scan({name})({n}, {options})",
        [operand.name for operand in uses],
        compute,
        before=[f"{name} = {outer['name']}()"],
        declarations=[outer["text"]],
        parameters={f"{name}.{path}": shape for path, shape in outer["paths"].items()},
    )


@template(2)
def library_recurrence(g: Generator) -> Statement:
    """LSTM, GRU or SimpleRNN of the library against torch's own step equations."""
    x = g.pick(rank=3, where=lambda v: v.shape[-1].number in (1, 2, 3, 4))
    features = x.shape[-1].number
    assert features is not None
    units = g.random.choice([1, 2, 3])
    kind = g.random.choice(["LSTM", "GRU", "SimpleRNN", "GRU2"])
    sequences, reverse = g.chance(0.6), g.chance(0.4)
    name = g.name("L")
    gates = {"LSTM": "ifgo", "GRU": "rzn", "GRU2": "rzn", "SimpleRNN": ""}[kind]
    cell_path = {"LSTM": "lstm_cell", "GRU": "gru_cell", "GRU2": "gru_cell", "SimpleRNN": "rnn_cell"}[kind]
    prefix = f"{name}.{cell_path}."
    path: dict[str, Shape] = {}
    for gate in gates:
        path |= {f"{prefix}W_x{gate}": shape_of(units, features), f"{prefix}W_h{gate}": shape_of(units, units)}
        path |= {f"{prefix}b_{gate}": shape_of(units)}
    if kind == "GRU":
        path[f"{prefix}b_hn"] = shape_of(units)
    if kind == "SimpleRNN":
        path = {f"{prefix}W_xh": shape_of(units, features), f"{prefix}W_hh": shape_of(units, units)}
        path[f"{prefix}b_h"] = shape_of(units)
    n = x.name

    def compute(e: Any, s: Any) -> Any:
        v = e[n]
        h = torch.zeros(v.shape[0], units, dtype=v.dtype)
        c = torch.zeros_like(h)
        w = {key.removeprefix(prefix): e[key] for key in path}

        def pre(gate: str, x: Any, h: Any) -> Any:
            return x @ w[f"W_x{gate}"].T + h @ w[f"W_h{gate}"].T + w[f"b_{gate}"]

        outputs: list[Any] = [None] * v.shape[1]
        for t in reversed(range(v.shape[1])) if reverse else range(v.shape[1]):
            xt = v[:, t]
            if kind == "LSTM":
                i, f, o = (torch.sigmoid(pre(gate, xt, h)) for gate in "ifo")
                c = f * c + i * torch.tanh(pre("g", xt, h))
                h = o * torch.tanh(c)
            elif kind == "SimpleRNN":
                h = torch.tanh(xt @ w["W_xh"].T + h @ w["W_hh"].T + w["b_h"])
            else:
                r, z = torch.sigmoid(pre("r", xt, h)), torch.sigmoid(pre("z", xt, h))
                if kind == "GRU":
                    u = torch.tanh(xt @ w["W_xn"].T + w["b_n"] + r * (h @ w["W_hn"].T + w["b_hn"]))
                else:
                    u = torch.tanh(xt @ w["W_xn"].T + w["b_n"] + (r * h) @ w["W_hn"].T)
                h = (1 - z) * u + z * h
            outputs[t] = h
        return torch.stack(outputs, 1) if sequences else h

    options = f"{units}, sequences: {str(sequences).lower()}, reverse: {str(reverse).lower()}"
    options += ", reset_after: false" if kind == "GRU2" else ""
    shape = (*x.shape[:2], Size.of(units)) if sequences else (x.shape[0], Size.of(units))
    return g.statement(
        f"{n} -> {name}",
        "f",
        shape,
        [x],
        compute,
        before=[f"{name} = {kind.removesuffix('2')}({options})"],
        parameters=path,
    )
