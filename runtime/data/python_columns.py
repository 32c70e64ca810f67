"""Tables that are columns from Python: lists, arrays, or those of a data frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.missing_cells import is_nothing
from runtime.data.parquet_file import cell_text
from runtime.data.rows import Rows
from runtime.data.table_blocks import Block


def mapping_blocks(columns: Mapping[str, Any], location: str, most: int) -> Iterator[Block]:
    """Rows of columns from Python: lists, arrays, or a data frame's; NablacError where they differ in length."""
    arrays = {str(name): _listed(columns[name]) for name in columns}
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1:
        listed = ", ".join(f"`{name}` {len(values)}" for name, values in arrays.items()) or "nothing"
        raise NablacError(Diagnostic(codes.E823, f"columns must have the same length: {listed}", place=location))
    (count,) = lengths
    if not count:
        raise NablacError(Diagnostic(codes.E823, "the table has no rows", place=location))
    with_texts = {name for name, column in arrays.items() if any(isinstance(value, str) for value in column)}
    zones = {name: zone for name, column in arrays.items() if (zone := _zone_of(column)) is not None}
    for start in range(0, count, most):
        values = {name: column[start : start + most] for name, column in arrays.items()}
        cells = {name: _cells(column, name in with_texts) for name, column in values.items()}
        numbers = range(start, min(start + most, count))
        yield Block(Rows(location, cells, [number + 1 for number in numbers], list(numbers), zones=zones), values)


def _zone_of(column: Sequence[Any]) -> tzinfo | None:
    """The one time zone of a column of dates; None of any other column, and of dates of several zones."""
    first = next((value for value in column if not is_nothing(value)), None)
    if not isinstance(first, datetime) or first.tzinfo is None:
        return None
    zones = {str(value.tzinfo) for value in column if isinstance(value, datetime) and not is_nothing(value)}
    return first.tzinfo if len(zones) == 1 else None  # of pytz summer and winter are two objects of one name


def _cells(column: Sequence[Any], has_texts: bool) -> list[str]:
    """The values of a column as texts; NaN or NA among texts, as a data frame has them, is an empty cell."""
    return ["" if has_texts and is_nothing(value) else cell_text(value) for value in column]


def _listed(column: Any) -> list[Any]:
    """A column as Python's own values; a date of any precision as a `datetime`."""
    try:
        array = np.asarray(column)
    except ValueError:
        message = "a column has a value for each row, not lists of different lengths"
        raise NablacError(Diagnostic(codes.E823, message, place="columns")) from None
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]")
    if array.ndim != 1:
        raise NablacError(Diagnostic(codes.E823, f"a column has one axis, not {array.ndim}", place="columns"))
    if array.dtype.kind == "U" and not hasattr(column, "dtype"):
        return list(column)  # of which NumPy makes texts, also of a NaN among them
    listed: list[Any] = array.tolist()
    return listed
