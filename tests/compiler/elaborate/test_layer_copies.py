"""A copied layer is what elaborating it again would have given, and costs less."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compiler.elaborate import instances, layer_copies
from compiler.graph import Graph
from compiler.operators.leaves import Stored
from tests.models import elaborate
from tests.work import at_most

BLOCK = """
layer Block(width: int, rate = 0.1) {
    input x: [batch, n], mask?: bool[batch, n]
    y = x -> Dense(width, activation: relu) -> Dropout(rate)
    if given(mask) { y = where(any(mask, axis: 1, keep: true), y, 0.0) }
    output y -> Dense(n), y
}
layer Whole(width: int) { input x: [batch, n]; a, b = Block(width)(x); c, d = Block(width)(a); output c }
layer Counting(start) { input x: [batch, n]; buffer count: [] = 0; count' = count + 1; output x * start + count }
layer Around(inner: layer) { input x: [batch, n]; output x + inner(x) }
layer Sum { input x: [batch, n], y: [batch, n]; output x * 2 + y }
layer Scaled(by) { input x: [batch, n]; output x * by }
"""
TEXTS = {
    "blocks one after another": "for i in 0..3 { x, y = Block(5)(x) }; output x",
    "blocks in blocks": "for i in 0..2 { x = Whole(5)(x) }; output x",
    "other hyperparameters": "x, y = Block(5)(x); x, y = Block(6)(x); x, y = Block(5, 0.2)(x); output x",
    "numbers of other kinds": "output Scaled(1)(x), Scaled(1.0)(x), Scaled(2)(x)",
    "another type": "output Block(5)(x), Block(5)(concat([x, x], axis: 1)), Block(5)(x)",
    "an optional input": "for i in 0..2 { x, y = Block(5)(x); x, y = Block(5)(x, mask: x > 0) }; output x",
    "an instance applied twice": "d = Dense(4); for i in 0..2 { x = x -> d -> Dense(4) -> d }; output x",
    "parameters of a copy": "a = Dense(4); b = Dense(4); y = x -> a -> b; output y @ b.W^T + a.b",
    "one value twice": "output Sum()(x, x), Sum()(x, tanh(x)), Sum()(tanh(x), x), Sum()(x, x)",
    "a weight as an input": "t = Embedding(4, 4); y = x + t(i); output y + Dense(4)(t.table)[0] + Dense(4)(x)",
    "buffers": "for i in 0..3 { x = x -> Counting(i) -> Counting(2) -> BatchNorm() }; output x",
    "a layer as a hyperparameter": "for i in 0..2 { x = x -> Around(Dense(4)) -> Around(Scaled(2)) }; output x",
    "recurrences": "s = unsqueeze(x, 1); for i in 0..2 { s = s -> LSTM(4, sequences: true) }; output s",
    "attention": "s = unsqueeze(x, 1); for i in 0..2 { s = s -> EncoderLayer(2, 8) }; output s",
}


def describe(graph: Graph) -> list[object]:
    """Everything about a graph and the graphs inside it that a file, a message or a run could show."""
    numbers = {node: number for number, node in enumerate(graph)}
    rows: list[object] = [list(graph.inputs), [numbers.get(end.node) for end in graph.ends], list(graph.updates)]
    for node in graph:
        operands = [(numbers[operand.node], operand.index) for operand in node.operands]
        types = [str(result.type) for result in node.results]
        inner = [*node.op.graphs]
        if isinstance(node.op, Stored) and node.op.initial is not None:
            inner.append(node.op.initial)
        plain = type(node.op).name, getattr(node.op, "path", None), getattr(node.op, "stream", None)
        names = [
            (name.result, name.text, name.primed, name.path, name.calls, str(name.span)) for name in node.origin.names
        ]
        source = str(node.origin.span), node.origin.path, names
        rows.append((plain, operands, types, source, [describe(body) for body in inner]))
    return [*rows, {path: (layer.definition, layer.outputs) for path, layer in graph.layers.items()}]


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths of the instances that were copied."""
    copied: list[str] = []
    copy = layer_copies.copy_application

    def counted(session, key, instance, arguments, span):  # type: ignore[no-untyped-def]
        outputs = copy(session, key, instance, arguments, span)
        if outputs is not None:
            copied.append(instance.path)
        return outputs

    monkeypatch.setattr(instances, "copy_application", counted)
    yield copied


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_copy_is_what_the_body_gives(text: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = f"{BLOCK}\nmodel M {{ input x: [batch, 4], i: i64[batch]; {text} }}"
    copied = describe(elaborate(whole, training=training))
    monkeypatch.setattr(instances, "application_key", lambda *arguments: None)
    assert copied == describe(elaborate(whole, training=training))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (TEXTS["blocks one after another"], ["block.1", "block.2"]),
        (TEXTS["other hyperparameters"], ["block_2.dense", "block_2.dense_1"]),
        (TEXTS["numbers of other kinds"], []),
        (TEXTS["one value twice"], ["sum_3", "sum_2"]),
        ("output random.normal(like: x) + Scaled(2)(x) + Scaled(2)(x)", ["scaled_1"]),
        ("output x -> Around(Scaled(2)) -> Around(Scaled(2))", ["around_1.scaled"]),
    ],
)
def test_what_is_copied(text: str, paths: list[str], copies: list[str]) -> None:
    elaborate(f"{BLOCK}\nmodel M {{ input x: [batch, 4]; {text} }}")
    assert sorted(copies) == sorted(paths)


def test_a_hundred_blocks_cost_little_more_than_two() -> None:
    text = "model M {{ input x: [batch, T, 32]; x = x -> TransformerEncoder({depth}, 4, 64); output x }}"
    elaborate(text.format(depth=2))  # reads the library
    with at_most(300_000):
        elaborate(text.format(depth=100))


def test_initial_values_of_copies_differ() -> None:
    text = "model M { input x: [batch, 4]; for i in 0..3 { x = x -> Dense(4) }; output x }"
    stored = [node.op for node in elaborate(text) if isinstance(node.op, Stored)]
    drawn = [op.initial.outputs["initial"] for op in stored if op.initial is not None and op.initial.inputs]
    streams = [node.op.stream for value in drawn for node in Graph({}, {"": value}) if node.op.name == "fold_key"]
    assert len(set(streams)) == len(streams) == 3
