"""The canonical text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from grammar.parser import comments_of, parse, read_source
from grammar.printer import print_file
from grammar.source import Source
from tests.grammar.model_texts import FILES
from tests.grammar.trees import parsed, shape

SPECS = Path(__file__).parents[2] / "specs"
MODELS = sorted(SPECS.rglob("*.model"))

CASES = [
    ("spaces", "layer  L( a,b =2 ){y=a+b*-1}", "layer L(a, b = 2) { y = a + b * -1 }\n"),
    ("indentation", "layer L {\ninput x:[a]\n\n\n\n  output x }", "layer L() {\n    input x: [a]\n\n    output x\n}\n"),
    ("one line stays one", "layer L {\n if b {param w:[n]=0}\n x=1\n}",
     "layer L() {\n    if b { param w: [n] = 0 }\n    x = 1\n}\n"),
    ("a metric's name", "train M {\n metric e=mae(y)\n}", "train M {\n    metric e = mae(y)\n}\n"),
    ("a metric over epoch", "train M {\n metric  e=auc(y,t)over   epoch # c\n metric y->mse(t) over epoch\n}",
     "train M {\n    metric e = auc(y, t) over epoch  # c\n    metric y -> mse(t) over epoch\n}\n"),
    ("a long metric over epoch", "train M {\n metric f(\n a,\n b) over epoch\n}",
     "train M {\n    metric f(\n        a,\n        b,\n    ) over epoch\n}\n"),
    ("settings align", "train M {\n loss mse(y)\n epochs 5\n}", "train M {\n    loss   mse(y)\n    epochs 5\n}\n"),
    (
        "comments stay",
        "# top\n\n# about L\nlayer L { # head\n  # before\n  x = 1 # beside\n  # last\n}\n# end",
        "# top\n\n# about L\nlayer L() {  # head\n    # before\n    x = 1  # beside\n    # last\n}\n\n# end\n",
    ),
    (
        "a pipe of stages",
        "layer L {\n y = x -> A() # one\n -> B()\n # between\n -> C()\n z = 1\n}",
        "layer L() {\n    y = x -> A()  # one\n          -> B()\n    # between\n          -> C()\n    z = 1\n}\n",
    ),
    (
        "comments of a group of lines align",
        "layer L { # head\n x = 1          # one\n y = 0\n longer = 2 # two\n y = 3 + 4 + 5 + 6\n\n z = 4   # four\n}",
        "layer L() {  # head\n    x = 1       # one\n    y = 0\n    longer = 2  # two\n"
        "    y = 3 + 4 + 5 + 6\n\n    z = 4  # four\n}\n",
    ),
    (
        "comments that would pass the width do not align",
        f"const a = 1 # {'c' * 100}\nconst longer_name = 2 # two",
        f"const a = 1  # {'c' * 100}\nconst longer_name = 2  # two\n",
    ),
    (
        "a comment behind a long pipe",
        "layer L {\n y = x" + " -> Dense(3)" * 12 + "  # p\n}",
        "layer L() {\n    y = x -> Dense(3)\n" + "          -> Dense(3)\n" * 10 + "          -> Dense(3)  # p\n}\n",
    ),
    ("else if", "fn f(x) { if a { y=1 } else { if b { y=2 } } output y }",
     "fn f(x) {\n    if a {\n        y = 1\n    } else if b {\n        y = 2\n    }\n    output y\n}\n"),
    ("a function", "fn f( x ) { output x+1 }", "fn f(x) = x + 1\n"),
    ("an empty file", "\n \n", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_canonical_text_is(text: str, expected: str) -> None:
    printed = print_file(parsed(text))
    assert printed == expected
    assert print_file(parsed(printed)) == printed


@pytest.mark.parametrize("path", MODELS, ids=[str(path.relative_to(SPECS)) for path in MODELS])
def test_a_printed_file_has_the_same_tree_and_comments(path: Path) -> None:
    source = read_source(path)
    tree = parse(source)
    printed = Source("printed.model", print_file(tree))
    again = parse(printed)
    assert shape(again) == shape(tree)
    comments = [comment.text.rstrip() for comment in comments_of(source)]
    assert [comment.text.rstrip() for comment in comments_of(printed)] == comments
    assert print_file(again) == printed.text


@given(FILES)
@settings(max_examples=60, deadline=None)
def test_printing_keeps_the_tree_and_the_comments_of_any_text_and_is_idempotent(text: str) -> None:
    source = Source("case.model", text)
    try:
        tree = parse(source)
    except NablacError:
        assume(False)
    printed = Source("case.model", print_file(tree))
    again = parse(printed)
    assert shape(again) == shape(tree)
    assert [comment.text.rstrip() for comment in comments_of(printed)] == [
        comment.text.rstrip() for comment in comments_of(source)
    ]
    assert print_file(again) == printed.text


@given(FILES, st.data())
@settings(max_examples=60, deadline=None)
def test_the_columns_of_comments_do_not_matter(text: str, data: st.DataObject) -> None:
    try:
        before = parse(Source("case.model", text))
        comments = comments_of(before.span.source)
        for comment in reversed(comments):
            spaces = " " * data.draw(st.integers(0, 60))
            text = text[: comment.span.start] + spaces + text[comment.span.start :]
        after = parse(Source("case.model", text))
    except NablacError:
        assume(False)
    assert print_file(after) == print_file(before)
