"""Tokens and labels that are out of range for a model: refused before training, with their line in the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from compiler.graph import Graph
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span
from runtime.data.examples import Examples
from runtime.data.model_arrays import too_many_texts
from runtime.data.stored_rows import StoredRows, blocks, row_blocks
from runtime.table_lookups import Outside, TableCheck

if TYPE_CHECKING:
    from compiler.types import Array


def check_lookups(graph: Graph, examples: Examples, span: Span | None) -> None:
    """NablacError for the first index out of range of all that `graph`, a model with its loss, looks up.

    Indices are checked as the model computes them: it may replace some first, such as a label `ignore`.
    """
    for outside in _outside(TableCheck(graph), examples.arrays):
        refusal = _no_class if outside.name in examples.targets else _no_row
        row = outside.index[0] if outside.whole and outside.index else None
        raise refusal(outside.name, outside.number, row, outside.size, examples, span)


def _outside(check: TableCheck, arrays: Mapping[str, Array | StoredRows]) -> Iterator[Outside]:
    """The first index out of range of each look-up; of rows that stay in their files, of some rows at a time."""
    read = {name: array for name, array in arrays.items() if name in check.read}
    in_memory = {name: array for name, array in read.items() if not isinstance(array, StoredRows)}
    if len(in_memory) == len(read):
        yield from check.outside(in_memory, {})
        return
    largest = max(read.values(), key=lambda array: prod(array.shape[1:]) if isinstance(array, StoredRows) else 0)
    for rows in row_blocks(largest):
        for outside in check.outside({name: array[rows] for name, array in read.items()}, {}):
            index = (int(rows[outside.index[0]]), *outside.index[1:]) if outside.whole else outside.index
            yield replace(outside, index=index)


def _no_class(name: str, label: int, row: int | None, size: int, examples: Examples, span: Span | None) -> NablacError:
    if examples.texts_of(name):
        return too_many_texts(examples.columns[name][0], examples, f"the model has {size:,}", codes.E826, span)
    columns = examples.columns.get(name, ())
    what = f"column `{columns[0]}`" if len(columns) == 1 and examples.lines is not None else f"`{name}`"
    message = f"{what} holds the label {label}, and the model has the classes 0 to {size - 1}"
    hint = "labels count from 0" if label < 0 else f"the model needs {label + 1:,} classes, or the data fewer"
    location = examples.location(row) if row is not None else None
    if location is not None:
        return NablacError(Diagnostic(codes.E826, message, place=location, hint=hint))
    return NablacError(Diagnostic(codes.E826, message if row is None else f"{message}: example {row}", span, hint=hint))


def _no_row(name: str, number: int, row: int | None, size: int, examples: Examples, span: Span | None) -> NablacError:
    if examples.texts_of(name):
        model = f"the model looks them up in a table of {size:,} rows"
        return too_many_texts(examples.columns[name][0], examples, model, codes.E851, span)
    location = examples.location(row) if row is not None else None
    span = span if location is None else None
    if number < 0:
        message = f"`{name}` holds {number}, and rows of a table count from 0"
        return NablacError(Diagnostic(codes.E851, message, span, place=location))
    tokenizer = examples.tokenizer_of(name)
    if tokenizer is None:
        message = f"`{name}` holds {number:,}, and the model looks it up in a table of {size:,} rows"
        hint = f"the table needs {number + 1:,} rows, or the data smaller numbers"
        return NablacError(Diagnostic(codes.E851, message, span, place=location, hint=hint))
    largest = max(int(block.max()) for _, block in blocks(examples.arrays[name]))
    message = f"`{name}` holds {largest:,}, and the model looks it up in a table of {size:,} rows"
    needed = tokenizer.size
    hint = f"the vocabulary needs {needed:,} rows, or the data fewer tokens: `tokens(most: {size})`"
    return NablacError(Diagnostic(codes.E851, message, span, hint=hint))
