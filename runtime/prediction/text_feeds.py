"""Texts in columns of a table as inputs of a model: rows of tokens, in batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.types import TensorType
from runtime.data.padding import pad
from runtime.data.rows import Table
from runtime.data.stored_texts import CellsInMemory
from runtime.data.text_cells import coded_texts, note_cut, rows_with_texts
from runtime.data.text_columns import request_of, text_requests
from runtime.text.tokenizers import PADDING
from runtime.text_inputs import InputBatches, width_batches

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.fitted import Fitted
    from runtime.data.rows import Rows
    from runtime.prediction.findings import Findings
    from runtime.prediction.predictor import Predictor


@dataclass(frozen=True)
class TextFeeds:
    """The inputs of a model that take a column of texts, with their columns."""

    columns: Mapping[str, str]

    @staticmethod
    def of(fitted: Fitted, types: Mapping[str, TensorType]) -> TextFeeds:
        """Those of the inputs of these types."""
        read = {name: fitted.columns.get(name, ()) for name in types}
        return TextFeeds({name: names[0] for name, names in read.items() if names and names[0] in fitted.tokenizers})

    def with_texts(self, rows: Rows, table: Table, fitted: Fitted, findings: Findings) -> tuple[Rows, Table]:
        """The rows with what training requested of texts, and the table without rows whose texts are missing."""
        rows = replace(rows, texts=text_requests(fitted.stages))
        names = dict.fromkeys(self.columns.values())
        cells = {name: CellsInMemory(rows.texts_of(name, None), table.kept) for name in names}
        lines = [rows.lines[row] for row in table.kept.tolist()]
        return rows, table.take(rows_with_texts(cells, rows.texts, lines, rows.path, findings))

    def batches(
        self, rows: Rows, kept: Array, numbers: Mapping[str, Array], predictor: Predictor, findings: Findings
    ) -> InputBatches:
        """The inputs of the rows `kept`, with the `numbers` of the others, in batches of those that may share one."""
        tokenizers = predictor.recipe.fitted.tokenizers
        coded: dict[str, Array] = {}
        for column in dict.fromkeys(self.columns.values()):
            request = request_of(rows.texts, column)
            assert request is not None
            texts, lines = ([values[row] for row in kept.tolist()] for values in (rows.cells[column], rows.lines))
            tokens, cut = coded_texts(texts, request, tokenizers[column], lines, rows.path)
            note_cut(column, request, cut, findings)
            coded[column] = pad(tokens, tokenizers[column].padding or PADDING)
        arrays = dict(numbers)
        padding: dict[str, int] = {}
        for name, column in self.columns.items():
            arrays[name] = coded[column].astype(predictor.types[name].dtype.numpy)
            padding[name] = tokenizers[column].padding or PADDING
        return width_batches(arrays, padding, predictor.types, predictor.least, predictor.unread_padding)
