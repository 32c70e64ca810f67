"""Names that mean something everywhere are not declared: such a declaration would not be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source
from tests.compiler.texts import mistakes, sound

RESERVED = {
    "a hyperparameter": ("model M(training = true) {\n input x: [b, 4]\n output x -> Dropout(0.5)\n}", "training"),
    "a value": ("input x: [b, 4]\ntraining = true\noutput x -> Dropout(0.5)", "training"),
    "in a branch": ("input x: [b, 4]\nif 1 > 0 { training = true }\noutput y = x", "training"),
    "a loop's": ("input x: [b, 4]\nfor training in 0..2 { x = x + 1 }\noutput y = x", "training"),
    "an input": ("input training: [b, 4]\noutput y = training", "training"),
    "a dim": ("input x: [training, 4]\noutput y = x", "training"),
    "a constant": ("const training = 3\nmodel M {\n input x: [b, 4]\n output y = x\n}", "training"),
    "a definition": ("fn training(x) = x\nmodel M {\n input x: [b, 4]\n output y = x\n}", "training"),
    "an unused layer": ("layer L() {\n input x: [b, 4]\n training = false\n output x\n}", "training"),
    "an optimizer's": ("optimizer o(lr, grad = 1) { param' = param - lr * grad }", "grad"),
    "the seed of draws": ("input x: [b, 4]\ninput seed: [b, 4]\noutput y = random.normal(like: x) + seed", "seed"),
}


@pytest.mark.parametrize("name", RESERVED)
def test_a_name_of_the_language_is_not_declared(name: str) -> None:
    text, word = RESERVED[name]
    assert mistakes(text)[0] == f"E212 `{word}` is a reserved name"


def test_an_import_does_not_hide_a_reserved_name(tmp_path: Path) -> None:
    (tmp_path / "layers.model").write_text("layer L() {\n input x: [b, 4]\n training = true\n output x\n}\n")
    text = 'from "layers.model" import L\nmodel M {\n input x: [b, 4]\n output x -> L()\n}\n'
    with pytest.raises(NablacError) as caught:
        program_of(Source(str(tmp_path / "main.model"), text))
    assert [each.code for each in caught.value.diagnostics] == ["E212"]


def test_an_optimizer_may_change_the_gradient_that_it_goes_by() -> None:
    sound("optimizer o(lr) {\n grad = clip(grad, -1, 1)\n param' = param - lr * grad\n}\n")


def test_a_model_without_draws_may_have_an_input_called_seed() -> None:
    sound("input seed: [b, 4]\noutput y = seed + 1")
