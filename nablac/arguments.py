"""Python's arguments as values of the language: dtypes by nablac's or NumPy's names, numbers, lists."""

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
