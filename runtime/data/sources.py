"""Where data comes from: one function for each source of `compiler.elaborate.data.SOURCES`."""

from __future__ import annotations

import csv as csv_format
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.examples import Context, Examples, Rows, Text

if TYPE_CHECKING:
    from compiler.types import Array

Source = Callable[[Stage, Context], Any]


def csv(stage: Stage, context: Context) -> Rows:
    """Rows of a file with a header, in the order in which they stand."""
    path = context.path(stage.arguments["path"], stage.span)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv_format.reader(file, delimiter=stage.arguments["separator"])
            header = next(reader, [])
            cells: dict[str, list[str]] = {name.strip(): [] for name in header}
            lines: list[int] = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    context.broken(
                        f"{path}:{reader.line_num}", f"{len(row)} cells, where the header names {len(header)}"
                    )
                    continue
                lines.append(reader.line_num)
                for column, cell in zip(cells.values(), row, strict=True):
                    column.append(cell)
    except (UnicodeDecodeError, csv_format.Error) as error:
        raise _unreadable(str(path), "a CSV file", error) from None
    if not lines:
        raise NablacError(Diagnostic("E823", f"{path} has no rows", stage.span))
    return Rows(str(path), cells, lines)


def npz(stage: Stage, context: Context) -> Examples:
    """Arrays by name, as `numpy.savez` writes them; each has an example at every index of axis 0."""
    path = context.path(stage.arguments["path"], stage.span)
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise _unreadable(str(path), "an .npz file of plain arrays", error) from None
    return from_arrays(arrays, str(path))


def from_arrays(arrays: dict[str, Array], place: str) -> Examples:
    """Arrays of one length as examples."""
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not arrays or len(set(lengths.values())) > 1 or not all(lengths.values()):
        listed = ", ".join(f"`{name}` {list(arrays[name].shape)}" for name in arrays) or "nothing"
        raise NablacError(
            Diagnostic("E823", f"arrays of one length are needed, an example at each index: {listed}", place=place)
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0, 0])
            raise NablacError(
                Diagnostic("E821", f"`{name}` holds no number at example {row}: {array[row].ravel()[:4]}", place=place)
            )
    return Examples(dict(arrays))


def text(stage: Stage, context: Context) -> Text:
    """A whole text file; of several paths in a folder all, in the order of their names."""
    path = context.path(stage.arguments["path"], stage.span)
    files = sorted(each for each in path.rglob("*.txt")) if path.is_dir() else [path]
    parts = []
    for each in files:
        try:
            parts.append(each.read_text("utf-8"))
        except UnicodeDecodeError as error:
            context.broken(f"{each}: byte {error.start}", "this is no UTF-8 text", "convert it, as with `iconv`")
    whole = "\n".join(parts)
    if not whole:
        raise NablacError(Diagnostic("E823", f"{path} holds no text", stage.span))
    return Text(str(path), [], whole)


def _unreadable(place: str, what: str, error: Exception) -> NablacError:
    first = " ".join(str(error).split())[:160]
    return NablacError(Diagnostic("E821", f"this cannot be read as {what}: {first}", place=place))


SOURCES: dict[str, Source] = {"csv": csv, "npz": npz, "text": text}
