"""Convolutions and poolings."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tests.fuzz.generator import Generator, Rejected
from tests.fuzz.program import Statement
from tests.fuzz.sizes import REFERENCE, Shape, Size, shape_of
from tests.fuzz.statements.table import template


def window_of(g: Generator, rank: int, kernel: list[int]) -> tuple[list[int], list[int], list[int]]:
    strides = [g.random.choice([1, 1, 2, 3]) for _ in range(rank)]
    pads = [g.random.choice([0, 0, 1, 2]) for _ in range(2 * rank)]
    dilations = [g.random.choice([1, 1, 1, 2]) for _ in range(rank)]
    return strides, pads, dilations


def slid(x: Shape, kernel: list[int], strides: list[int], pads: list[int], dilations: list[int]) -> Shape:
    rank = len(kernel)
    sizes = []
    for axis in range(rank):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        room = x[2 + axis] + (pads[axis] + pads[rank + axis] - reach)
        if room.at(REFERENCE) < 0:
            raise Rejected
        sizes.append(room // strides[axis] + 1)
    return tuple(sizes)


def widths(pads: list[int]) -> list[int]:
    """Pads as `F.pad` takes them, from the last axis on."""
    rank = len(pads) // 2
    return [width for axis in reversed(range(rank)) for width in (pads[axis], pads[rank + axis])]


@template(3)
def convolution(g: Generator) -> Statement:
    rank = g.random.choice([1, 1, 2, 2, 3])
    x = g.pick(rank=rank + 2, where=lambda v: v.shape[1].number is not None and v.shape[1].number <= 4)
    channels = x.shape[1].number
    assert channels is not None
    groups = g.random.choice([divisor for divisor in (1, 1, 2, 3, 4) if channels % divisor == 0])
    filters = groups * g.random.choice([1, 2])
    kernel = [g.random.choice([1, 2, 3]) for _ in range(rank)]
    strides, pads, dilations = window_of(g, rank, kernel)
    spatial = slid(x.shape, kernel, strides, pads, dilations)
    w = g.like(shape_of(filters, channels // groups, *kernel))
    conv = [F.conv1d, F.conv2d, F.conv3d][rank - 1]
    a, b = x.name, w.name

    def compute(e: Any, s: Any) -> Any:
        wide = F.pad(e[a], widths(pads))
        return conv(wide, e[b], stride=strides, dilation=dilations, groups=groups)

    text = f"conv({a}, {b}, strides: {strides}, pads: {pads}, dilations: {dilations}, groups: {groups})"
    return g.statement(text, "f", (x.shape[0], Size.of(filters), *spatial), [x, w], compute)


@template(2)
def transposed_convolution(g: Generator) -> Statement:
    rank = g.random.choice([1, 1, 2, 2, 3])
    x = g.pick(rank=rank + 2, where=lambda v: v.shape[1].number is not None and v.shape[1].number <= 4)
    channels = x.shape[1].number
    assert channels is not None
    groups = g.random.choice([divisor for divisor in (1, 1, 2, 3, 4) if channels % divisor == 0])
    each_group = g.random.choice([1, 2])
    kernel = [g.random.choice([1, 2, 3]) for _ in range(rank)]
    strides, pads, dilations = window_of(g, rank, kernel)
    extra = [g.random.randint(0, max(a, b) - 1) for a, b in zip(strides, dilations, strict=True)]
    spatial = []
    for axis in range(rank):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        size = (x.shape[2 + axis] - 1) * strides[axis] + (reach - pads[axis] - pads[rank + axis] + extra[axis])
        if size.at(REFERENCE) < 1:
            raise Rejected
        spatial.append(size)
    w = g.like(shape_of(channels, each_group, *kernel))
    conv = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][rank - 1]
    a, b = x.name, w.name

    def compute(e: Any, s: Any) -> Any:
        whole = conv(e[a], e[b], stride=strides, dilation=dilations, groups=groups)
        whole = F.pad(whole, widths([0] * rank + extra))
        cut = [slice(pads[axis], whole.shape[2 + axis] - pads[rank + axis]) for axis in range(rank)]
        return whole[(slice(None), slice(None), *cut)]

    text = (
        f"conv_transpose({a}, {b}, strides: {strides}, pads: {pads}, dilations: {dilations}, groups: {groups}, "
        f"output_padding: {extra})"
    )
    return g.statement(text, "f", (x.shape[0], Size.of(each_group * groups), *spatial), [x, w], compute)


@template(3)
def pooling(g: Generator) -> Statement:
    rank = g.random.choice([1, 2, 2, 3])
    x = g.pick(rank=rank + 2)
    kernel = [g.random.choice([1, 2, 3]) for _ in range(rank)]
    strides, pads, dilations = window_of(g, rank, kernel)
    strides = kernel if g.chance(0.4) else strides
    pads = [0] * (2 * rank) if g.chance(0.4) else pads
    pads = [min(pad, kernel[axis % rank] - 1) for axis, pad in enumerate(pads)]
    name = g.random.choice(["max_pool", "average_pool"])
    a = x.name
    if name == "max_pool":
        g.no_ties(g.env[a])
        if g.chance(0.5):
            dilations = [1] * rank
        if any((dilations[i] - 1) and (pads[i] or pads[rank + i]) for i in range(rank)):
            pads = [0] * (2 * rank)
        spatial = slid(x.shape, kernel, strides, pads, dilations)
        pool = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
        text = f"max_pool({a}, kernel: {kernel}, strides: {strides}, pads: {pads}, dilations: {dilations})"

        def largest(e: Any, s: Any) -> Any:
            wide = F.pad(e[a], widths(pads), value=-math.inf)
            return pool(wide, kernel, strides, dilation=dilations)

        return g.statement(text, "f", (*x.shape[:2], *spatial), [x], largest, smooth=False)
    include = g.chance(0.5)
    spatial = slid(x.shape, kernel, strides, pads, [1] * rank)
    pool = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
    text = (
        f"average_pool({a}, kernel: {kernel}, strides: {strides}, pads: {pads}, "
        f"count_include_pad: {str(include).lower()})"
    )

    def mean(e: Any, s: Any) -> Any:
        total = pool(F.pad(e[a], widths(pads)), kernel, strides)
        if include:
            return total
        return total / pool(F.pad(torch.ones_like(e[a]), widths(pads)), kernel, strides)

    return g.statement(text, "f", (*x.shape[:2], *spatial), [x], mean)
