"""Statements and declarations, and where they end."""

from __future__ import annotations

import pytest

from grammar.syntax import Assert, Assign, Const, Declare, Definition, For, If, Import, Output, Preset, Setting, Train
from tests.grammar.trees import body, brief, parsed, shape


def declared(text: str) -> list[str]:
    (node,) = body(text)
    assert isinstance(node, Declare)
    descriptions = []
    for name in node.names:
        type = name.type
        dtype = type.dtype.text if type is not None and type.dtype is not None else ""
        dims = " ".join(map(brief, type.dims)) if type is not None else "none"
        descriptions.append(f"{name.name.text}{'?' if name.optional else ''} {dtype}[{dims}]")
    return descriptions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input x: [..., features]", ["x [... features]"]),
        ("input x?: bool[batch, S]", ["x? bool[batch S]"]),
        ("input q: [b, T], k: i64[b, S], mask?: bool[b]", ["q [b T]", "k i64[b S]", "mask? bool[b]"]),
        ("param W_f, W_i: [a + b, 2*n + 1] ~ init()", ["W_f [(+ a b) (+ (* 2 n) 1)]", "W_i [(+ a b) (+ (* 2 n) 1)]"]),
        ("input x: [(h - k) // s + 1]", ["x [(+ (// (- h k) s) 1)]"]),
        ("state m, v = 0", ["m [none]", "v [none]"]),
        ("input s: f32", ["s f32[]"]),
        ("input s: []", ["s []"]),
        ("input s: f32[]", ["s f32[]"]),
        ("buffer input: [state,]", ["input [state]"]),
    ],
)
def test_a_declaration_of_tensors_reads(text: str, expected: list[str]) -> None:
    assert declared(text) == expected


def test_an_initializer_is_drawn_or_fixed() -> None:
    drawn, fixed, absent = body("param a: [n] ~ zeros()\nparam b: [n] = 0\ninput c: [n]")
    assert (drawn.drawn, brief(drawn.initializer)) == (True, "(call zeros)")
    assert (fixed.drawn, brief(fixed.initializer)) == (False, "0")
    assert (absent.drawn, absent.initializer) == (False, None)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("y = x; z = y", [Assign, Assign]),
        ("h' = x\noutput h'", [Assign, Output]),
        ("a, _ = f(x)", [Assign]),
        ("if bias { param b: [units] = 0 }", [If]),
        ("if a { x = 1 } else { x = 2 }\nz = 3", [If, Assign]),
        ("if a { x = 1 }\n\n# then\nelse if b { x = 2 }\nelse { x = 3 }", [If]),
        ("for i in 0..3 { y = x } z = 1", [For, Assign]),
        ("for i in layers\n{\n y = x\n}", [For]),
        ('assert n % 2 == 0, "odd {n}"', [Assert]),
        ("preset base { width = 512, heads = 8 }", [Preset]),
        ("preset base {\n width = 512\n heads = 8,\n}", [Preset]),
        ("output a, b\noutput name = c", [Output, Output]),
        ("param' = param - lr * grad", [Assign]),
        ("state = 3\ninput, x = f(y)\noutput, h = g(x)", [Assign, Assign, Assign]),
        ("layer = 3; model = 4; in = 5", [Assign, Assign, Assign]),
    ],
)
def test_statements_end_where_they_should(text: str, kinds: list[type]) -> None:
    assert [type(node) for node in body(text)] == kinds


def test_the_settings_of_a_train_block_are_names_and_values() -> None:
    text = """train Net {
        target next: f32[batch, 1]
        loss mse(y, next)
        metric error = mae(y, next)
        optimizer adam(lr: log(1e-4 .. 1e-2))
        batch 32
        state (x)
        if big { epochs 50 }
        data csv("a.csv")
             -> window("p", length: 12)
        gap = 3
    }"""
    text = text.replace("        state (x)\n", "")
    (train,) = parsed(text).declarations
    assert isinstance(train, Train)
    kinds = [type(node) for node in train.body]
    assert kinds == [Declare, Setting, Setting, Setting, Setting, If, Setting, Assign]
    assert [node.name.text for node in train.body if isinstance(node, Setting)] == [
        "loss",
        "metric",
        "optimizer",
        "batch",
        "data",
    ]
    assert [node.label.text for node in train.body if isinstance(node, Setting) and node.label] == ["error"]


