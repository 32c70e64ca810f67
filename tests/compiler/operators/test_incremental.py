"""`Operator.incremental`: a part of the result, from parts of the operands, is that part of the whole result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.dims import Size
from compiler.graph import Graph, Value
from compiler.operators.leaves import Input
from compiler.operators.slicing import Pad, Slice
from compiler.types import DType, TensorType
from compiler.window import Window
from runtime.numpy_executor import run

pytest.importorskip("torch", reason="the tables of cases need the oracle extra")


@dataclass(frozen=True)
class Sliced:
    """Positions of an axis, cut out of whole operands; what is carried to them is made of those before."""

    start: int = 1
    count: int = 2
    more: int = 0

    @property
    def size(self) -> int:
        return self.count + self.more

    def of(self, value: Value, axis: int) -> Value:
        """What lies behind the end of an axis is NaN: a rule may ask for it, and uses it for what comes later alone."""
        behind = tuple(self.start + self.size if place == axis else 0 for place in range(value.type.rank))
        longer = Pad((0,) * value.type.rank, behind, math.nan if value.type.dtype.is_float else 0)(value)
        part: Value = Slice((axis,), (self.start,), (self.start + self.size,))(longer)
        return part

    def whole(self, value: Value) -> Value:
        return value

    def extended(self, more: int) -> Sliced:
        return replace(self, more=max(0, self.more + more))

    def within(self, size: Size) -> bool:
        return isinstance(size, int) and self.start + self.size <= size

    def carry(
        self, first: Value, result: Callable[[Value, Window], Value], following: Callable[[Value, Window], Value]
    ) -> Value | None:
        return result(following(first, Sliced(0, self.start)), self)

    def bound(self, size: Size) -> Size:
        return size


def every_case() -> list[Any]:
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    tables = (getattr(import_module(f"{__package__}.{file.stem}"), "CASES", ()) for file in files)
    return [case for table in tables for case in table]


def test_parts_of_results() -> None:
    tried: set[str] = set()
    for case in every_case():
        types = [TensorType(DType.of(array), array.shape) for array in case.arrays]
        operands = [Input(name, type)() for name, type in zip(case.operands, types, strict=True)]
        node = case.op.apply(*operands)
        if len(node.results) > 1:
            continue
        whole = node.result
        for axis, size in enumerate(whole.shape):
            if not isinstance(size, int) or size < 3:
                continue
            part = case.op.incremental(Sliced(), axis, *operands)
            if part is None:
                continue
            tried.add(case.op.name)
            graph = Graph({value.node.op.label: value for value in operands}, {"whole": whole, "part": part})
            found = run(graph, dict(zip(case.operands, case.arrays, strict=True)))
            expected = np.take(found["whole"], (1, 2), axis)
            np.testing.assert_allclose(found["part"], expected, rtol=1e-12, atol=1e-12, err_msg=f"{case} axis {axis}")
    movers = {"transpose", "reshape", "expand", "squeeze", "unsqueeze", "concat", "slice", "pad", "take"}
    assert tried >= movers | {
        "matmul",
        "softmax",
        "sum",
        "where",
        "cast",
        "iota",
        "add",
        "exp",
        "max",
        "conv",
        "cumsum",
    }
