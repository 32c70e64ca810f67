"""Stages of data that do not fit each other are found without reading any data."""

from __future__ import annotations

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source

MODEL = """
model M {{
    input x: [batch, 2]
    y = x -> Dense(1)
    output y
}}
train M {{
    target t: [batch, 1]
    loss mse(y, t)
    data {data}
}}
"""
COLUMNS = 'columns(inputs: ["a", "b"], targets: ["c"])'
ROWS = "`columns(...)` or `window(...)` creates examples of rows"
TEXT = "`tokens(...)`, `characters(...)` or `words(...)` creates examples of a text"
PAIRS = "`tokens(...)` creates examples of pairs"
ONCE = "only one stage creates examples, and the others change them"
REFUSED = {
    'text("a.txt") -> window("a", length: 3)': ("E823", "`window`: expected rows of a table, got a text", TEXT),
    'images("a") -> window("a", length: 3)': ("E823", "`window`: expected rows of a table, got examples", ONCE),
    f'csv("a.csv") -> {COLUMNS} -> window("a", length: 3)': (
        "E823",
        "`window`: expected rows of a table, got examples",
        ONCE,
    ),
    f'csv("a.csv") -> augment(noise: 0.1) -> {COLUMNS}': (
        "E823",
        "`augment`: expected examples, got rows of a table",
        ROWS,
    ),
    'csv("a.csv") -> tokens()': (
        "E823",
        "`tokens` of a table needs `columns`",
        'as in `tokens(columns: "review")`',
    ),
    f'csv("a.csv") -> tokens(columns: "a", target: "class") -> {COLUMNS}': (
        "E823",
        "`target` of `tokens` is for texts and pairs, not for a table",
        None,
    ),
    'text("a.txt") -> tokens(columns: "a")': (
        "E823",
        "`columns` of `tokens` is for tables, not for texts and pairs",
        None,
    ),
    'pairs("a.tsv") -> categories("a")': (
        "E823",
        "`categories`: expected rows of a table, got pairs of texts",
        PAIRS,
    ),
    'npz("a.npz") -> tokens()': (
        "E823",
        "`tokens`: expected a text or pairs of texts or rows of a table, got examples",
        ONCE,
    ),
    f'csv("a.csv") -> tokens(columns: ["a", "a"]) -> {COLUMNS}': (
        "E605",
        "`tokens`: no column may be named twice",
        None,
    ),
    f'csv("a.csv") -> tokens(columns: ["a", "b"]) -> categories("b") -> {COLUMNS}': (
        "E608",
        "`b` is numbered twice; one of the two would have no effect",
        None,
    ),
    'pairs("a.tsv") -> words(length: 3)': ("E823", "`words`: expected a text, got pairs of texts", PAIRS),
    'text("a.txt") -> standardize() -> characters(length: 3)': (
        "E823",
        "`standardize`: expected rows of a table or examples, got a text",
        TEXT,
    ),
    f'csv("a.csv") -> standardize(columns: ["a", "z"]) -> {COLUMNS}': (
        "E822",
        "there is no column `z` to scale",
        "the choices are a, b, c",
    ),
    'csv("a.csv") -> window(["load"], length: 3, target: "price") -> min_max(columns: "prices")': (
        "E822",
        "there is no column `prices` to scale",
        "did you mean `price`?",
    ),
    'csv("a.csv", decimal: ",")': (
        "E605",
        "`csv`: `separator` must differ from a quote, a line break and `decimal`",
        'where numbers have a decimal comma, cells are mostly separated by `;`: add `separator: ";"`',
    ),
    'csv("a.csv", separator: ";", thousands: ".")': (
        "E605",
        "`csv`: `thousands` must differ from `decimal`",
        '`1.234,5` is read with `thousands: "."` and `decimal: ","`, and `1,234.5` with `thousands: ","` alone',
    ),
}
ACCEPTED = [
    f'csv("a.csv") -> standardize() -> {COLUMNS} -> min_max(columns: "t") -> augment(noise: 0.1)',
    f'parquet("a.parquet") -> split(validation: 0.1) -> standardize(columns: ["x", "c"]) -> {COLUMNS}',
    'csv("a.csv", separator: ";", decimal: ",") -> window("a", length: 3)',
    'csv("a.csv", thousands: ",") -> window("a", length: 3)',
    'csv("a.csv") -> standardize("z") -> augment(noise: 0.1)',  # the examples are arrays from Python
    'text("a.txt") -> split(validation: 0.1) -> tokens()',
    'pairs("a.tsv") -> tokens(target: "class")',
    f'csv("a.csv") -> tokens(columns: "a") -> tokens(columns: "z", kind: "bpe") -> categories("b") -> {COLUMNS}',
    'digits("a.gz") -> standardize() -> augment(flip: true)',
    "arrays() -> min_max()",
]


@pytest.mark.parametrize("data", REFUSED)
def test_stages_that_do_not_fit_are_refused(data: str) -> None:
    with pytest.raises(NablacError) as caught:
        check(program_of(Source("m.model", MODEL.format(data=data))))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == REFUSED[data]
    assert diagnostic.span is not None


@pytest.mark.parametrize("data", ACCEPTED)
def test_stages_that_fit_are_accepted(data: str) -> None:
    check(program_of(Source("m.model", MODEL.format(data=data))))
