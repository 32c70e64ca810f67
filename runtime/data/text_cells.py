"""The cells of columns of texts: which rows have theirs, and their tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.categories import categories_of
from runtime.data.text_columns import request_of

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span
    from runtime.data.csv_file import Report
    from runtime.data.filling import Fill
    from runtime.data.rows import Rows
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


def rows_with_texts(data: Rows, texts: Sequence[str], kept: Array, report: Report, span: Span | None) -> Array:
    """Which of the `kept` rows have their texts [as many flags]; the others are broken.

    NablacError for a column that is not there.
    """
    there = np.ones(len(kept), bool)
    for name in texts:
        request = request_of(data.texts, name)
        cells = data.texts_of(name, span)
        if request is None or request.allows_empty:
            continue
        for at, row in enumerate(kept.tolist()):
            if there[at] and not cells[row].strip():
                there[at] = False
                hint = f'`tokens(columns: "{name}", empty: true)` reads it as a text without words'
                hint += "; `--skip-broken` skips its row"
                report.report_broken(f"{data.path}:{data.lines[row]}", f"column `{name}`: the text is missing", hint)
    return there


def token_rows(data: Rows, name: str, rows: Array, tokenizer: Tokenizer, report: Report) -> list[list[int]]:
    """The tokens of a column's cells in these rows, with a note for each that is cut."""
    coded, cut = coded_rows(data, name, rows, tokenizer)
    for place, most in cut.items():
        report.note(place, f"`{name}` is cut after {most:,} tokens")
    return coded


def coded_rows(data: Rows, name: str, rows: Array, tokenizer: Tokenizer) -> tuple[list[list[int]], dict[str, int]]:
    """The tokens of a column's cells in these rows, and after how many the texts at these places are cut."""
    request = request_of(data.texts, name)
    assert request is not None
    cells = data.cells[name]
    coded: list[list[int]] = []
    cut: dict[str, int] = {}
    for row in rows.tolist():
        place = f"{data.path}:{data.lines[row]}"
        tokens, is_cut = request.row_of(tokenizer, cells[row], place)
        coded.append(tokens)
        if is_cut:
            cut[place] = request.length
    return coded, cut
