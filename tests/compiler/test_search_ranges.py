"""Ranges and choices without a search: the middle, the first option, and ranges that a loop iterates over."""

from __future__ import annotations

import pytest

from compiler.dump import dump
from compiler.elaborate.checking import check
from compiler.elaborate.models import elaborate_in
from compiler.elaborate.option_checks import OptionChecks, search_of
from compiler.elaborate.program import program_of
from compiler.elaborate.session import Session
from compiler.elaborate.work import Work
from compiler.search import choose_default, choose_values
from compiler.types import DType
from grammar.diagnostics import Diagnostics
from grammar.source import Source
from tests.compiler.texts import mistakes
from tests.models import elaborate, text_source

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


LOOPS = {
    "behind in": "for i in 0..3 { x = x + i }",
    "a constant": "for i in r { x = x + i }",
    "a name": "s = 0..3\n for i in s { x = x + i }",
    "ranges in a list": "for s in [0..1, 1..3] { for i in s { x = x + i } }",
    "chosen": "for i in 0..3 if true else 0..2 { x = x + i }",
    "an argument": "x = x -> Counted(0..3)",
    "a constant as an argument": "x = x -> Counted(many: r)",
    "an argument of a function": "x = x -> counted(0..3)",
}
COUNTED = """const r = 0..3
layer Counted(many) {
    input x: [b, f]
    if true { for i in many { x = x + i } }
    output x
}
fn counted(x, many) {
    for i in many { x = x + i }
    output x
}
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_range_that_a_loop_iterates_over_is_not_searched(loop: str) -> None:
    text = f"{COUNTED}model M {{\n input x: [b, 3]\n {LOOPS[loop]}\n output x\n}}\n"
    source = text_source(text)
    expected = f"{COUNTED}model M {{\n input x: [b, 3]\n x = x + 0 + 1 + 2\n output x\n}}\n"
    assert dump(source.spec(training=False).graph) == dump(elaborate(expected))
    assert choose_values(source, choose_default).values == {}


def test_a_choice_of_the_file_hides_that_of_the_language() -> None:
    text = "fn choice(x, y) = x + y\nmodel M {\n input x: [b, 3]\n output choice(x, 1) -> choice(2)\n}\n"
    source = text_source(text)
    check(source.program)
    assert choose_values(source, choose_default).values == {}
    assert dump(source.spec(training=False).graph).count("= add") == 2


def test_each_option_is_elaborated_once_however_many_choices_there_are() -> None:
    """Their combinations would be 2**40."""
    text = "model M {\n input x: [b, 3]\n" + " x = x -> choice(relu, tanh)\n" * 40 + " output x\n}\n"
    check(program_of(Source("m.model", text)))


def test_a_check_without_work_left_leaves_options_out() -> None:
    text = "model M {\n input x: [b, 3]\n output x -> choice(Dense(3), Dense(4, 5, 6))\n}\n"
    program, reported = program_of(Source("m.model", text)), []
    for work in (Work(100), Work()):
        diagnostics, search = Diagnostics(), search_of({})
        session = Session(training=False, float_type=DType.F32, diagnostics=diagnostics, work=Work(), search=search)
        elaborate_in(session, program, program.models[0], None, {})
        OptionChecks(program, work).run(search, program.models[0], None, {}, diagnostics)
        reported.append([diagnostic.code for diagnostic in diagnostics.reported])
    assert reported == [[], ["E404"]]


def test_only_the_model_that_is_searched_gives_names() -> None:
    other = "model Other(n = 1..3) {\n input x: [b, 3]\n output y = x -> Dense(n)\n}\n"
    trained = other + "train Other {\n target t: [b, 2]\n loss mse(y, t)\n epochs 1..3\n}\n"
    text = trained + "model M(n = 4..6) {\n input x: [b, 3]\n output x -> Other() -> Dense(n)\n}\n"
    for model, values in (("M", {"n": 5, "Other.n": 2}), ("Other", {"n": 2, "epochs": 2})):
        source = text_source(text, model=model)
        assert choose_values(source, choose_default).values == values
