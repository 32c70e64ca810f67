"""What nothing applies is checked as well: calls in it, statements that have no place in it, presets."""

from __future__ import annotations

import pytest

from tests.compiler.texts import mistakes, sound

MODEL = "model M {\n input x: [b, 4]\n output y = x\n}\n"
UNAPPLIED = {  # each in a declaration that nothing applies
    'x -> Dense(units: "a")': 'E404 `units` of layer Dense must be a whole number, got the text "a"',
    'x -> Dense(4, activation: "relu")': 'E404 `activation` of layer Dense must be a function, got the text "relu"',
    "x -> Dense()": "E401 layer Dense needs `units`",
    "x -> Dense(4, unit: 3)": "E402 layer Dense has no argument `unit`",
    "Dropout(0.5, 3)(x)": "E403 layer Dropout takes 1 argument: rate",
    "sum(x, dim: 3)": "E402 sum has no argument `dim`",
    "x -> mse()": "E401 fn mse needs `target`",
    "x -> mse(x, x)": "E403 fn mse takes 2 arguments: y, target",
    "matmul(x)": "E401 matmul needs `y`",
    "log(8, 2)": "E403 log takes 1 argument: x",
    "iota()": "E401 iota needs `size`",
    "concat([x], axes: 1)": "E402 concat has no argument `axes`",
    "max_pool(x)": "E401 max_pool needs `kernel`",
    "relu(x, x: 1)": "E416 `x` is given twice",
    "x -> relu -> softmax(axis: 1, 2)": "E422 a positional argument follows a named argument",
}


@pytest.mark.parametrize("text", UNAPPLIED)
@pytest.mark.parametrize("kind", ["layer L() {{\n input x: [b, f]\n output {}\n}}\n", "fn f(x) = {}\n"])
def test_arguments_are_checked_where_nothing_applies_the_declaration(kind: str, text: str) -> None:
    assert mistakes(kind.format(text) + MODEL) == [UNAPPLIED[text]]


def test_an_initializer_is_given_the_shape_first() -> None:
    layer = "layer L() {{\n input x: [b, f]\n param W: [f, 3] ~ {}\n output x @ W\n}}\n"
    assert mistakes(layer.format("normal(0.1, 0.2, 0.3)") + MODEL)[0].startswith("E403 fn normal takes ")
    sound(layer.format("normal(std: 0.1)") + MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "fn f(x, relu) = relu(x, 2, 3)\n",
        "fn f(x, y) = x -> where(y > 0, _, 0.0)\n",
        "fn f(x, y, c) = x -> maximum(_ if c else y)\n",
        "fn f(x) = sum(x, axes: [0, 1])\n",
        'fn f(x) = x -> rearrange("b (h d) -> b h d", h: 2)\n',
        "layer L(n = 2) {\n input x: [b, f]\n output x -> Dense(n, activation: tanh)\n}\n",
    ],
)
def test_what_only_an_application_can_tell_is_left_to_it(text: str) -> None:
    sound(text + MODEL)


PRESETS = {
    'preset p { n = "a" }': ['E404 `n` of model M must be a whole number, got the text "a"'],
    "preset p { n = -3 }": ["E501 units = -3 must be at least 1"],
    "preset p { m = 3 }": ["E402 model M has no hyperparameter `m`"],
    "preset p { n = 9 .. 1 }": ["E404 a search range must be increasing, got 9 to 1"],
    "preset p { n = 5 }\n preset p { n = 6 }": ["E202 preset `p` is declared twice in model M"],
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_checked_as_sizes_of_their_model(preset: str) -> None:
    found = mistakes(f"model M(n: int = 4) {{\n input x: [b, 4]\n output x -> Dense(n)\n {preset}\n}}\n")
    assert found == PRESETS[preset]


MISPLACED = {
    "preset p { n = 3 }": "E414 a preset belongs to a model, not to a layer",
    "state s: [b, f] = 0": "E414 `state` is not allowed in a layer",
    "for i in 0..2 { target t: [b] }": "E414 `target` is not allowed in a layer",
}


@pytest.mark.parametrize("statement", MISPLACED)
def test_what_has_no_place_in_a_layer_has_none_where_nothing_applies_it(statement: str) -> None:
    layer = f"layer L(n = 4) {{\n input x: [b, f]\n {statement}\n output x\n}}\n"
    assert mistakes(layer + MODEL) == [MISPLACED[statement]]