@pytest.mark.parametrize(
    ("statement", "value", "over_epoch"),
    [
        ("metric auc(y, t) over epoch", "(call auc y t)", "over epoch"),
        ("metric e = mae(y, t)   over   epoch # once", "(call mae y t)", "over   epoch"),
        ("metric y -> mae(t) over epoch; epochs 3", "(-> y (call mae t))", "over epoch"),
        ("metric over over epoch", "over", "over epoch"),
        ("metric W over epoch", "W", "over epoch"),
        ("metric h^T over epoch", "(^T h)", "over epoch"),
        ("metric over epoch", "(side over epoch)", None),
        ("metric W over", "(side W over)", None),
        ("metric a + over", "(+ a over)", None),
        ("metric mean(over, epoch)", "(call mean over epoch)", None),
        ("metric e = over", "over", None),
        ("epoch 3", "3", None),
        ("over 3", "3", None),
    ],
)
def test_over_epoch_follows_a_value_and_is_two_names_elsewhere(
    statement: str, value: str, over_epoch: str | None
) -> None:
    (train,) = parsed(f"train Net {{\n over = 1\n epoch = over\n {statement}\n}}").declarations
    assert isinstance(train, Train)
    setting = train.body[2]
    assert isinstance(setting, Setting)
    assert brief(setting.value) == value
    assert (setting.over_epoch.text if setting.over_epoch else None) == over_epoch


def test_several_declarations_may_share_a_line() -> None:
    text = "layer A(n) { } layer B { } fn f(x) = x; const k = 2"
    assert [type(node) for node in parsed(text).declarations] == [Definition, Definition, Definition, Const]


def test_a_function_is_a_definition_with_one_output() -> None:
    one, two = parsed("fn f(x, axis = -1) = x + 1\nfn f(x, axis = -1) { output x + 1 }").declarations
    assert shape(one) == shape(two)


def test_hyperparameters_have_kinds_and_defaults() -> None:
    (node,) = parsed("layer D(\n  units: int,\n  act = relu,\n  bias: bool = true,\n  input,\n) { }").declarations
    assert isinstance(node, Definition)
    hypers = [(hyper.name.text, hyper.kind.text if hyper.kind else None, brief(hyper.default)) for hyper in node.hypers]
    assert hypers == [("units", "int", "."), ("act", None, "relu"), ("bias", "bool", "True"), ("input", None, ".")]


def test_an_import_names_its_file_and_names() -> None:
    (node,) = parsed('from "cells.model" import A, B').declarations
    assert isinstance(node, Import)
    assert (node.path.value, [name.text for name in node.names]) == ("cells.model", ["A", "B"])


def test_docstrings_are_dedented() -> None:
    file = parsed('"""About\n   the file."""\nlayer L {\n    """One.\n\n    Two\n      three.\n    """\n}\n')
    assert file.doc == "About\nthe file."
    (node,) = file.declarations
    assert isinstance(node, Definition)
    assert node.doc == "One.\n\nTwo\n  three."


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", ";", "\t\r\n"])
def test_a_file_may_be_empty(text: str) -> None:
    file = parsed(text)
    assert file.declarations == ()
    assert (file.span.start, file.span.end) == (0, len(text))


def test_line_ends_of_every_system_are_read() -> None:
    lines = ["layer L {", "  input x: [a]", "  output x", "}", ""]
    shapes = {shape(parsed(end.join(lines))) for end in ("\n", "\r\n", "\r")}
    assert len(shapes) == 1
