"""`Operator.along`: a part of the result, from parts of the operands, is that part of the whole result."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.dims import Size
from compiler.graph import Graph, Value
from compiler.operators.slicing import Slice
from compiler.operators.source import Input
from compiler.types import DType, TensorType
from runtime.numpy_executor import run

pytest.importorskip("torch", reason="the tables of cases need the oracle extra")


class Sliced:
    """Positions 1 and 2 of an axis, cut out of whole operands."""

    start: Size = 1
    size: Size = 2

    def of(self, value: Value, axis: int) -> Value:
        part: Value = Slice((axis,), (1,), (3,))(value)
        return part

    def whole(self, value: Value) -> Value:
        return value

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
        whole = case.op(*operands)
        if isinstance(whole, tuple):
            continue
        for axis, size in enumerate(whole.shape):
            if not isinstance(size, int) or size < 3:
                continue
            part = case.op.along(Sliced(), axis, *operands)
            if part is None:
                continue
            tried.add(case.op.name)
            graph = Graph({value.node.op.label: value for value in operands}, {"whole": whole, "part": part})
            found = run(graph, dict(zip(case.operands, case.arrays, strict=True)))
            expected = np.take(found["whole"], (1, 2), axis)
            np.testing.assert_allclose(found["part"], expected, rtol=1e-12, atol=1e-12, err_msg=f"{case} axis {axis}")
    movers = {"transpose", "reshape", "expand", "squeeze", "unsqueeze", "concat", "slice", "take"}
    assert tried >= movers | {"matmul", "softmax", "sum", "where", "cast", "iota", "add", "exp", "max"}
