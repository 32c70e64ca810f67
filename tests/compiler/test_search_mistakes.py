"""Ranges and choices that nothing can be searched in: what `check` says of them, to the letter."""

from __future__ import annotations

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError, render_all
from grammar.source import Source

IN_MODELS: dict[str, tuple[str, str]] = {
    "a range that decreases": (
        """\
model M {
    input x: [b, 4]
    output x -> Dense(64..8)
}
""",
        """\
error[E404]: a search range must be increasing, got 64 to 8
 --> m.model:3:23
  |
3 |     output x -> Dense(64..8)
  |                       ^^^^^
""",
    ),
    "a logarithm from 0": (
        """\
model M {
    input x: [b, 4]
    output x -> Dropout(log(0..0.5))
}
""",
        """\
error[E505]: the bounds of a logarithmic range must be above 0
 --> m.model:3:25
  |
3 |     output x -> Dropout(log(0..0.5))
  |                         ^^^^^^^^^^^
""",
    ),
    "a choice of nothing": (
        """\
model M(units = choice()) {
    input x: [b, 4]
    output x -> Dense(units)
}
""",
        """\
error[E401]: choice needs values to choose from
 --> m.model:1:17
  |
1 | model M(units = choice()) {
  |                 ^^^^^^^^
help: as in `choice(25, 50, 100)`
""",
    ),
    "a range of floats for a whole number": (
        """\
model M {
    input x: [b, 4]
    output x -> Dense(8.0..64)
}
""",
        """\
error[E404]: `units` of layer Dense must be a whole number, got a range of floats from 8.0 to 64
 --> m.model:3:23
  |
3 |     output x -> Dense(8.0..64)
  |                       ^^^^^^^
 ::: std/dense.model:3:13
  |
3 | layer Dense(units: int, activation: fn = identity, bias: bool = true, initializer: fn = glorot_uniform) {
  |             ---------- declared here
help: a range of whole numbers has whole bounds: `8..64`
""",
    ),
    "a logarithmic one": (
        """\
model M(n: int = log(1.0..100)) {
    input x: [b, 4]
    output x -> Dense(n)
}
""",
        """\
error[E404]: `n` of model M must be a whole number, got a range of floats from 1.0 to 100
 --> m.model:1:18
  |
1 | model M(n: int = log(1.0..100)) {
  |                  ^^^^^^^^^^^^^
  |         ---------------------- declared here
help: a range of whole numbers has whole bounds: `log(1..100)`
""",
    ),
    "a range for a flag": (
        """\
model M {
    input x: [b, 4]
    output x -> Dense(4, bias: 0..1)
}
""",
        """\
error[E404]: `bias` of layer Dense must be true or false, got a range of whole numbers from 0 to 1
 --> m.model:3:32
  |
3 |     output x -> Dense(4, bias: 0..1)
  |                                ^^^^
 ::: std/dense.model:3:52
  |
3 | layer Dense(units: int, activation: fn = identity, bias: bool = true, initializer: fn = glorot_uniform) {
  |                                                    ----------------- declared here
help: a flag is searched by `choice(true, false)`
""",
    ),
    "bounds that are no numbers": (
        """\
model M {
    input x: [b, 4]
    output x -> Dense(4..b)
}
""",
        """\
error[E404]: the bounds of a search range must be numbers, got the size b
 --> m.model:3:23
  |
3 |     output x -> Dense(4..b)
  |                       ^^^^
""",
    ),
    "a condition": (
        """\
model M {
    input x: [b, 4]
    if 0..1 { x = relu(x) }
    output x
}
""",
        """\
error[E507]: a condition must be true or false, got a range
 --> m.model:3:8
  |
3 |     if 0..1 { x = relu(x) }
  |        ^^^^
""",
    ),
    "an index": (
        """\
model M {
    input x: [b, 4]
    output x[:, 1..2]
}
""",
        """\
error[E314]: an index must be a whole number or a tensor of them, got a range
 --> m.model:3:17
  |
3 |     output x[:, 1..2]
  |                 ^^^^
help: write a slice with `:`, as in `1:2`
""",
    ),
    "the size of an input": (
        """\
model M {
    input x: [b, 4..8]
    output x
}
""",
        """\
error[E306]: a size must be a whole number, got a range
 --> m.model:2:18
  |
2 |     input x: [b, 4..8]
  |                  ^^^^
help: the data decides the sizes of an input: name this one
""",
    ),
    "floats as a size": (
        """\
model M {
    input x: [b, 4]
    param W: [4, 2.5..5.5]
    output x @ W
}
""",
        """\
error[E306]: a size must be a whole number, got a range of floats from 2.5 to 5.5
 --> m.model:3:18
  |
3 |     param W: [4, 2.5..5.5]
  |                  ^^^^^^^^
help: a range of whole numbers has whole bounds: `2..6`
""",
    ),
    "an option that does not exist": (
        """\
model M(cell = choice(LSTM, GRUU)) {
    input x: [b, t, 4]
    output x -> cell(4)
}
""",
        """\
error[E201]: unknown name `GRUU`
 --> m.model:1:29
  |
1 | model M(cell = choice(LSTM, GRUU)) {
  |                             ^^^^
help: did you mean `GRU`?
""",
    ),
    "an option that does not fit": (
        """\
model M {
    input x: [b, 4]
    output x -> choice(Dense(3), Dense(4)) -> choice(relu, add([1, 2]))
}
""",
        """\
error[E301]: add: f32[b, 3] and f32[2] do not broadcast: axis -1 is 3 on one side and 2 on the other
  --> m.model:3:60
   |
 3 |     output x -> choice(Dense(3), Dense(4)) -> choice(relu, add([1, 2]))
   |                                                            ^^^^^^^^^^^
   |            ------------------------------- this is f32[b, 3]
   |                                                                ------ this is f32[2]
  ::: std/dense.model:14:13
   |
14 |         y = y + b
   |             ----- f32[b, 3] comes from here
""",
    ),
    "an option that fails elsewhere": (
        """\
model M(n = choice(2, 3)) {
    input x: [b, 4]
    output rearrange(x, "b (h d) -> b h d", h: n)
}
""",
        """\
error[E311]: an axis of size 4 cannot be split into `(h d)`: 4 is not a multiple of 3
 --> m.model:3:25
  |
3 |     output rearrange(x, "b (h d) -> b h d", h: n)
  |                         ^^^^^^^^^^^^^^^^^^
  |
1 | model M(n = choice(2, 3)) {
  |                       - with this option
""",
    ),
    "a range in an option": (
        """\
model M {
    input x: [b, 4]
    output x -> choice(relu, Dense(9..1))
}
""",
        """\
error[E404]: a search range must be increasing, got 9 to 1
 --> m.model:3:36
  |
3 |     output x -> choice(relu, Dense(9..1))
  |                                    ^^^^
""",
    ),
    "an option of another kind": (
        """\
model M {
    input x: [b, 4]
    output x -> Dense(choice(4, 1.5..2.5))
}
""",
        """\
error[E404]: `units` of layer Dense must be a whole number, got a range of floats from 1.5 to 2.5
 --> m.model:3:33
  |
3 |     output x -> Dense(choice(4, 1.5..2.5))
  |                                 ^^^^^^^^
 ::: std/dense.model:3:13
  |
3 | layer Dense(units: int, activation: fn = identity, bias: bool = true, initializer: fn = glorot_uniform) {
  |             ---------- declared here
""",
    ),
}
_TRAINED = """\
model M {{
    input x: [b, 4]
    y = x -> Dense(4)
    output y
}}
train M {{
    target t: [b, 4]
    {settings}
}}
"""
IN_SETTINGS: dict[str, str] = {
    "batch 0..64": """\
error[E605]: `batch` must be a whole number of at least 1, got a range of whole numbers from 0 to 64
 --> m.model:9:11
  |
9 |     batch 0..64
  |           ^^^^^
""",
    "batch choice(16, big)": """\
error[E201]: unknown name `big`
 --> m.model:9:22
  |
9 |     batch choice(16, big)
  |                      ^^^
""",
    "clip_norm choice()": """\
error[E401]: choice needs values to choose from
 --> m.model:9:15
  |
9 |     clip_norm choice()
  |               ^^^^^^^^
help: as in `choice(25, 50, 100)`
""",
    'data csv("a.csv") -> choice(standardize(), min_maxx())': """\
error[E609]: `min_maxx` is not a data stage
 --> m.model:9:48
  |
9 |     data csv("a.csv") -> choice(standardize(), min_maxx())
  |                                                ^^^^^^^^
help: did you mean `min_max`?
""",
    'data csv("a.csv") -> window("v", length: 8.0..12.0)': """\
error[E605]: `length` of `window` must be a whole number of at least 1, got a range of floats from 8.0 to 12.0
 --> m.model:9:46
  |
9 |     data csv("a.csv") -> window("v", length: 8.0..12.0)
  |                                              ^^^^^^^^^
help: a range of whole numbers has whole bounds: `8..12`
""",
    "epochs 1.5..8": """\
error[E605]: `epochs` must be a whole number of at least 1, got a range of floats from 1.5 to 8
 --> m.model:9:12
  |
9 |     epochs 1.5..8
  |            ^^^^^^
help: a range of whole numbers has whole bounds: `2..8`
""",
    "loss choice(mse, maee)(y, t)": """\
error[E201]: unknown name `maee`
 --> m.model:8:22
  |
8 |     loss choice(mse, maee)(y, t)
  |                      ^^^^
help: did you mean `mae`?
""",
    "monitor 1..3": """\
error[E605]: `monitor` must be a non-empty text, got a range of whole numbers from 1 to 3
 --> m.model:9:13
  |
9 |     monitor 1..3
  |             ^^^^
""",
    "optimizer 0.1..0.5": """\
error[E607]: expected an optimizer, got the number 0.3
 --> m.model:9:15
  |
9 |     optimizer 0.1..0.5
  |               ^^^^^^^^
help: as in `optimizer adam(lr: 1e-3)`
""",
    "optimizer choice(adam(), relu)": """\
error[E607]: expected an optimizer, got the function relu
 --> m.model:9:30
  |
9 |     optimizer choice(adam(), relu)
  |                              ^^^^
help: as in `optimizer adam(lr: 1e-3)`
""",
    "optimizer choice(adam(), sgd(lt: 0.1..0.5))": """\
error[E402]: optimizer sgd has no argument `lt`
  --> m.model:9:34
   |
 9 |     optimizer choice(adam(), sgd(lt: 0.1..0.5))
   |                                  ^^
  ::: std/optimizers.model:12:11
   |
12 | optimizer sgd(lr = 1e-2, momentum = 0.0, nesterov: bool = false, weight_decay = 0.0) {
   |           --- defined here
help: it takes lr, momentum, nesterov, weight_decay
""",
    "patience choice(0, 5)": """\
error[E605]: `patience` must be a whole number of at least 1, got the number 0
 --> m.model:9:21
  |
9 |     patience choice(0, 5)
  |                     ^
""",
    "shuffle 0..1": """\
error[E605]: `shuffle` must be true or false, got a range of whole numbers from 0 to 1
 --> m.model:9:13
  |
9 |     shuffle 0..1
  |             ^^^^
help: a flag is searched by `choice(true, false)`
""",
    "validation 0.5..1.5": """\
error[E605]: `validation` must be a fraction in [0, 1) or a text, got a range of floats from 0.5 to 1.5
 --> m.model:9:16
  |
9 |     validation 0.5..1.5
  |                ^^^^^^^^
""",
    "weight_decay log(0..1e-3)": """\
error[E505]: the bounds of a logarithmic range must be above 0
 --> m.model:9:18
  |
9 |     weight_decay log(0..1e-3)
  |                  ^^^^^^^^^^^^
""",
}


def said(text: str) -> str:
    with pytest.raises(NablacError) as caught:
        check(program_of(Source("m.model", text)))
    return render_all(caught.value.diagnostics) + "\n"


@pytest.mark.parametrize("case", IN_MODELS)
def test_a_model_is_refused_where_nothing_can_be_searched(case: str) -> None:
    text, expected = IN_MODELS[case]
    assert said(text) == expected


@pytest.mark.parametrize("setting", IN_SETTINGS)
def test_a_setting_is_refused_of_which_a_candidate_does_not_fit(setting: str) -> None:
    settings = setting if setting.startswith("loss") else f"loss mse(y, t)\n    {setting}"
    assert said(_TRAINED.format(settings=settings)) == IN_SETTINGS[setting]
