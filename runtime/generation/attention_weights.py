"""The attention weights of a text model for one text, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.decode import generating_ends
from compiler.graph import Graph, Value
from compiler.lookups import table_limits
from compiler.operators.comparison import Where
from compiler.operators.leaves import Input
from compiler.operators.linear import MatMul
from compiler.operators.normalization import Softmax
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.generation.decode_checks import check_causal
from runtime.generation.generator import Generator, Request
from runtime.numpy_executor import run
from runtime.text import roles
from runtime.text.coding import TextLimit, tokens_of
from runtime.text.lengths import longest_texts, token_inputs
from runtime.text.tokenizers import ListTokenizer, Tokenizer
from runtime.text.vocabulary_checks import check_tables
from runtime.text.words import JOIN, SPACE

if TYPE_CHECKING:
    from compiler.types import Array

_SPACING = {JOIN: "\N{CHARACTER TIE}", SPACE: "\N{OPEN BOX}"}  # how tokens for unusual spacing are shown


@dataclass(frozen=True)
class AttentionWeights:
    """The weights [heads, rows, columns] of one layer, and the texts of its rows and columns."""

    layer: str
    weights: Array
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    text: str  # the generated text, for an encoder-decoder model


def attentions(graph: Graph) -> dict[str, Value]:
    """The weights `[batch, heads, T, S]` of all attentions, by the paths of their layers."""
    layers: dict[str, Value] = {}
    for node in graph:
        if isinstance(node.op, MatMul):
            weights = softmax = node.operands[0]
            if isinstance(weights.node.op, Where):  # masked weights are 0
                softmax = weights.node.operands[1]
            if isinstance(softmax.node.op, Softmax) and weights.type.rank == 4:
                layers.setdefault(softmax.node.origin.path or f"attention {len(layers)}", weights)
    return layers


def attention_of(
    graph: Graph, weights: Mapping[str, Array], tokenizer: Tokenizer, text: str, layer: str | None, tokens: int = 64
) -> AttentionWeights:
    """The attention of one layer for a text; by default the last cross-attention, else the last attention.

    An encoder-decoder model first generates an output for the text. NablacError (E854) if there is no such layer.
    """
    known = attentions(graph)
    if not known:
        raise NablacError(Diagnostic(codes.E854, f"{graph.name} has no attention layer", place=graph.name))
    check_tables(tokenizer, graph)
    limits = table_limits(graph, {})
    inputs = token_inputs(graph)
    texts = [name for name in inputs if limits.get(name, 0) >= tokenizer.size]  # the others number segments
    label = generating_ends(graph)[0] if len(texts) > 1 else texts[0]
    others = [name for name in texts if name != label]
    time = graph.inputs[label].shape[1]
    crossing = [path for path, value in known.items() if value.shape[2] == time != value.shape[3]]
    chosen = layer or (crossing or list(known))[-1]
    if chosen not in known:
        hint = did_you_mean(chosen, known) or f"the choices are {', '.join(known)}"
        raise NablacError(
            Diagnostic(codes.E854, f"{graph.name} has no attention `{chosen}`", place="--layer", hint=hint)
        )
    role = roles.whole if others or not _is_causal(graph, weights) else roles.prompt
    most = longest_texts(graph).get((others or [label])[0])
    coded = tokens_of(tokenizer, text, role, "--attention", TextLimit(graph.name, most), what="prompt")
    generated, target = "", coded
    if others:
        generator = Generator.of_graph(graph, weights, tokenizer, "numpy", "cpu")
        generated = generator.generate([text], Request(tokens))[0]
        target = roles.answer(tokenizer, tokenizer.encode(generated))
    feeds = {label: np.array([target]), **{name: np.array([coded]) for name in others}}
    feeds |= {name: np.zeros_like(feeds[label]) for name in inputs if name not in feeds}
    value = known[chosen]
    used = Graph(graph.inputs, {"weights": value})
    needed = {node.op.label for node in used if isinstance(node.op, Input)}
    weights_of_layer = run(
        Graph({name: graph.inputs[name] for name in feeds if name in needed}, used.outputs),
        {name: array for name, array in feeds.items() if name in needed},
        weights,
    )["weights"][0]
    names = {
        str(size): numbers for size, numbers in ((time, target), *((graph.inputs[n].shape[1], coded) for n in others))
    }
    rows, columns = (names.get(str(size), coded) for size in value.shape[2:])
    return AttentionWeights(
        chosen, weights_of_layer, _token_texts(tokenizer, rows), _token_texts(tokenizer, columns), generated
    )


def _is_causal(graph: Graph, weights: Mapping[str, Array]) -> bool:
    """Whether a model's outputs depend on earlier tokens alone."""
    try:
        check_causal(graph, *generating_ends(graph), weights)
    except NablacError:
        return False
    return True


def _token_texts(tokenizer: Tokenizer, numbers: list[int]) -> tuple[str, ...]:
    special = {tokenizer.begin: "<s>", tokenizer.end: "</s>", tokenizer.unknown: "<unk>"}
    if isinstance(tokenizer, ListTokenizer) and tokenizer.kind == "words":
        special |= {tokenizer.numbers[piece]: mark for piece, mark in _SPACING.items() if piece in tokenizer.numbers}
    return tuple(special.get(number) or tokenizer.decode([number]) or f"#{number}" for number in numbers)
