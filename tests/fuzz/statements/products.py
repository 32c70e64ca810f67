"""Products of tensors."""

from __future__ import annotations

import torch

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement
from tests.fuzz.sizes import DIMS, Shape, broadcast
from tests.fuzz.statements.table import template


@template(3)
def product(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3])
    inner = x.shape[-1]
    rank = g.random.choice([1, 2, 2, 3])
    if inner.number is None and str(inner) not in DIMS:
        raise Rejected
    if rank == 1:
        y = g.like((inner,))
        leading: Shape | None = ()
        tail: Shape = ()
    else:
        last = g.size()
        lead = tuple(x.shape[:-2]) if g.chance(0.5) else ()
        if rank == 3 and len(x.shape) < 3:
            lead = (g.size(),)
        if any(size.number is None and str(size) not in DIMS for size in lead):
            raise Rejected
        y = g.like((*lead, inner, last))
        leading, tail = lead, (last,)
    before = broadcast(tuple(x.shape[:-2]), leading or ())
    if before is None:
        raise Rejected
    shape = (*before, *x.shape[-2:-1], *tail)
    text = f"{x.name} @ {y.name}"
    return g.statement(text, "f", shape, [x, y], lambda e, s: e[x.name] @ e[y.name])


@template(3)
def einsum(g: Generator) -> Statement:
    x = g.pick(rank=[1, 2, 3, 4])
    letters = list("abcd"[: x.rank])
    sizes = dict(zip(letters, x.shape, strict=True))
    more = []
    for letter in letters:
        fits = sizes[letter].number is not None or str(sizes[letter]) in DIMS
        if fits and g.chance(0.6):
            more.append(letter)
    for letter in "ef"[: g.random.randint(0, 2)]:
        sizes[letter] = g.size()
        more.append(letter)
    g.random.shuffle(more)
    operands, patterns = [x], [letters]
    if more and g.chance(0.9):
        operands.append(g.like(tuple(sizes[letter] for letter in more)))
        patterns.append(more)
    known = sorted({letter for pattern in patterns for letter in pattern})
    right = [letter for letter in known if g.chance(0.6)]
    g.random.shuffle(right)
    shape = tuple(sizes[letter] for letter in right)
    names = [operand.name for operand in operands]
    left = ", ".join(" ".join(pattern) for pattern in patterns)
    text = f'einsum("{left} -> {" ".join(right)}", {", ".join(names)})'
    short = ",".join("".join(pattern) for pattern in patterns) + "->" + "".join(right)
    return g.statement(text, "f", shape, operands, lambda e, s: torch.einsum(short, *(e[n] for n in names)))
