"""Blocks of a table to predict with the rows that are missing from it, as training inserted them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from runtime.data.row_insertion import Insertion
from runtime.data.table_blocks import Block


def with_inserted_rows(block: Block, insertion: Insertion) -> Block:
    """A block of one series with its missing rows, whose cells are empty but for the date and what names the series."""
    inserted = insertion.insert(block.rows)
    source, is_new = inserted.source.tolist(), inserted.is_new.tolist()
    values: dict[str, Sequence[Any]] = {}
    for name, column in block.values.items():
        if name == insertion.request.column:
            texts = inserted.rows.date_texts(name, None)
            rows = zip(source, is_new, texts, strict=True)
            values[name] = [_date(text, column[row]) if new else column[row] for row, new, text in rows]
        elif name in insertion.by:
            values[name] = [column[row] for row in source]
        else:
            values[name] = [
                _empty(column[row]) if new else column[row] for row, new in zip(source, is_new, strict=True)
            ]
    return Block(inserted.rows, values)


def _empty(like: Any) -> str | None:
    """An empty cell beside another; in CSV all are texts."""
    return "" if isinstance(like, str) else None


def _date(text: str, like: Any) -> Any:
    """A date as a value of the same type as another."""
    if isinstance(like, datetime):
        moment = type(like).fromisoformat(text)  # perhaps that of pandas
        return moment.astimezone(like.tzinfo) if like.tzinfo is not None else moment
    if isinstance(like, date):
        return date.fromisoformat(text[:10])
    return int(text) if isinstance(like, int) else text
