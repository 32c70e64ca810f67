"""Arrays of equal lengths as examples: from an .npz file, or from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.conversion import kind_of
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.numpy_files import read_npz

if TYPE_CHECKING:
    from compiler.types import Array


def npz(stage: DataStage, context: Context) -> Examples:
    """Arrays by name, as `numpy.savez` writes them; axis 0 of each counts the examples."""
    path = context.file(stage.arguments["path"], stage.span)
    return from_arrays(read_npz(path, str(path)), str(path), context)


def from_arrays(arrays: Mapping[str, Array], location: str, context: Context | None = None) -> Examples:
    """Arrays of equal lengths as examples; an example that is not finite is an error, or skipped by `context`."""
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not arrays or len(set(lengths.values())) > 1 or not all(lengths.values()):
        listed = ", ".join(f"`{name}` {list(arrays[name].shape)}" for name in arrays) or "nothing"
        raise NablacError(
            Diagnostic(codes.E823, f"arrays must have the same length, one example per index: {listed}", place=location)
        )
    kept = np.ones(max(lengths.values()), bool)
    for name, array in arrays.items():
        if kind_of(array.dtype) != "float":
            continue
        for row in np.flatnonzero(kept & ~np.isfinite(array).reshape(len(array), -1).all(axis=1)):
            message = f"`{name}` is not finite at example {row}: {array[row].ravel()[:4]}"
            if context is None:
                raise NablacError(Diagnostic(codes.E821, message, place=location))
            context.report_broken(location, message)
            kept[row] = False
    if not kept.any():
        raise NablacError(Diagnostic(codes.E823, "every example is broken", place=location))
    return Examples({name: array if kept.all() else array[kept] for name, array in arrays.items()})
