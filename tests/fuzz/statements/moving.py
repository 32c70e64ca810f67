"""Statements that move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement, Value
from tests.fuzz.sizes import ONES, Size, listed, shape_of
from tests.fuzz.statements.table import template


@template(3)
def reshaped(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3, 4])
    shape = list(x.shape)
    way = g.random.choice(["join", "ones", "flat", "split"])
    if way == "join" and x.rank > 1:
        at = g.random.randrange(x.rank - 1)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    elif way == "flat":
        total = Size.of(1)
        for size in shape:
            total = total * size
        shape = [total]
    elif way == "split":
        fits = [at for at, size in enumerate(shape) if size.number in (2, 4)]
        if not fits:
            raise Rejected
        at = g.random.choice(fits)
        half = shape[at].number // 2  # type: ignore[operator]
        shape[at : at + 1] = g.random.choice([shape_of(2, half), shape_of(half, 2)])
    else:
        shape.insert(g.random.randint(0, len(shape)), Size.of(1))
    shown = [str(size) for size in shape]
    if g.chance(0.3):
        shown[g.random.randrange(len(shown))] = "-1"
    text = f"reshape({x.name}, {listed(shown)})"
    return g.statement(text, "f", tuple(shape), [x], lambda e, s: e[x.name].reshape([size.at(s) for size in shape]))


@template(3)
def transposed(g: Generator) -> Statement:
    x = g.pick(rank=[2, 3, 4])
    if g.chance(0.3):
        shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
        return g.statement(f"{x.name}^T", "f", shape, [x], lambda e, s: e[x.name].transpose(-1, -2))
    order = list(range(x.rank))
    g.random.shuffle(order)
    shape = tuple(x.shape[axis] for axis in order)
    return g.statement(f"transpose({x.name}, {listed(order)})", "f", shape, [x], lambda e, s: e[x.name].permute(order))


@template(2)
def ones_axes(g: Generator) -> Statement:
    x = g.pick()
    if g.chance(0.5) and any(size == 1 for size in x.shape):
        axis = g.random.choice([at for at, size in enumerate(x.shape) if size == 1])
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        return g.statement(f"squeeze({x.name}, {axis})", "f", shape, [x], lambda e, s: e[x.name].squeeze(axis))
    if x.rank > 4:
        raise Rejected
    axis = g.random.randint(0, x.rank)
    shape = (*x.shape[:axis], Size.of(1), *x.shape[axis:])
    shown = axis - x.rank - 1 if g.chance(0.3) else axis
    return g.statement(f"unsqueeze({x.name}, {shown})", "f", shape, [x], lambda e, s: e[x.name].unsqueeze(axis))


@template(2)
def enlarged(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    n = x.name
    if g.chance(0.5):
        sizes = [g.size() if size == 1 else size for size in x.shape]
        sizes = [*([g.size()] if g.chance(0.4) else []), *sizes]
        return g.statement(
            f"expand({n}, {listed(sizes)})", "f", tuple(sizes), [x], lambda e, s: e[n].expand([i.at(s) for i in sizes])
        )
    repeats = [g.random.choice([1, 1, 2, 3]) for _ in range(x.rank)]
    shape = tuple(size * times for size, times in zip(x.shape, repeats, strict=True))
    return g.statement(f"tile({n}, {listed(repeats)})", "f", shape, [x], lambda e, s: e[n].repeat(repeats))


@template(2)
def flipped(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3, 4])
    axes = g.axes(x)
    shown = listed([g.signed(axis, x.rank) for axis in axes])
    return g.statement(f"flip({x.name}, axes: {shown})", "f", x.shape, [x], lambda e, s: e[x.name].flip(axes))


@template(3)
def joined(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    axis = g.axis(x)
    items = [x]
    for _ in range(g.random.choice([1, 1, 2])):
        shape = list(x.shape)
        if g.chance(0.5):
            shape[axis] = g.size()
        items.append(g.like(tuple(shape)))
    names = [item.name for item in items]
    if all(item.shape == x.shape for item in items) and g.chance(0.5):
        at = g.random.randint(0, x.rank)
        shape = (*x.shape[:at], Size.of(len(items)), *x.shape[at:])
        return g.statement(
            f"stack({listed(names)}, axis: {at})",
            "f",
            shape,
            items,
            lambda e, s: torch.stack([e[n] for n in names], at),
        )
    total = items[0].shape[axis]
    for item in items[1:]:
        total = total + item.shape[axis]
    shape = (*x.shape[:axis], total, *x.shape[axis + 1 :])
    text = f"concat({listed(names)}, axis: {g.signed(axis, x.rank)})"
    return g.statement(text, "f", shape, items, lambda e, s: torch.cat([e[n] for n in names], axis))


@template(2)
def padded(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    mode = g.random.choice(["constant", "constant", "reflect", "edge"])
    before, after = [0] * x.rank, [0] * x.rank
    # torch's own padding of these modes goes to the last axes only: by index instead
    for axis in range(x.rank):
        least = x.shape[axis].at(ONES)
        most = min(2, least - 1) if mode == "reflect" else 2
        before[axis], after[axis] = g.random.randint(0, max(most, 0)), g.random.randint(0, max(most, 0))
    value = g.random.choice([0.0, 1.5, -2.0])
    shape = tuple(size + a + b for size, a, b in zip(x.shape, before, after, strict=True))

    def compute(v: Any) -> Any:
        if mode == "constant":
            widths = [w for a, b in zip(reversed(before), reversed(after), strict=True) for w in (a, b)]
            return F.pad(v, widths, value=value)
        for axis, (a, b) in enumerate(zip(before, after, strict=True)):
            size = v.shape[axis]
            at = torch.arange(-a, size + b)
            at = at.clamp(0, size - 1) if mode == "edge" else (size - 1 - (size - 1 - at.abs()).abs()).abs()
            v = v.index_select(axis, at)
        return v

    text = f'pad({x.name}, before: {listed(before)}, after: {listed(after)}, value: {value}, mode: "{mode}")'
    return g.statement(text, "f", shape, [x], lambda e, s: compute(e[x.name]))


@template(4)
def indexed(g: Generator) -> Statement:
    """Numbers and slices in brackets."""
    x = g.pick(rank=[1, 2, 3, 4])
    shown: list[str] = []
    shape: list[Size] = []
    cuts: list[Callable[[Any], Any]] = []
    for size in x.shape:
        least = size.at(ONES)
        way = g.random.choice(["all", "all", "number", "from", "to", "step", "window", "size"])
        if way == "number":
            at = g.random.choice([0, -1, *([1] if least > 1 else [])])
            shown.append(str(at))
            cuts.append(lambda s, at=at: at)
            continue
        if way == "from" and least > 1:
            first = g.random.randint(1, least - 1)
            shown.append(f"{first}:")
            shape.append(size - first)
            cuts.append(lambda s, first=first: slice(first, None))
        elif way == "to" and least > 1:
            last = g.random.randint(1, least - 1)
            shown.append(f":-{last}")
            shape.append(size - last)
            cuts.append(lambda s, last=last: slice(None, -last))
        elif way == "step":
            step = g.random.choice([2, 3])
            shown.append(f"::{step}")
            shape.append((size + step - 1) // step)
            cuts.append(lambda s, step=step: slice(None, None, step))
        elif way == "window" and least > 2:
            shown.append("1:3")
            shape.append(Size.of(2))
            cuts.append(lambda s: slice(1, 3))
        elif way == "size" and size.number is None:
            half = (size + 1) // 2
            shown.append(f":{half}")
            shape.append(half)
            cuts.append(lambda s, half=half: slice(None, half.at(s)))
        else:
            shown.append(":")
            shape.append(size)
            cuts.append(lambda s: slice(None))
    if g.chance(0.25):  # dots for what is whole at the beginning
        whole = 0
        while whole < len(shown) and shown[whole] == ":":
            whole += 1
        shown[:whole] = ["..."]
    text = f"{x.name}[{', '.join(shown)}]"
    return g.statement(text, "f", tuple(shape), [x], lambda e, s: e[x.name][tuple(cut(s) for cut in cuts)])


@template(1)
def parted(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    axis = g.axis(x)
    size = x.shape[axis]
    n = x.name
    smooth = x.smooth
    if size.number in (2, 4) and g.chance(0.6):
        part = Size.of(size.number // 2)  # type: ignore[operator]
        parts = [part, part]
        text = f"split({n}, 2, axis: {axis})"
    elif size.number and size.number > 2:
        parts = [Size.of(1), size - 1]
        text = f"split({n}, [1, {size.number - 1}], axis: {axis})"
    elif len(size.terms) > 1:
        (key, factor), *_ = size.terms.items()
        parts = [Size({key: factor}), size - Size({key: factor})]
        if any(part.at(ONES) < 1 for part in parts):
            raise Rejected
        text = f"split({n}, {listed(parts)}, axis: {axis})"
    else:
        raise Rejected
    results = [Value(g.name(), "f", (*x.shape[:axis], p, *x.shape[axis + 1 :]), smooth) for p in parts]
    return Statement(results, text, [n], lambda e, s: tuple(torch.split(e[n], [p.at(s) for p in parts], axis)))


@template(2)
def rearranged(g: Generator) -> Statement:
    x = g.pick(rank=[2, 3, 4])
    letters = list("abcd"[: x.rank])
    order = letters[:]
    g.random.shuffle(order)
    sizes = dict(zip(letters, x.shape, strict=True))
    right, shape = [], []
    position = 0
    while position < len(order):
        if position + 1 < len(order) and g.chance(0.4):
            right.append(f"({order[position]} {order[position + 1]})")
            shape.append(sizes[order[position]] * sizes[order[position + 1]])
            position += 2
        else:
            right.append(order[position])
            shape.append(sizes[order[position]])
            position += 1
    at = [letters.index(letter) for letter in order]
    text = f'rearrange({x.name}, "{" ".join(letters)} -> {" ".join(right)}")'
    return g.statement(
        text, "f", tuple(shape), [x], lambda e, s: e[x.name].permute(at).reshape([size.at(s) for size in shape])
    )
