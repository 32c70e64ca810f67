"""Gathers, scatters and counts."""

from __future__ import annotations

from typing import Any

import torch

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement, Value
from tests.fuzz.sizes import DIMS, ONES, Shape, Size, listed
from tests.fuzz.statements.table import template


def bounded(g: Generator, shape: Shape, high: Size) -> Value:
    """Indices below `high`, as a new input."""
    if any(size.number is None and str(size) not in DIMS for size in shape):
        raise Rejected
    return g.fresh(shape, "i", high=high)


@template(3)
def taken(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    axis = g.axis(x)
    size = x.shape[axis]
    n = x.name
    if g.chance(0.25):
        least = size.at(ONES)
        items = [g.random.randrange(-least, least) for _ in range(g.random.randint(1, 3))]
        shape = (*x.shape[:axis], Size.of(len(items)), *x.shape[axis + 1 :])
        text = f"take({n}, {listed(items)}, axis: {axis})"
        return g.statement(
            text, "f", shape, [x], lambda e, s: e[n].index_select(axis, torch.tensor([i % size.at(s) for i in items]))
        )
    index = bounded(g, g.shape(g.random.choice([0, 1, 1, 2])), size)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    i = index.name

    def compute(e: Any, s: Any) -> Any:
        flat = e[n].index_select(axis, e[i].reshape(-1))
        return flat.reshape([size.at(s) for size in shape])

    text = f"{n}[{i}]" if axis == 0 and g.chance(0.6) else f"take({n}, {i}, axis: {g.signed(axis, x.rank)})"
    return g.statement(text, "f", shape, [x, index], compute)


@template(2)
def along(g: Generator) -> Statement:
    """Gathers and scatters of elements."""
    x = g.pick(rank=[1, 2, 3])
    axis = g.axis(x)
    shape = list(x.shape)
    if g.chance(0.5):
        shape[axis] = g.size()
    index = bounded(g, tuple(shape), x.shape[axis])
    n, i = x.name, index.name
    if g.chance(0.5):
        text = f"gather_elements({n}, {i}, axis: {g.signed(axis, x.rank)})"
        return g.statement(text, "f", tuple(shape), [x, index], lambda e, s: torch.gather(e[n], axis, e[i]))
    updates = g.like(tuple(shape))
    u = updates.name
    if shape[axis] == 1 and g.chance(0.5):  # no index twice
        text = f"scatter_elements({n}, {i}, {u}, axis: {axis})"
        return g.statement(text, "f", x.shape, [x, index, updates], lambda e, s: torch.scatter(e[n], axis, e[i], e[u]))
    text = f'scatter_elements({n}, {i}, {u}, axis: {axis}, reduction: "add")'
    return g.statement(text, "f", x.shape, [x, index, updates], lambda e, s: torch.scatter_add(e[n], axis, e[i], e[u]))


@template(2)
def nd(g: Generator) -> Statement:
    """Gathers and scatters over several axes."""
    x = g.pick(rank=[1, 2, 3])
    depth = g.random.randint(1, min(2, x.rank))
    lead = g.shape(g.random.choice([0, 1, 1, 2]))
    columns = [bounded(g, lead, x.shape[axis]) for axis in range(depth)]
    names = [column.name for column in columns]
    n = x.name
    at = f"stack({listed(names)}, axis: -1)"
    shape = (*lead, *x.shape[depth:])

    def where(e: Any) -> tuple[Any, ...]:
        return tuple(e[c] for c in names)

    if g.chance(0.5):
        return g.statement(f"gather_nd({n}, {at})", "f", shape, [x, *columns], lambda e, s: e[n][where(e)])
    updates = g.like(shape)
    u = updates.name
    text = f'scatter_nd({n}, {at}, {u}, reduction: "add")'
    return g.statement(
        text,
        "f",
        x.shape,
        [x, *columns, updates],
        lambda e, s: e[n].index_put(where(e), e[u], accumulate=True),
    )


@template(1)
def counted(g: Generator) -> Statement:
    """One-hot rows and ranges of numbers."""
    if g.chance(0.5):
        size = g.size()
        text = f"cast(iota({size}), f32) / 3"
        return g.statement(text, "f", (size,), [], lambda e, s: torch.arange(size.at(s)).double() / 3)
    index = g.pick("i", [0, 1, 2])
    depth = g.size()
    axis = g.random.randint(0, index.rank)
    shape = (*index.shape[:axis], depth, *index.shape[axis:])
    i = index.name

    def compute(e: Any, s: Any) -> Any:
        count = depth.at(s)
        rows = (e[i].unsqueeze(-1) == torch.arange(count)).double()
        return rows.movedim(-1, axis)

    text = f"cast(one_hot({i}, {depth}, axis: {axis}), f32) + 0.5"
    return g.statement(text, "f", shape, [index], lambda e, s: compute(e, s) + 0.5)
