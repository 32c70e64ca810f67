"""What a caller feeds, checked against what the graph asks for; one check for both backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import Dim, Size, evaluate, substitute, symbols
from compiler.graph import Graph
from compiler.operators.source import Buffer, Parameter
from compiler.types import TensorType
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

if TYPE_CHECKING:
    from compiler.types import Array


def checked(graph: Graph, feeds: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, int]]:
    """The arrays to feed, by name, and the size of every named dim; NablacError lists all that is wrong."""
    wanted = {name: value.type for name, value in graph.inputs.items()}
    for node in graph:
        if isinstance(node.op, (Parameter, Buffer)):
            wanted[node.op.path] = node.op.type
    wrong: list[Diagnostic] = []
    arrays: dict[str, Array] = {}
    for name in feeds:
        if name not in wanted:
            inputs = ", ".join(f"`{each}`" for each in graph.inputs)
            hint = did_you_mean(name, wanted) or f"the inputs are {inputs}"
            wrong.append(Diagnostic("E802", f"the model has no input `{name}`", place=graph.name, hint=hint))
    for name, type in wanted.items():
        if name not in feeds:
            wrong.append(Diagnostic("E801", f"input `{name}` is missing", place=graph.name, note=f"it is {type}"))
            continue
        try:
            arrays[name] = _array(name, feeds[name], type)
        except NablacError as error:
            wrong.extend(error.diagnostics)
    sizes = _sizes(graph.name, wanted, arrays, wrong)
    if wrong:
        raise NablacError(*wrong)
    return arrays, sizes


def _array(name: str, given: Any, type: TensorType) -> Array:
    dtype = type.dtype.numpy
    try:
        array = np.asarray(given)
    except ValueError:
        raise _mismatch("E803", name, "rows of different lengths", type) from None
    if array.dtype == dtype:
        pass
    elif not isinstance(given, np.ndarray) and array.dtype.kind in "iufb" and _same_kind(array, dtype):
        array = array.astype(dtype)
    elif np.can_cast(array.dtype, dtype, "safe") and array.dtype.kind == np.dtype(dtype).kind:
        array = array.astype(dtype)
    else:
        raise _mismatch("E804", name, f"{array.dtype}", type, f"convert it: `array.astype('{dtype}')`")
    if array.ndim != type.rank:
        raise _mismatch("E803", name, f"{array.ndim} axes, {list(array.shape)}", type)
    return array


def _same_kind(array: Array, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f" or dtype.name == "bfloat16":
        return array.dtype.kind in "iuf"
    return array.dtype.kind == dtype.kind or (dtype.kind in "iu" and array.dtype.kind in "iu")


def _sizes(place: str, wanted: Mapping[str, TensorType], arrays: Mapping[str, Array], wrong: list[Diagnostic]) -> dict[str, int]:
    """Every named dim from the axes that are just it; then every axis checked."""
    sizes: dict[str, int] = {}
    origins: dict[str, str] = {}
    for name, array in arrays.items():
        for axis, (size, actual) in enumerate(zip(wanted[name].shape, array.shape, strict=True)):
            found = _solve(size, actual)
            if found is None:
                continue
            symbol, number = found
            if sizes.setdefault(symbol, number) != number:
                wrong.append(
                    Diagnostic(
                        "E805",
                        f"`{symbol}` is {sizes[symbol]} in {origins[symbol]} and {number} in `{name}`",
                        place=place,
                        note=f"`{name}` is {wanted[name]} and has the shape {list(array.shape)}",
                    )
                )
            origins.setdefault(symbol, f"`{name}`, axis {axis}")
    for name, array in arrays.items():
        for axis, (size, actual) in enumerate(zip(wanted[name].shape, array.shape, strict=True)):
            try:
                expected = evaluate(size, sizes)
            except KeyError:
                continue
            if expected != actual and not (isinstance(size, Dim) and _solve(size, actual)):
                wrong.append(_mismatch("E803", name, f"{actual} along axis {axis}, {list(array.shape)}", wanted[name]).diagnostics[0])
    return sizes


def _solve(size: Size, actual: int) -> tuple[str, int] | None:
    """The one named dim of `a*n + b` from the size it gives."""
    names = symbols(size)
    if len(names) != 1:
        return None
    (name,) = names
    offset, slope = substitute(size, {name: 0}), 0
    if isinstance(offset, int):
        first = substitute(size, {name: 1})
        slope = first - offset if isinstance(first, int) else 0
    if not isinstance(offset, int) or slope <= 0 or size != slope * Dim.named(name) + offset or (actual - offset) % slope:
        return None
    return name, (actual - offset) // slope


def _mismatch(code: str, name: str, found: str, type: TensorType, hint: str | None = None) -> NablacError:
    return NablacError(Diagnostic(code, f"input `{name}` is {type}, and it was given {found}", place=f"input `{name}`", hint=hint))


