"""Converts arguments from Python: dtypes by nablac's or NumPy's names, numbers and lists, arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.foreign_arrays import from_torch

if TYPE_CHECKING:
    import numpy as np
else:
    np = LazyModule("numpy")


def float_type(dtype: Any) -> DType:
    """The float type with this name, or of this NumPy dtype; NablacError for anything else."""
    try:
        name = dtype if isinstance(dtype, str) else str(np.dtype(dtype))
    except TypeError:
        name = type(dtype).__name__
    floats = [member for member in DType if member.is_float]
    by_numpy_name = {member.numpy.name: member for member in floats} if name not in set(DType) else {}
    own_name = by_numpy_name.get(name, name)
    if own_name not in set(floats):
        message = f"`{name}` is not a float type" if own_name in set(DType) else f"unknown dtype `{name}`"
        hint = f"the float types are {', '.join(f'`{member}`' for member in floats)}"
        raise NablacError(Diagnostic(codes.E211, message, place="dtype", hint=hint))
    return DType(own_name)


def plain(value: Any) -> Any:
    """The value with NumPy's numbers and arrays converted to Python's, and tuples to lists."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def arrays_of(data: Any) -> dict[str, Any]:
    """The arrays by name, of a mapping or a data frame; NablacError for anything else, or a value that is no array."""
    if not isinstance(data, Mapping) and hasattr(data, "columns") and hasattr(data, "__getitem__"):
        data = {name: data[name] for name in data.columns}
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        message = f"expected a dict of arrays by input and target name, got {data!r:.80}"
        hint = "`nablac train --data FILE` reads files" if isinstance(data, str) else None
        raise NablacError(Diagnostic(codes.E823, message, place="data", hint=hint))
    arrays = {}
    for name, value in data.items():
        try:
            arrays[name] = np.asarray(from_torch(value))
        except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths, a tensor without dense form
            raise NablacError(Diagnostic(codes.E823, f"`{name}` is not an array: {error}", place="data")) from None
    return arrays
