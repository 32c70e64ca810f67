"""Search: `choose` is called once for each range and choice reached, and the values are written into the text."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dump import dump
from compiler.elaborate.model_choice import choose_model
from compiler.elaborate.models import TextSource, elaborate_in, spec_of
from compiler.elaborate.program import load, program_of
from compiler.elaborate.session import Session
from compiler.elaborate.work import Work
from compiler.graph import Graph
from compiler.model_spec import ModelSpec
from compiler.search import Choices, Choose, Numbers, Options, Variable, choose_default, choose_values
from compiler.search_space import Search
from compiler.types import DType
from compiler.variable_names import variable_names
from grammar.diagnostics import Diagnostics, NablacError
from grammar.source import Source
from tests.compiler.texts import sound

MODEL = """model M({hypers}) {{
    input x: [batch, 12, 8]
    output y = x -> {stages}
}}
"""
TRAIN = """train M {{
    target t: [batch, 12, 8]
    loss mse(y, t)
    {settings}
}}
"""


def model(stages: str = "Dense(8)", hypers: str = "", settings: str | None = None) -> str:
    text = MODEL.format(stages=stages, hypers=hypers)
    return text if settings is None else text + TRAIN.format(settings=settings)


def source(text: str, preset: str | None = None, **hypers: str) -> TextSource:
    return TextSource(program_of(Source("m.model", text)), preset=preset, hypers=hypers)


def choosing(**chosen: float) -> Choose:
    """The values by name; of others the default."""
    return lambda variable: chosen.get(variable.name, choose_default(variable))


def drawing(seed: int) -> Choose:
    """A candidate at random, the bounds among them."""
    chance = random.Random(seed)

    def choose(variable: Variable) -> float:
        match variable.candidates:
            case Options(texts):
                return chance.randrange(len(texts))
            case Numbers(low, high, _, True):
                return chance.randint(int(low), int(high))
            case Numbers(low, high):
                return chance.choice([low, high, chance.uniform(low, high)])

    return choose


def text_of(choices: Choices) -> str:
    (text,) = choices.texts.values()
    return text


# Where ranges and choices stand, and what they are called

STANDING: dict[str, tuple[str, dict[str, object]]] = {
    "a hyperparameter": (model("Dense(n)", "n = 16..128"), {"n": 72}),
    "a kind": (model("cell(4)", "cell = choice(LSTM, GRU)"), {"cell": "LSTM"}),
    "a flag": (model("Dense(4, bias: b)", "b = choice(true, false)"), {"b": True}),
    "a text": (model("relu", 'k = choice("a", "b")'), {"k": "a"}),
    "an argument": (model("Dropout(0.1..0.5)"), {"Dropout.rate": 0.3}),
    "a named argument": (model("Dense(units: choice(16, 32))"), {"Dense.units": 16}),
    "two arguments": (model("Dense(4..8) -> Dense(4..8)"), {"Dense.units": 6, "Dense.units_2": 6}),
    "what is applied": (model("choice(LSTM, GRU)(4..8)"), {"layer": "LSTM", "layer.units": 6}),
    "a stage": (model("choice(Dropout(0.1..0.3), LayerNorm())"), {"layer": "Dropout", "Dropout.rate": 0.2}),
    "a function": (model("Dense(4, activation: choice(relu, tanh))"), {"Dense.activation": "relu"}),
    "an argument of a function": (model("elu(0.5..1.5)"), {"elu.alpha": 1.0}),
    "a list": (model("reshape([batch, 2..4, -1])"), {"reshape": 3}),
    "a shape": ("model M {\n input x: [b, 3]\n param W: [3, 2..4]\n output x @ W\n}\n", {"W": 3}),
    "an assignment": ("model M {\n input x: [b, 3]\n n = 2..4\n output x -> Dense(n)\n}\n", {"n": 3}),
    "a constant": ("const n = 2..4\n" + model("Dense(n) -> Dense(n)"), {"n": 3}),
    "a loop": (
        "model M {\n input x: [b, 3]\n for i in 0..3 { x = x -> Dense(2..4) }\n output x\n}\n", {"Dense.units": 3},
    ),
    "a bound of a loop": (
        "model M {\n input x: [b, 3]\n for i in 0..choice(2, 3) { x = x -> relu }\n output x\n}\n", {"i": 2},
    ),
    "a layer of the file": (
        "layer L(n = 2..4) {\n input x: [..., f]\n output x -> Dense(n)\n}\n" + model("L() -> L()"), {"L.n": 3},
    ),
    "an initializer": (
        "model M {\n input x: [b, 3]\n param W: [3] ~ choice(normal(std: 0.1..0.3), zeros)\n output x * W\n}\n",
        {"W": "normal", "normal.std": 0.2},
    ),
    "settings": (
        model(settings="batch choice(16, 32)\nepochs 5..9\nweight_decay log(1e-4..1e-2)\nclip_norm 0.5..1.5"),
        {"batch": 16, "epochs": 7, "weight_decay": 1e-3, "clip_norm": 1.0},
    ),
    "an optimizer's argument": (model(settings="optimizer adam(lr: log(1e-4..1e-2))"), {"optimizer.lr": 1e-3}),
    "an optimizer": (
        model(settings="optimizer choice(adam(lr: log(1e-4..1e-2)), sgd(lr: 0.1..0.3, momentum: 0..0.9))"),
        {"optimizer": "adam", "adam.lr": 1e-3},
    ),
    "a schedule": (
        model(settings="optimizer adam(lr: step -> cosine_decay(0.1..0.3, steps: 10..20))"),
        {"cosine_decay.rate": 0.2, "cosine_decay.steps": 15},
    ),
    "a loss": (model(settings="").replace("mse", "choice(mse, mae)"), {"loss": "mse"}),
    "data": (
        model(settings='data csv("a.csv") -> choice(standardize(), min_max()) -> window("v", length: choice(12, 24))'),
        {"data": "standardize", "window.length": 12},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STANDING)
def test_a_range_or_choice_stands_wherever_a_value_does(case: str) -> None:
    text, values = STANDING[case]
    choices = choose_values(source(text), choose_default)
    rounded = {name: round(value, 9) if isinstance(value, float) else value for name, value in choices.values.items()}
    assert list(rounded.items()) == list(values.items())
    assert list(choices.values) == [variable.name for variable in choices.variables]
    assert {name: type(value) for name, value in choices.values.items()} == {
        name: type(value) for name, value in values.items()
    }
    sound(text)
    sound(text_of(choices))
    assert choose_values(source(text_of(choices)), choose_default).values == {}


# The text

WRITTEN: dict[str, tuple[str, dict[str, float], str]] = {
    "a whole number is written as one": ("Dense(4..8)", {"Dense.units": 8.0}, "Dense(8)"),
    "a float keeps all its digits": ("Dropout(0.1..0.5)", {"Dropout.rate": 0.1 + 0.2}, "Dropout(0.30000000000000004)"),
    "a float stays one": ("Dropout(0..0.5)", {"Dropout.rate": 0}, "Dropout(0.0)"),
    "a small float": ("Dropout(log(1e-9..0.5))", {"Dropout.rate": 1e-7}, "Dropout(1e-07)"),
    "an option is its text": ("Dense(2 *  choice( 3, 1 + 1 ))", {"Dense.units": 1}, "Dense(2 *  (1 + 1))"),
    "a number below 0": ("mul(choice(-1, 2) ** 2)", {}, "mul((-1) ** 2)"),
    "a range below 0": ("mul(choice(-3..-1, 2) ** 2)", {"mul_2": -2}, "mul((-2) ** 2)"),
    "an option in parentheses": ("mul((-3..-1) ** 2)", {"mul": -2}, "mul((-2) ** 2)"),
    "what is inside of an option": ("choice(relu, Dropout( 0.1..0.5 ))", {"layer": 1}, "Dropout( 0.3 )"),
    "a choice of a choice": ("Dense(choice(choice(1, 2), 3))", {"Dense.units_2": 1}, "Dense(2)"),
    "an option that is a pipe": ("choice(relu, (Dense(2) -> Dense(3)))", {}, "relu"),
    "comments and layout": (
        "Dense(4..8,   # units\n        activation: choice(relu,  # first\n            tanh) ) # end",
        {"Dense.activation": 1},
        "Dense(6,   # units\n        activation: tanh ) # end",
    ),
    "lines of an option": ("choice(Dense(\n 3,\n bias: true), relu)", {}, "Dense(\n 3,\n bias: true)"),
    "lines outside of brackets": ("choice(Dense # units\n (3), relu)", {}, "(Dense # units\n (3))"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_the_text_keeps_all_else_as_it_was_written(case: str) -> None:
    stages, chosen, written = WRITTEN[case]
    choices = choose_values(source(model(stages)), choosing(**chosen))
    assert text_of(choices) == model(written)
    sound(text_of(choices))


@given(st.floats(0.1, 0.9))
def test_a_float_is_read_back_to_the_same_double(value: float) -> None:
    text = model("Dense(4)", "rate = 0.1..0.9")
    written = text_of(choose_values(source(text), choosing(rate=value)))
    assert source(written).spec(training=False).hypers["rate"] == value


def test_values_from_outside_are_written_in_as_defaults() -> None:
    text = model("Dense(n, activation: f) -> cell(m)", "n, m = 1..3, f = relu, cell = LSTM")
    text = text.replace("\n}", "\n    preset wide { n = 2 * 8..32, f = tanh, m = 2..4 }\n}")
    outside = source(text, "wide", m="8..16", cell="choice(GRU, SimpleRNN)")
    choices = choose_values(outside, choosing(n=31, m=9, cell=1))
    assert choices.values == {"n": 31, "m": 9, "cell": "SimpleRNN"}
    expected = text.replace("(n, m = 1..3, f = relu, cell = LSTM)", "(n = 31, m = 9, f = tanh, cell = SimpleRNN)")
    assert text_of(choices) == expected.replace("2 * 8..32", "31")
    with_preset, written = (chosen.spec(training=False).graph for chosen in (outside, source(text_of(choices))))
    assert {name: value.type.rank for name, value in with_preset.outputs.items()} == {
        name: value.type.rank for name, value in written.outputs.items()
    }


def test_what_is_imported_is_written_too(tmp_path: Path) -> None:
    (tmp_path / "layers.model").write_text(
        'from "sizes.model" import width\nlayer L(rate = 0.1..0.3) {\n input x: [..., f]\n'
        " output x -> Dense(width) -> Dropout(rate)\n}\n"
    )
    (tmp_path / "sizes.model").write_text("const width = 4..8\n")
    (tmp_path / "m.model").write_text('from "layers.model" import L\n' + model("L()"))
    choices = choose_values(TextSource(load(tmp_path / "m.model")), choosing(width=5))
    assert choices.values == {"L.rate": 0.2, "width": 5}
    for path, text in choices.texts.items():
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / path).write_text(text)
    assert choices.texts["imported/sizes.model"] == "const width = 5\n"
    assert "rate = 0.2)" in choices.texts["imported/layers.model"]
    written = TextSource(load(tmp_path / "out" / "spec.model"))
    (output,) = written.spec(training=False).graph.outputs.values()
    assert output.type.shape[-1] == 5


_NUMBERS = st.sampled_from(["1", "2.5", "-3", "(4)"])
_RANGES = st.sampled_from(["1..9", "-9 .. -1", "-2.5..0.5", "(-3..-1)", "log(1..8)", "log(0.5 ..2)"])
_EXPRESSIONS = st.recursive(
    _NUMBERS | _RANGES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda options: f"choice({', '.join(options)})"),
        inner.map(lambda value: f"({value}) ** 2"),
        inner.map(lambda value: f"-({value})"),
        st.builds("{} {} ({})".format, _NUMBERS | _RANGES.map("choice({}, 7)".format), st.sampled_from("+-*"), inner),
        st.builds("({} if choice(true, false) else {})".format, inner, inner),
        st.builds("minimum({},\n {})".format, inner, inner),
    ),
    max_leaves=8,
)


def searched_spec(searched: TextSource, choose: Choose, *, training: bool = False) -> ModelSpec:
    """The spec with the chosen values, without writing them into the text."""
    program, preset, hypers = searched.program, searched.preset, searched.hypers
    defined, diagnostics = choose_model(program, None), Diagnostics()
    search = Search(choose, variable_names(program, defined, preset, hypers))
    session = Session(training=training, float_type=DType.F32, diagnostics=diagnostics, work=Work(), search=search)
    elaboration = elaborate_in(session, program, defined, preset, hypers)
    diagnostics.raise_if_any()
    assert elaboration is not None
    return spec_of(elaboration)


@given(_EXPRESSIONS, st.integers(0, 99))
def test_the_value_of_the_text_is_the_one_that_was_chosen(expression: str, seed: int) -> None:
    text = model("Dense(8)", f"n = {expression}")
    written = text_of(choose_values(source(text), drawing(seed)))
    expected = searched_spec(source(text), drawing(seed)).hypers["n"]
    read = source(written).spec(training=False).hypers["n"]
    assert (read, type(read)) == (expected, type(expected))


# Which are reached


def test_only_what_is_evaluated_is_asked_for() -> None:
    text = model("choice(Dense(1..3), Dropout(0.1..0.3), cell(n))", "n = 1..3, cell = choice(LSTM, GRU)")
    of_layer: Mapping[int, list[str]] = {0: ["Dense.units"], 1: ["Dropout.rate"], 2: []}
    for index, names in of_layer.items():
        choices = choose_values(source(text), choosing(layer=index))
        assert list(choices.values) == ["n", "cell", "layer", *names]


def test_each_is_asked_for_once_in_both_modes() -> None:
    text = model("choice(Dropout(0.1..0.3), BatchNorm()) -> L() -> L()") + (
        "layer L(n = 2..4) {\n input x: [b, t, f]\n if training { x = x -> Dropout(0.1..0.2) }\n"
        " else { x = x * (3..4) }\n output x -> Dense(n)\n}\n"
    )
    asked: list[str] = []

    def choose(variable: Variable) -> float:
        asked.append(variable.name)
        return choose_default(variable)

    choices = choose_values(source(text), choose)
    assert asked == list(choices.values) == ["layer", "Dropout.rate", "L.n", "Dropout.rate_2", "L.x"]


def test_a_name_does_not_depend_on_what_is_chosen() -> None:
    text = model("choice(Dropout(0.1..0.3), relu) -> Dropout(0.2..0.4)")
    names = [set(choose_values(source(text), choosing(layer=index)).values) for index in (0, 1)]
    assert names == [{"layer", "Dropout.rate", "Dropout.rate_2"}, {"layer", "Dropout.rate_2"}]


def test_a_constant_is_chosen_anew_in_each_search() -> None:
    searched = source("const n = log(2..32)\n" + model("Dense(n)"))
    for value in (3, 20):
        assert f"const n = {value}\n" in text_of(choose_values(searched, choosing(n=value)))
    (output,) = searched.spec(training=False).graph.outputs.values()
    assert output.type.shape[-1] == 8


def test_an_answer_that_is_no_candidate_is_refused() -> None:
    for stages, value in (("Dense(1..3)", 4), ("Dense(1..3)", 1.5), ("Dense(choice(1, 2))", 2)):
        with pytest.raises(ValueError, match="is not a candidate of `Dense"):
            choose_values(source(model(stages)), choosing(**{"Dense.units": value}))


def test_a_range_whose_bounds_change_is_no_variable() -> None:
    text = "model M {\n input x: [b, 3]\n for i in 1..3 { x = x -> Dense(i..8 * i) }\n output x\n}\n"
    sound(text)
    with pytest.raises(NablacError) as caught:
        choose_values(source(text), choose_default)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E404"
    assert diagnostic.message == (
        "one search range has two bounds: here it is a range of whole numbers from 2 to 16, "
        "before it was a range of whole numbers from 1 to 8"
    )


# The text says what was chosen

PROGRAM = """# A network.
const width = 8..16   # of the last layer
layer Block(units = 4..6, rate = 0..0.5) {
    input x: [batch, time, features]
    output x -> Dense(units, activation: choice(relu, tanh, gelu)) -> choice(Dropout(rate), LayerNorm(), BatchNorm())
}
model M(units = 3..9, cell = choice(SimpleRNN, LSTM, GRU), deep = choice(true, false), low = -2.0 .. -1.0) {
    input x: [batch, 12, 1]
    y = x -> choice(cell(units, sequences: true), choice(GRU, LSTM)(4..6, sequences: true))  # cells
          -> (relu if deep else Dropout(0.1..0.5))
    if deep {
        for i in 0..choice(1, 2) { y = y -> Block() -> Block(rate: log(1e-3..0.5)) }
    }
    for each in [3..5, 6] { y = y * choice(each, 2.5, low ** 2, (-2.0 .. -1.0) ** 2) if is_number(each) else y }
    y = y[:, -1] -> Dense(width) -> choice(
        Dense(1),   # first
        Dense(1,
              bias: choice(false, true))
    )
    output y
    preset small { units = choice(2, 3..4) }
}
train M {
    target t: [batch, 1]
    loss choice(mse, mae)(y, t)
    metric choice(mae, mse)(y, t)
    optimizer choice(
        adam(lr: step -> cosine_decay(log(1e-4..1e-2), steps: 100..1000)),
        sgd(lr: 0.01..1.0,
            momentum: 0..0.9)
    )
    batch choice(16, 32); epochs 5..10
    weight_decay log(1e-6..1e-3)
    data csv("a.csv") -> choice(standardize(), min_max() -> split(test: 0.1..0.2))
                      -> window("v", length: choice(12, 24))
}
"""


def shown(spec: ModelSpec) -> list[object]:
    """A spec in a form that can be compared."""
    training = spec.training
    assert training is not None
    equations = [
        update if isinstance(update, NablacError) else dump(update.graph)
        for update in training.optimizer.equations.values()
    ]
    ends = {"loss": training.loss, **training.metrics}
    graph = Graph({**spec.graph.inputs, **training.targets}, {**spec.graph.outputs, **ends}, spec.graph.updates)
    stages = [(stage.name, dict(stage.arguments)) for stage in training.data]
    return [dump(graph), list(spec.graph.layers), training.settings, stages, sorted(training.metrics), equations]


@pytest.mark.parametrize("preset", [None, "small"])
@pytest.mark.parametrize("seed", range(12))
def test_the_text_elaborates_to_what_the_search_chose(seed: int, preset: str | None) -> None:
    hypers = {"cell": "choice(GRU, LSTM)", "low": "-3.0 .. -2.0"} if seed % 3 == 0 else {}
    searched = source(PROGRAM, preset, **hypers)
    choices = choose_values(searched, drawing(seed))
    values = {variable.span: chosen for variable, chosen in zip(choices.variables, _asked(searched, seed), strict=True)}
    for training in (True, False):
        chosen = searched_spec(searched, lambda variable: values[variable.span], training=training)
        assert shown(source(text_of(choices)).spec(training=training)) == shown(chosen)


def _asked(searched: TextSource, seed: int) -> list[float]:
    """What is chosen, in the order in which it is asked for: a search is a function of its answers."""
    choose, answers = drawing(seed), list[float]()

    def record(variable: Variable) -> float:
        answers.append(choose(variable))
        return answers[-1]

    choose_values(searched, record)
    return answers
