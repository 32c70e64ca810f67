"""Arrays of equal lengths as examples: from an .npz file, or from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import BEGINNING, open_regular, read_file
from runtime.conversion import kind_of
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.file_rows import most_in_memory
from runtime.data.stored_arrays import stored_arrays
from runtime.data.stored_rows import StoredRows, blocks, pick_rows
from runtime.numpy_files import read_npy, read_npz, unpacked_size

if TYPE_CHECKING:
    from compiler.types import Array


def npz(stage: DataStage, context: Context) -> Examples:
    """Arrays by name, as `numpy.savez` writes them, or that of a `.npy` file; axis 0 of each counts the examples."""
    path = context.file(stage.arguments["path"], stage.span)
    return from_arrays(_arrays_in(path), str(path), context)


def _arrays_in(path: Path) -> Mapping[str, Array | StoredRows]:
    """The arrays of a file: in memory, or where they are in a large one."""
    location = str(path)
    with open_regular(path) as file:
        is_single = file.read(BEGINNING).startswith(MAGIC_PREFIX)
        size = os.fstat(file.fileno()).st_size if is_single else unpacked_size(file, location)
    if size > most_in_memory():
        return stored_arrays(path)
    return {path.stem: read_npy(read_file(path), location)} if is_single else read_npz(path, location)


def from_arrays(arrays: Mapping[str, Array | StoredRows], location: str, context: Context | None = None) -> Examples:
    """Arrays of equal lengths as examples; an example that is not finite is an error, or skipped by `context`."""
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not arrays or len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise no_examples({name: array.shape for name, array in arrays.items()}, location)
    kept = np.ones(max(lengths.values()), bool)
    for name, array in arrays.items():
        if kind_of(array.dtype) != "float":
            continue
        for rows, block in blocks(array):
            is_finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
            for at in np.flatnonzero(kept[rows] & ~is_finite):
                message = f"`{name}` is not finite at example {rows[at]}: {block[at].ravel()[:4]}"
                if context is None:
                    raise NablacError(Diagnostic(codes.E821, message, place=location))
                context.report_broken(location, message)
                kept[rows[at]] = False
    if not kept.any():
        raise NablacError(Diagnostic(codes.E823, "every example is broken", place=location))
    rows = np.flatnonzero(kept)
    return Examples({name: array if kept.all() else pick_rows(array, rows) for name, array in arrays.items()})


def no_examples(shapes: Mapping[str, tuple[int, ...]], location: str) -> NablacError:
    """The error for arrays that hold no examples, or of different numbers of them."""
    if not shapes:
        return NablacError(Diagnostic(codes.E823, "there are no arrays", place=location))
    listed = ", ".join(f"`{name}` {list(shape)}" for name, shape in shapes.items())
    message = "arrays must have the same length, one example per index"
    if all(shape[:1] == (0,) for shape in shapes.values()):
        message = "there are no examples: axis 0 counts them, and it is 0"
    return NablacError(Diagnostic(codes.E823, f"{message}: {listed}", place=location))
