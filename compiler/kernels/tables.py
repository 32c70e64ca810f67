"""Reads the tables of kernels: for each ONNX operator the versions and the types of the kernels that a runtime has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class Kernel(NamedTuple):
    """A kernel: the versions of the operator that it implements, and the types of the main operand.

    `last` is None for a kernel of version `first` alone, which a later version of the operator leaves without one.
    """

    first: int
    last: int | None
    types: frozenset[str]


@cache
def kernels_of(table: str) -> Mapping[str, tuple[Kernel, ...]]:
    """The kernels in a table by ONNX operator."""
    return {
        name: tuple(Kernel(first, last, frozenset(types.split())) for first, last, types in rows)
        for name, rows in _read(table)["kernels"].items()
    }


def source_of(table: str) -> str:
    """Where a table is from: the runtime's version, or the file and the commit."""
    return str(_read(table)["source"])


def has_kernel(table: str, onnx_type: str, dtype: str, opset: int) -> bool:
    """Whether a table has a kernel for an ONNX operator as it is defined at an opset, on a main operand of `dtype`.

    The main operand is the first whose type may vary: the values of Where, not its condition. As in onnxruntime, a
    kernel without a last version is used at the opsets at which its first version is the operator's current one.
    """
    since = _since(onnx_type, opset)
    return any(
        dtype in kernel.types
        and (kernel.first == since if kernel.last is None else kernel.first <= since <= kernel.last)
        for kernel in kernels_of(table).get(onnx_type, ())
    )


@cache
def main_operand(onnx_type: str, opset: int) -> tuple[bool, int]:
    """Which operand of an ONNX operator a table's types are about: whether it is a result, and its index.

    It is the first operand whose type may vary, else the first such result, else the first operand.
    """
    import onnx

    schema = onnx.defs.get_schema(onnx_type, opset, "")
    allowed = {constraint.type_param_str: len(constraint.allowed_type_strs) for constraint in schema.type_constraints}
    for results, formals in ((False, schema.inputs), (True, schema.outputs)):
        for index, formal in enumerate(formals):
            if allowed.get(formal.type_str, 0) > 1:
                return results, index
    return not schema.inputs, 0


@cache
def _since(onnx_type: str, opset: int) -> int:
    """The version of an ONNX operator at an opset: the opset that last changed it."""
    import onnx

    return int(onnx.defs.get_schema(onnx_type, opset, "").since_version)


@cache
def _read(table: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(Path(__file__).with_name(f"{table}.json").read_text("utf-8"))
    return contents
