"""Columns of a table as arrays of a trained model's inputs: numbers, classes by number, texts as rows of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.categories import category_requests
from runtime.data.numeric_classes import UnseenClasses
from runtime.data.padding import pad
from runtime.data.stored_texts import CellsInMemory
from runtime.data.text_cells import coded_texts, rows_with_texts
from runtime.data.text_columns import request_of, text_requests

if TYPE_CHECKING:
    from compiler.types import Array
    from runtime.data.csv_file import Report
    from runtime.data.fitted import Fitted
    from runtime.data.rows import Rows


def trained_columns(
    rows: Rows, columns: Sequence[str], fitted: Fitted | None, report: Report, trained: Sequence[str] = ()
) -> tuple[Array, int | None]:
    """Columns as numbers [rows, columns], in the classes of the training; None beside them.

    Of a column of texts the tokens [rows, width], with the padding token. One column may stand for the one that the
    input was `trained` on. NablacError for a broken cell.
    """
    known = {*fitted.tokenizers, *fitted.classes} if fitted is not None else {}
    if len(columns) == 1 and len(trained) == 1 and trained[0] in known and columns[0] in rows.cells:
        rows = replace(rows, cells={**rows.cells, trained[0]: rows.cells[columns[0]]})
        columns = trained
    texts = [name for name in columns if fitted is not None and name in fitted.tokenizers]
    if not texts or fitted is None:
        unseen = UnseenClasses()
        rows = replace(rows, categories=category_requests(fitted.stages if fitted is not None else ()), unseen=unseen)
        classes = {name: fitted.classes[name] for name in columns if name in fitted.classes} if fitted else {}
        numbers = rows.read_columns(list(columns), report, None, classes, closed=True, inputs=columns).numbers
        unseen.report(report)
        return numbers, None
    if len(columns) > 1:
        message = f"an input takes a column of texts alone: `{texts[0]}` beside others"
        raise NablacError(Diagnostic(codes.E821, message, place=rows.path))
    (name,) = texts
    request = request_of(text_requests(fitted.stages), name)
    assert request is not None
    cells = CellsInMemory(rows.texts_of(name, None), np.arange(len(rows.lines)))
    rows_with_texts({name: cells}, (request,), rows.lines, rows.path, report)
    tokenizer = fitted.tokenizers[name]
    padding = tokenizer.padding or 0
    coded, cut = coded_texts(cells.cells, request, tokenizer, rows.lines, rows.path)
    if cut:
        many = "1 row" if len(cut) == 1 else f"{len(cut):,} rows"
        report.note(rows.path, f"`{name}` of {many} is cut after {request.length:,} tokens")
    return pad(coded, padding), padding
