"""Python's arguments as values of the language: dtypes by nablac's or NumPy's names, numbers, lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


def float_type(dtype: Any) -> DType:
    """The float type of this name, or of NumPy's dtype; NablacError for anything else."""
    try:
        name = dtype if isinstance(dtype, str) else str(np.dtype(dtype))
    except TypeError:
        name = type(dtype).__name__
    by_numpy_name = {float_.numpy.name: float_ for float_ in DType if float_.is_float} if name not in set(DType) else {}
    chosen = by_numpy_name.get(name, name)
    if chosen not in set(DType) or not DType(chosen).is_float:
        floats = ", ".join(f"`{each}`" for each in DType if each.is_float)
        message = f"`{name}` is not a float type" if chosen in set(DType) else f"unknown dtype `{name}`"
        raise NablacError(Diagnostic(codes.E211, message, place="dtype", hint=f"the float types are {floats}"))
    return DType(chosen)


def plain(value: Any) -> Any:
    """A value of the language: NumPy's numbers and arrays become Python's, tuples become lists."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def arrays_of(data: Any) -> dict[str, Any]:
    """Arrays by name; NablacError for what is no mapping from names, or holds what is no array."""
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        message = f"a dict of arrays by the names of inputs and targets is needed, and {data!r:.80} is given"
        hint = "`nablac train --data FILE` reads files" if isinstance(data, str) else None
        raise NablacError(Diagnostic(codes.E823, message, place="data", hint=hint))
    arrays = {}
    for name, value in data.items():
        try:
            arrays[name] = np.asarray(value)
        except ValueError as error:  # rows of different lengths
            raise NablacError(Diagnostic(codes.E823, f"`{name}` is no array: {error}", place="data")) from None
    return arrays
