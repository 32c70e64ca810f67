"""Examples of a table whose columns of texts become rows of tokens, by vocabularies of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.padding import pad, widen
from runtime.data.rows import Rows
from runtime.data.text_cells import token_rows
from runtime.data.text_columns import TextColumns, request_of
from runtime.data.tokens import check_special, new_tokenizer
from runtime.text.learning import learn
from runtime.text.tokenizers import PADDING, Tokenizer

if TYPE_CHECKING:
    from compiler.types import Array
    from grammar.source import Span


def tokenize_examples(examples: Examples, data: Rows, texts: Sequence[str], context: Context) -> Examples:
    """Examples with the tokens of the columns `texts`, whose arrays hold the number of each example's row until then.

    Columns of one request share a tokenizer: that of the run, or one that is learnt from the training part.
    """
    if not texts:
        return examples
    examples = examples.split(context)
    tokenizers: dict[str, Tokenizer] = {}
    for name in texts:
        request = request_of(data.texts, name)
        assert request is not None
        shared = [column for column in texts if column in request.columns]
        tokenizers[name] = tokenizers.get(shared[0]) or _tokenizer(examples, data, shared, request, context)
    arrays = dict(examples.arrays)
    for name in texts:
        rows = token_rows(data, name, arrays[name][:], tokenizers[name], context)
        arrays[name] = pad(rows, tokenizers[name].padding or PADDING)
    columns = {**examples.columns, **{name: (name,) for name in texts}}
    return replace(examples, arrays=arrays, columns=columns, tokenizers=tokenizers, padded=True)


def _tokenizer(
    examples: Examples, data: Rows, shared: Sequence[str], request: TextColumns, context: Context
) -> Tokenizer:
    known = context.fitted.tokenizers.get(shared[0]) if context.fitted is not None else None
    if known is not None:
        return known
    training = examples.parts["training"]
    cells = (data.cells[name][row] for name in shared for row in examples.arrays[name][training].tolist())
    learnt = [cell for cell in cells if cell.strip()]
    if not learnt:
        listed = ", ".join(f"`{name}`" for name in shared)
        raise NablacError(Diagnostic(codes.E823, f"no row of the training part has a text in {listed}", request.span))
    tokenizer = new_tokenizer(partial(learn, learnt), request.kind, request.most, request.span, context)
    check_special(tokenizer, request.span, ends=False)
    return tokenizer


def fitting_tokens(
    name: str, array: Array, type: TensorType, tokenizer: Tokenizer, column: str, span: Span | None
) -> Array:
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
    return widen(array, width, tokenizer.padding or PADDING)
