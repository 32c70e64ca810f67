"""Checks that a tokenizer fits a model: each of its tokens has a row in the model's tables."""

from __future__ import annotations

from compiler.graph import Graph
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.text.lengths import token_inputs
from runtime.text.tokenizers import Tokenizer


def check_tables(tokenizer: Tokenizer, graph: Graph) -> None:
    """NablacError (E851) for a model without a table that has a row for each token."""
    from compiler.lookups import table_limits

    limits = table_limits(graph, {})
    tables = [limits[name] for name in token_inputs(graph) if name in limits]
    if not tables:
        message, hint = f"{graph.name} takes no tokens", "a model of texts has an input `i64[batch, T]`"
        raise NablacError(Diagnostic(codes.E851, message, place="--tokenizer", hint=hint))
    check_size(tokenizer, max(tables), graph.name)  # smaller tables are of segments, or of positions


def check_size(tokenizer: Tokenizer, vocabulary: int, name: str) -> None:
    """NablacError (E851) for a tokenizer with more tokens than the vocabulary of the model `name`."""
    if tokenizer.size > vocabulary:
        message = f"the tokenizer has {tokenizer.size:,} tokens, and {name} knows {vocabulary:,}"
        hint = f"train the model with `vocabulary` of at least {tokenizer.size}, or give its own tokenizer"
        raise NablacError(Diagnostic(codes.E851, message, place="the tokenizer", hint=hint))
