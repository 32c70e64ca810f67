"""The results of a prediction in Python: columns as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.extras import import_pandas
from runtime.prediction.table_rows import Columns, len_of
from runtime.prediction.writing import FORMATS, aligned, written

if TYPE_CHECKING:
    from compiler.types import Array

_MOST_ROWS = 10  # that a notebook shows


@dataclass(frozen=True, eq=False)
class Predictions(Mapping[str, Any]):
    """Columns by name, each an array with an entry for every row: kept columns, then predictions.

    `skipped` are the lines on rows that were left out, and `notes` what there is to say of the inputs.
    """

    columns: dict[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(parts: Iterable[Columns], notes: Iterable[str] = ()) -> Predictions:
        """The rows of all parts; the first part determines the columns."""
        all_parts = list(parts)
        names = list(all_parts[0]) if all_parts else []
        columns = {name: _joined([aligned(part, [name])[0] for part in all_parts]) for name in names}
        return Predictions(columns, tuple(notes))

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            hint = did_you_mean(name, self.columns) or f"the columns are {', '.join(self.columns)}"
            raise KeyError(f"there is no column `{name}`: {hint}")
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        """The number of columns; `rows` is the number of rows."""
        return len(self.columns)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len_of(self.columns)

    def write(self, path: str | Path) -> None:
        """Write them to a .csv, .jsonl or .parquet file, atomically."""
        if Path(path).suffix.lower() not in FORMATS:
            message = f"`{Path(path).suffix}` is not a format of results; the formats are {', '.join(FORMATS)}"
            raise NablacError(Diagnostic(codes.E904, message, place=str(path)))
        with written(Path(path)) as writer:
            writer.write(dict(self.columns))

    def to_dataframe(self) -> Any:
        """A pandas data frame of the columns; NablacError without pandas."""
        return import_pandas().DataFrame(self.columns)

    def _repr_html_(self) -> str:
        """The first rows as a table, for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        rows = [[column[row] for column in self.columns.values()] for row in range(min(self.rows, _MOST_ROWS))]
        body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        more = f"<p>{self.rows:,} rows</p>" if self.rows > _MOST_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def __repr__(self) -> str:
        return f"<Predictions: {self.rows} rows of {', '.join(self.columns)}>"


def _joined(parts: list[Any]) -> Array:
    arrays = [part if isinstance(part, np.ndarray) else _array(part) for part in parts]
    return np.concatenate(arrays)


def _array(values: list[Any]) -> Array:
    """A list as an array of its type, or of objects if it has several types or none."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds <= {int, float, bool, str}:
        try:
            return np.array(values)
        except OverflowError:
            pass
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
