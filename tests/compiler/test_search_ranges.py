"""What a hyperparameter is where nothing is searched: of a range the middle, of a choice the first."""

from __future__ import annotations

import pytest

from compiler.build import elaborate, program_of
from grammar.source import Source

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
        program = program_of(Source("m.model", MODEL.format(default=default, preset=chosen)))
        (made,) = elaborate(program, preset=preset, hypers=hypers).outputs.values()
        return made.shape[-1]

    assert units(default=written) == SETTLED[written]
    assert units(chosen=written, preset="other") == SETTLED[written]
    assert units(units=written) == SETTLED[written]
