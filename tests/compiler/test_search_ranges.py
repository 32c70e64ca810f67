"""What a hyperparameter is where nothing is searched: of a range the middle, of a choice the first."""

from __future__ import annotations

import pytest

from tests.compiler.texts import mistakes
from tests.models import elaborate

MODEL = """model M(units: int = {default}) {{
    input x: [batch, 3]
    output x -> Dense(units)
    preset other {{ units = {preset} }}
}}
"""
SETTLED = {"choice(25, 50)": 25, "20 .. 40": 30, "log(1 .. 100)": 10, "log(1 .. 50)": 7, "8": 8}


@pytest.mark.parametrize("written", SETTLED)
def test_a_range_settles_as_a_default_in_a_preset_and_from_outside(written: str) -> None:
    def units(default: str = "1", chosen: str = "1", preset: str | None = None, **hypers: str) -> object:
        text = MODEL.format(default=default, preset=chosen)
        (made,) = elaborate(text, preset=preset, hypers=hypers).outputs.values()
        return made.shape[-1]

    assert units(default=written) == SETTLED[written]
    assert units(chosen=written, preset="other") == SETTLED[written]
    assert units(units=written) == SETTLED[written]


REFUSED = {
    "9 .. 1": "E404 a search range must be increasing, got 9 to 1",
    "log(0 .. 1e-2)": "E505 the bounds of a logarithmic range must be above 0",
    "log(-1 .. 1e-2)": "E505 the bounds of a logarithmic range must be above 0",
    "log(1 .. 1e-2)": "E404 a search range must be increasing, got 1 to 0.01",
    "true .. false": "E404 the bounds of a search range must be numbers, got true",
}


@pytest.mark.parametrize("written", REFUSED)
def test_a_range_to_search_goes_up(written: str) -> None:
    assert mistakes(f"model M(n = {written}) {{\n input x: [b, 4]\n output y = x * n\n}}\n") == [REFUSED[written]]
