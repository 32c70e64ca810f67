"""What Python gives, as the language has it: dtypes by their names here or NumPy's, numbers and lists."""

from __future__ import annotations

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
        message = f"`{name}` is not a float type" if found in set(DType) else f"unknown dtype `{name}`"
        raise NablacError(Diagnostic(codes.E211, message, place="dtype", hint=f"the float types are {floats}"))
    return DType(found)


def plain(value: Any) -> Any:
    """A value as the language has it: NumPy's numbers and arrays as Python's, tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
