"""What the library says to sizes and options that do not fit, in the user's own line."""

from __future__ import annotations

import pytest

from compiler.build import elaborate, program_of
from grammar.diagnostics import NablacError
from grammar.source import Source

REFUSED = {
    "x -> MultiHeadAttention(3)": ("[batch, T, 8]", "width = 8 must split into heads = 3"),
    "x -> MultiHeadAttention(4, kv_heads: 3)": ("[batch, T, 8]", "heads = 4 must split into kv_heads = 3"),
    "x -> SinusoidalPositions()": ("[batch, T, 7]", "width = 7 must be even"),
    "x -> GroupNorm(4)": ("[batch, 6, n]", "channels = 6 must split into groups = 4"),
    "x -> Conv2D(8, 3, groups: 4)": ("[batch, 6, 9, 9]", "channels = 6 must split into groups = 4"),
    "x -> Conv2D(6, 3, groups: 4)": ("[batch, 8, 9, 9]", "filters = 6 must split into groups = 4"),
    "x -> Conv2D(6, [3, 3, 3])": ("[batch, 8, 9, 9]", "[3, 3, 3] must be one number or a list of 2"),
    "x -> Conv2D(6, 3, padding: [1, 2, 3])": ("[batch, 8, 9, 9]", "[1, 2, 3] must be one number or a list of 2"),
    'x -> Conv2D(6, 3, layout: "CHW")': ("[batch, 8, 9, 9]", "layout = CHW must be NCHW or NHWC"),
    'x -> Bidirectional(GRU(4), merge: "add")': (
        "[batch, time, 3]",
        "merge = add must be concat, sum, mean or product",
    ),
    "x -> Dense(4.5)": ("[batch, 3]", "`units` of layer Dense is a whole number, and the number 4.5 is given"),
    "x -> LSTM(4)": ("[batch, 3]", "`x` of LSTM has 3 axes, and [batch, 3] is given"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_refusal_says_what_is_wrong_where_it_was_asked_for(text: str) -> None:
    shape, message = REFUSED[text]
    source = Source("case.model", f"model M() {{\n    input x: {shape}\n    output {text}\n}}\n")
    with pytest.raises(NablacError) as caught:
        elaborate(program_of(source))
    assert message in caught.value.diagnostics[0].message
    assert (caught.value.diagnostics[0].span.source.name, caught.value.diagnostics[0].span.line) == ("case.model", 3)
