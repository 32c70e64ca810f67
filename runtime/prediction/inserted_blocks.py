"""Blocks of a table to predict with the rows that are missing from it, as training inserted them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from runtime.data.dated_rows import DatedRows, dated_rows
from runtime.data.inserted_rows import InsertedRows
from runtime.data.row_insertion import Insertion, RowsToInsert
from runtime.data.table_blocks import Block
from runtime.data.whole_series import WholeSeries
from runtime.prediction.findings import Findings


class InsertedBlocks:
    """Inserts the rows that are missing from one series; `by` are the columns that tell it from others.

    Blocks wait where a later row may decide what is inserted into them: the rows that come out are those of the whole
    series, however many rows a block has.
    """

    def __init__(self, request: RowsToInsert, by: tuple[str, ...], findings: Findings) -> None:
        self.request, self.findings = request, findings
        self._whole = WholeSeries(request.step)
        self._insertion = Insertion(request, lambda _: self._whole, by)
        self._waiting: list[tuple[Block, DatedRows]] = []

    @property
    def count(self) -> int:
        """How many rows have been inserted."""
        return self._insertion.counts.total()

    def add(self, block: Block) -> Iterator[Block]:
        """The blocks that need not wait with one more, whose cells are empty but for dates and the columns of `by`."""
        dated = dated_rows(block.rows, self.request.column, self.request.format, self.findings)
        for _, indices in dated.spans():
            self._whole.look(dated.dates(indices))
        self._waiting.append((block, dated))
        if self._whole.is_decided:
            yield from self.end()

    def end(self) -> Iterator[Block]:
        """The blocks that have waited, when there is no other."""
        waiting, self._waiting = self._waiting, []
        for block, dated in waiting:
            yield _lined_up(block, self._insertion.insert(dated), self._insertion)


def _lined_up(block: Block, inserted: InsertedRows, insertion: Insertion) -> Block:
    """A block with inserted rows."""
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
