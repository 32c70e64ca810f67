"""Training on arrays: axis 0 counts the examples, and the stages and shares of a train block hold for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training

# Axes of examples: the inputs, the target, the arrays, and what is said

AXES = {
    "a square": ("x: [batch, batch]", {"x": (8, 8)}, "`x` is f32[batch, batch]: `batch` counts the examples, but"),
    "a graph": (
        "x: [batch, 2], a: [batch, batch]",
        {"x": (8, 2), "a": (8, 8)},
        "`a` is f32[batch, batch]: `batch` counts the examples, but is also the size of axis 1",
    ),
    "two names": (
        "x: [batch, 2], s: [m, 2]",
        {"x": (8, 2), "s": (8, 2)},
        "axis 0 is `batch` in `x` and `m` in `s`: both must count examples",
    ),
    "a number": (
        "x: [batch, 2], s: [4, 2]",
        {"x": (8, 2), "s": (8, 2)},
        "axis 0 is `batch` in `x` and `4` in `s`: both must count examples",
    ),
    "no axis": ("x: [batch, 2], s: f32[]", {"x": (8, 2), "s": (8,)}, "`s` is f32[], which has no axis of examples"),
}


def by_axes(inputs: str, shapes: dict[str, tuple[int, ...]], settings: str = "", **options: object) -> Training:
    uses = " + ".join(f"0.0 * sum({name})" for name in shapes)
    text = f"model M {{\n input {inputs}\n y = zeros([batch, 2]) -> Dense(1)\n output y + {uses}\n}}\n"
    text += f"train M {{\n target t: [batch, 1]\n loss mse(y, t)\n {settings}\n}}\n"
    arguments = {name: np.ones(shape, np.float32) for name, shape in {**shapes, "t": (8, 1)}.items()}
    run = Training(TextSource(program_of(Source("m.model", text))), options=Options(**options))  # type: ignore[arg-type]
    run.examples = from_arrays(arguments, "data")
    return run


@pytest.mark.parametrize("name", AXES)
def test_axis_0_alone_counts_the_examples(name: str) -> None:
    inputs, shapes, message = AXES[name]
    with pytest.raises(NablacError) as caught:
        by_axes(inputs, shapes).data  # noqa: B018
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E624" and diagnostic.message.startswith(message)


def test_what_belongs_to_all_examples_is_trained_on_at_once() -> None:
    inputs, shapes, _ = AXES["a graph"]
    run = by_axes(inputs, shapes, "shuffle false\n batch 8\n epochs 2")
    loop = run.loop()
    loop.run()
    assert loop.position.step == 2
    for other in ({"batch": 4}, {"validation": 0.5}):
        with pytest.raises(NablacError):
            by_axes(inputs, shapes, "shuffle false\n batch 8", **other).data  # noqa: B018


ARRAYS = """
model M { input x: [batch, 2]; y = x -> Dense(1); output y }
train M { target t: [batch, 1]; loss mse(y, t); epochs 1; SETTINGS; data DATA }
"""


def given_arrays(data: str, settings: str = "batch 4", **options: Any) -> Training:
    generator = np.random.default_rng(8)
    x = generator.normal(size=(20, 2)) * [3, 40] + [100, -7]
    text = ARRAYS.replace("DATA", data).replace("SETTINGS", settings)
    run = Training(TextSource(program_of(Source("m.model", text))), options=Options(**options))
    run.examples = from_arrays({"x": x, "t": x[:, :1] * 5}, "arrays")
    return run


@pytest.mark.parametrize("source", ["arrays()", 'csv("absent.csv")'])
def test_stages_hold_for_arrays_that_are_given(source: str) -> None:
    run = given_arrays(f'{source} -> standardize("x") -> split(validation: 0.25, order: "time") -> augment(noise: 0.1)')
    data, raw = run.data, run.examples
    assert raw is not None
    first = raw.arrays["x"][:15]
    assert data.parts["validation"].tolist() == [15, 16, 17, 18, 19] and data.augmentations == {"noise": 0.1}
    np.testing.assert_allclose(data.arrays["x"], (raw.arrays["x"] - first.mean(0)) / first.std(0), rtol=1e-5)
    np.testing.assert_array_equal(data.arrays["t"], raw.arrays["t"].astype(np.float32))


def test_stages_that_read_a_table_have_nothing_to_do_with_arrays() -> None:
    data = 'csv("absent.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["c"])'
    assert set(given_arrays(data).data.scalings) == {"x", "t"}
    with pytest.raises(NablacError, match="`columns` makes examples of a table or a text, but arrays are examples"):
        given_arrays('arrays() -> columns(inputs: ["a"], targets: ["b"])').data  # noqa: B018


def test_arrays_have_no_other_file() -> None:
    with pytest.raises(NablacError, match=r"more\.csv cannot replace what the train block's `data` reads"):
        given_arrays("arrays()", 'validation "more.csv"').data  # noqa: B018


def test_a_share_of_the_command_wins_over_a_split_and_a_file() -> None:
    split = given_arrays("arrays() -> split(validation: 0.5, test: 0.1)", validation=0.2).data
    assert [len(split.parts[part]) for part in ("training", "validation", "test")] == [14, 4, 2]
    file = given_arrays("arrays()", 'validation "more.csv"', validation=0.2).data
    assert len(file.parts["validation"]) == 4


def test_a_share_is_said_once() -> None:
    with pytest.raises(NablacError, match="`validation` is set twice"):
        given_arrays("arrays() -> split(validation: 0.5)", "validation 0.2").data  # noqa: B018
