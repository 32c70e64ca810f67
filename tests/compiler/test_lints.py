"""Warnings: what gets one, what gets none, and how a comment allows one."""

from __future__ import annotations

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import load, program_of
from compiler.lints.linting import warnings_of
from grammar.source import Source
from tests.paths import SPECS


def warned(text: str) -> list[str]:
    """The warnings of a text, as `CODE:LINE`."""
    program = program_of(Source("case.model", text))
    warnings = warnings_of(program, check(program))
    return [f"{warning.code}:{warning.span.line}" for warning in warnings if warning.span is not None]


MODEL = "model M() {{\n    input x: [batch, 4]\n{}\n}}\n"
UNREAD = [
    ("an unread layer", "    h = x -> Dense(3)\n    output x", ["W201:3"]),
    ("a name with _", "    _h = x -> Dense(3)\n    output x", []),
    ("one of two results", "    a, b = split(x, 2, axis: 1)\n    output a", []),
    ("no result of two", "    a, b = split(x, 2, axis: 1)\n    output x", ["W201:3"]),
    ("assigned again", "    h = x -> Dense(3)\n    h = x -> Dense(5)\n    output h", ["W201:3"]),
    ("read by the next", "    h = x -> Dense(3)\n    h = h -> Dense(5)\n    output h", []),
    ("read in a loop", "    h = x\n    for i in 0..2 {\n        h = h -> Dense(4)\n    }\n    output h", []),
    ("written in a loop only", "    for i in 0..2 {\n        h = x -> Dense(4)\n    }\n    output x", ["W201:4"]),
    ("in a branch, read behind it", "    h = x\n    if true {\n        h = x -> Dense(4)\n    }\n    output h", []),
    ("in a message", '    n = 3\n    assert true, "{n}"\n    output x', []),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in UNREAD], ids=[case[0] for case in UNREAD])
def test_values_that_nothing_reads_get_a_warning(body: str, expected: list[str]) -> None:
    assert warned(MODEL.format(body)) == expected


def test_what_the_train_block_reads_is_read() -> None:
    text = MODEL.format("    h = x -> Dense(1)\n    output x") + "train M {\n    loss mean(h ** 2)\n}\n"
    assert warned(text) == []


INPUTS = [
    ("input x: [4]", "x -> Dense(2)", ["W302:2"]),
    ("input x: [n, 4]", "x -> Dense(2)", []),
    ("input x: [4], scale: [batch]", "scale", []),
    ("input x: f32", "x + 1", []),
    ("input x: [batch, 28, 28, 1]", "x -> Conv2D(2, 3)", ["W301:2"]),
    ("input x: [batch, 28, 28, 1]", "x / 255 -> Conv2D(2, 3)", ["W301:2"]),
    ("input x: [batch, 28, 28, 1]", 'x -> Conv2D(2, 3, layout: "NHWC")', []),
    ("input x: [batch, 3, 32, 32]", "x -> Conv2D(2, 3)", []),
    ("input x: [batch, 3, 4, 4]", "x -> Conv2D(2, 3)", []),
    ("input x: [batch, 1, 28, 28]", "x -> Conv2D(64, 3) -> Conv2D(2, 3)", []),
]


@pytest.mark.parametrize(("declared", "output", "expected"), INPUTS)
def test_inputs_without_batch_and_with_channels_last_get_a_warning(
    declared: str, output: str, expected: list[str]
) -> None:
    assert warned(f"model M() {{\n    {declared}\n    output {output}\n}}\n") == expected


LOSSES = [
    ("loss -mean(log_softmax(softmax(y), axis: -1))", ["W601:6"]),
    ("loss -mean(log_softmax(transpose(softmax(y), [1, 0]), axis: -1))", ["W601:6"]),
    ("loss -mean(log(softmax(y)))", []),
    ("loss mean(y)\n    metric mse(y, x)", []),
    ("loss mean(y)\n    metric own = mean(y)", ["W602:7"]),
    ('loss mean(y)\n    metric own = mean(y)\n    monitor "val_own"\n    mode "max"', []),
]


@pytest.mark.parametrize(("settings", "expected"), LOSSES)
def test_losses_and_metrics_get_a_warning(settings: str, expected: list[str]) -> None:
    text = MODEL.format("    output y = x -> Dense(4)")
    assert warned(f"{text}train M {{\n    {settings}\n}}\n") == expected


COMMENTS = [
    ("behind the line", "    h = x -> Dense(3)  # nablac: allow W201\n    output x", []),
    ("above it", "    # nablac: allow W201 (later)\n    h = x -> Dense(3)\n    output x", []),
    ("several", "    # nablac: allow W302, W201: later\n    h = x -> Dense(3)\n    output x", ["W102:3"]),
    ("in another line", "    h = x -> Dense(3)\n    output x  # nablac: allow W201", ["W201:3", "W102:4"]),
    ("another code", "    h = x -> Dense(3)  # nablac: allow W302\n    output x", ["W201:3", "W102:3"]),
    ("one of two", "    h = x -> Dense(3)  # nablac: allow W201, W302\n    output x", ["W102:3"]),
    ("nothing", "    output x  # nablac: allow W201", ["W102:3"]),
    ("twice", "    # nablac: allow W201\n    h = x -> Dense(3)  # nablac: allow W201\n    output x", []),
    ("nothing below", "    output x\n    # nablac: allow W201", ["W102:4"]),
    ("a misspelt word", "    output x  # nablac: alow W201", ["W101:3"]),
    ("another word", "    output x  # nablac: ignore W201", ["W101:3"]),
    ("a large letter", "    output x  # nablac: Allow W201", ["W101:3"]),
    ("no colon", "    output x  # nablac allow W201", ["W101:3"]),
    ("a colon behind", "    output x  # nablac: allow: W201", ["W101:3"]),
    ("prose of nablac", "    output x  # nablac: the compiler warns of W201", []),
    ("prose that allows", "    output x  # nablac allows any size", []),
    ("an unknown code", "    output x  # nablac: allow W999", ["W101:3"]),
    ("an error", "    output x  # nablac: allow E301", ["W101:3"]),
    ("no code", "    output x  # nablac: allow", ["W101:3"]),
    ("prose", "    output x  # allow W999", []),
]


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in COMMENTS], ids=[case[0] for case in COMMENTS])
def test_a_comment_allows_a_warning(body: str, expected: list[str]) -> None:
    assert warned(MODEL.format(body)) == expected


def test_a_comment_above_a_declaration_allows_it_in_the_whole() -> None:
    text = MODEL.format("    h = x -> Dense(3)\n    output x")
    assert warned("# nablac: allow W201\n" + text) == []
    assert warned("# nablac: allow W201\n" + text + text.replace("M()", "N()")) == ["W201:9"]


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.model")), ids=lambda path: path.stem)
def test_the_shipped_specs_have_no_warnings(path: object) -> None:
    program = load(str(path))
    assert warnings_of(program, check(program)) == []
