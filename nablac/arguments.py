"""What Python gives, as the language has it: dtypes by their names here or NumPy's, numbers and lists."""

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


def float_type(given: Any) -> DType:
    """The float type of that name, or of NumPy's dtype; NablacError for what is none."""
    try:
        name = given if isinstance(given, str) else str(np.dtype(given))
    except TypeError:
        name = type(given).__name__
    known = {each.numpy.name: each for each in DType if each.is_float} if name not in set(DType) else {}
    found = known.get(name, name)
    if found not in set(DType) or not DType(found).is_float:
        floats = ", ".join(f"`{each}`" for each in DType if each.is_float)
        message = f"`{name}` is no float type" if found in set(DType) else f"there is no dtype `{name}`"
        raise NablacError(Diagnostic(codes.E211, message, place="dtype", hint=f"the float types are {floats}"))
    return DType(found)


def plain(value: Any) -> Any:
    """A value as the language has it: NumPy's numbers and arrays as Python's, tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
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
