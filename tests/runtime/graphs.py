"""Small graphs that are built by hand, and numbers to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compiler.dims import Dim, Size
from compiler.graph import Graph, Value
from compiler.operators.leaves import Buffer, Input, Parameter
from compiler.types import DType, TensorType
from grammar.diagnostics import NablacError

Array = npt.NDArray[Any]


def tensor(dtype: str, *shape: Size | str) -> TensorType:
    """`tensor("f32", "n", 3)`; texts are named dims."""
    return TensorType(DType(dtype), tuple(Dim.named(size) if isinstance(size, str) else size for size in shape))


def fed(label: str, dtype: str, *shape: Size | str) -> Value:
    """An input of a graph."""
    value: Value = Input(label, tensor(dtype, *shape))()
    return value


def parameter(path: str, *shape: int, initial: Graph | None = None) -> Value:
    value: Value = Parameter(path, tensor("f32", *shape), initial)()
    return value


def buffer(path: str, *shape: int) -> Value:
    value: Value = Buffer(path, tensor("f32", *shape))()
    return value


def graph(inputs: list[Value], updates: Mapping[str, Value] | None = None, **outputs: Value) -> Graph:
    """A graph of inputs that know their labels."""
    return Graph({value.node.op.label: value for value in inputs}, outputs, dict(updates or {}), "test")  # type: ignore[attr-defined]


def text_of(error: pytest.ExceptionInfo[NablacError]) -> str:
    """What the person sees."""
    return str(error.value)


def normal(*shape: int, dtype: Any = np.float32) -> Array:
    """The same normal numbers every time."""
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)
