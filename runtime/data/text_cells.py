"""The cells of columns of texts: which rows have theirs, and their tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.categories import categories_of
from runtime.data.text_columns import TextColumns, request_of

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span
    from runtime.data.csv_file import Report
    from runtime.data.filling import Fill
    from runtime.data.rows import Rows
    from runtime.data.stored_rows import StoredRows
    from runtime.data.stored_texts import TextCells
    from runtime.text.tokenizers import Tokenizer


def text_inputs(data: Rows, inputs: Sequence[str], targets: Collection[str], span: Span | None) -> list[str]:
    """The columns of texts among the inputs; NablacError for one that is a target, and for one that `fill` names."""
    target = next((name for name in targets if request_of(data.texts, name) is not None), None)
    if target is not None:
        hint = "`pairs(...) -> tokens(...)` is for texts that answer texts"
        message = f"column `{target}` is a target, and `tokens` of a table is for inputs"
        raise NablacError(Diagnostic(codes.E823, message, span, hint=hint))
    texts = [name for name in inputs if request_of(data.texts, name) is not None]
    for name in texts:
        _check_unfilled(name, data.fills)
    return texts


def _check_unfilled(name: str, fills: Sequence[Fill]) -> None:
    naming = next((fill for fill in fills if name in fill.columns), None)
    if naming is not None:
        message = f"column `{name}` holds texts, and `fill` is for numbers"
        hint = f'`tokens(columns: "{name}", empty: true)` reads a missing text as one without words'
        raise NablacError(Diagnostic(codes.E823, message, naming.span, hint=hint))


def check_window_columns(data: Rows, names: Sequence[str]) -> None:
    """NablacError for a column of a window that another stage makes tokens or classes of."""
    for name in names:
        texts, classes = request_of(data.texts, name), categories_of(data.categories, name)
        request = texts or classes
        if request is not None:
            stage = "tokens" if texts is not None else "categories"
            message = f"a window holds numbers, and `{stage}` of `{name}` is for `columns(...)`"
            raise NablacError(Diagnostic(codes.E823, message, request.span))


def rows_with_texts(
    cells: Mapping[str, TextCells],
    requests: Sequence[TextColumns],
    lines: Sequence[int] | Array | StoredRows,
    path: str,
    report: Report,
) -> Array:
    """Which of the rows have their texts [as many flags]; the others are broken. `lines` are those of the rows."""
    there = np.ones(len(lines), bool)
    for name, texts in cells.items():
        request = request_of(requests, name)
        if request is None or request.allows_empty:
            continue
        for rows, part in texts.blocks(np.arange(len(texts))):
            for row, text in zip(rows.tolist(), part, strict=True):
                if there[row] and not text.strip():
                    there[row] = False
                    hint = f'`tokens(columns: "{name}", empty: true)` reads it as a text without words'
                    hint += "; `--skip-broken` skips its row"
                    report.report_broken(f"{path}:{lines[row]}", f"column `{name}`: the text is missing", hint)
    return there


def coded_texts(
    texts: Sequence[str], request: TextColumns, tokenizer: Tokenizer, lines: Sequence[int], path: str
) -> tuple[list[list[int]], list[str]]:
    """The tokens of cells in rows with these `lines`, and where the texts are that are cut."""
    coded: list[list[int]] = []
    cut: list[str] = []
    for text, line in zip(texts, lines, strict=True):
        location = f"{path}:{line}"
        tokens, is_cut = request.row_of(tokenizer, text, location)
        coded.append(tokens)
        if is_cut:
            cut.append(location)
    return coded, cut


def note_cut(name: str, request: TextColumns, locations: Sequence[str], report: Report) -> None:
    """Note the texts of a column that are cut."""
    for location in locations:
        report.note(location, f"`{name}` is cut after {request.length:,} tokens")
