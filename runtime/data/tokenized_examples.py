"""Examples of a table whose columns of texts become rows of tokens, by vocabularies of the training part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.coded_text import smallest_type
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.file_rows import Scratch
from runtime.data.padding import pad, widen
from runtime.data.read_rows import ReadRows
from runtime.data.rows import Rows
from runtime.data.stored_rows import StoredRows, change_rows
from runtime.data.text_cells import coded_texts, note_cut
from runtime.data.text_columns import TextColumns, request_of
from runtime.data.tokens import check_special, new_tokenizer
from runtime.text.learning import learn
from runtime.text.tokenizers import PADDING, Tokenizer

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span
    from runtime.data.stored_texts import TextCells


def tokenize_examples(examples: Examples, data: Rows, read: ReadRows, context: Context) -> Examples:
    """Examples with the tokens of columns of texts, whose arrays hold the number of each example's row until then.

    Columns of one request share a tokenizer: that of the run, or one that is learnt from the training part.
    """
    if not read.texts:
        return examples
    examples = examples.split(context)
    arrays, tokenizers = dict(examples.arrays), dict[str, Tokenizer]()
    for name in read.texts:
        request = request_of(data.texts, name)
        assert request is not None
        shared = [column for column in read.texts if column in request.columns]
        tokenizers[name] = tokenizers.get(shared[0]) or _tokenizer(examples, read, shared, request, context)
        check_special(tokenizers[name], request.span, ends=False)
        arrays[name] = _tokens(name, arrays[name][:], read, data.path, request, tokenizers[name], context)
    columns = {**examples.columns, **{name: (name,) for name in read.texts}}
    return replace(examples, arrays=arrays, columns=columns, tokenizers=tokenizers, padded=True)


def _tokens(
    name: str, rows: Array, read: ReadRows, path: str, request: TextColumns, tokenizer: Tokenizer, context: Context
) -> Array | StoredRows:
    """The tokens of a column in these rows [rows, width], padded: of a table on disk in a scratch file.

    They are as wide as the longest text.
    """
    padding = tokenizer.padding or PADDING
    scratch = None
    if isinstance(read.table, StoredRows):
        scratch = Scratch((request.length,), smallest_type(tokenizer), path)
    whole: list[list[int]] = []
    widest = 0
    for part, texts in read.texts[name].blocks(rows):
        coded, cut = coded_texts(texts, request, tokenizer, read.lines[part].tolist(), path)
        note_cut(name, request, cut, context)
        widest = max(widest, *map(len, coded))
        if scratch is None:
            whole += coded
        else:
            scratch.add(widen(pad(coded, padding), request.length, padding))
    if scratch is None:
        return pad(whole, padding)
    return change_rows(scratch.rows(), lambda part: part[:, :widest].astype(np.int64))


@dataclass(frozen=True)
class _Texts:
    """The texts of columns in some rows that are not blank, read anew each time."""

    columns: Sequence[tuple[TextCells, Array]]

    def __iter__(self) -> Iterator[str]:
        for cells, rows in self.columns:
            for _, part in cells.blocks(rows):
                yield from (text for text in part if text.strip())


def _tokenizer(
    examples: Examples, read: ReadRows, shared: Sequence[str], request: TextColumns, context: Context
) -> Tokenizer:
    known = context.fitted.tokenizers.get(shared[0]) if context.fitted is not None else None
    if known is not None:
        return known
    training = examples.parts["training"]
    texts = _Texts([(read.texts[name], examples.arrays[name][training]) for name in shared])
    if next(iter(texts), None) is None:
        listed = ", ".join(f"`{name}`" for name in shared)
        raise NablacError(Diagnostic(codes.E823, f"no row of the training part has a text in {listed}", request.span))
    return new_tokenizer(partial(learn, texts), request.kind, request.most, request.span, context)


def fitting_tokens(
    name: str, array: Array | StoredRows, type: TensorType, tokenizer: Tokenizer, column: str, span: Span | None
) -> Array | StoredRows:
    """Rows of tokens [examples, width] for a model's input: as wide as its type, where that has a fixed width.

    NablacError for an input of another kind.
    """
    if type.rank != 2 or not type.dtype.is_integer:
        message = f"column `{column}` holds texts, and the model's `{name}` is {type}"
        raise NablacError(Diagnostic(codes.E824, message, span, hint=f"declare `{name}: i64[batch, T]`"))
    width = type.shape[1]
    if not isinstance(width, int):
        return array
    if array.shape[1] > width:
        message = f"texts of `{column}` have up to {array.shape[1]:,} tokens, and the model's `{name}` is {type}"
        hint = f'cut them: `tokens(columns: "{column}", length: {width})`'
        raise NablacError(Diagnostic(codes.E824, message, span, hint=hint))
    return change_rows(array, partial(widen, width=width, padding=tokenizer.padding or PADDING))
