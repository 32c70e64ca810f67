"""What is said of a scan whose cell is refused."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.passes.pipeline import optimize
from runtime.numpy_executor import run
from tests.compiler.texts import graph, mistakes

CELL = "cell C() {\n input x: [b, f]\n state s: [b, f] = 0\n s' = s + x\n output s'\n}\n"


def test_a_first_state_of_another_shape_is_told_once() -> None:
    model = "model M {\n input xs: [b, t, 4]\n output scan(C())(xs, axis: 1, s: ones([4]))\n}\n"
    assert mistakes(CELL + model) == ["E303 state `s` of cell C is f32[b, 4], but its initial value is f32[4]"]


def test_the_axis_of_a_scan_is_not_guessed() -> None:
    model = "model M {\n input xs: [b, t, 4]\n output scan(C())(xs)\n}\n"
    assert mistakes(CELL + model) == ["E425 scan needs an axis to run along"]


FIRST = "cell C() {{\n input x: [b, f]\n state s: [b, f] {}\n s' = s + x\n output s'\n}}\n"
SCANNED = "model M {\n input xs: [b, t, 4]\n output y = scan(C())(xs, axis: 1)\n}\n"


@pytest.mark.parametrize("first", ["~ normal(std: 1.0)", "= normal([b, f], std: 1.0)", "= random.normal([b, f])"])
def test_a_state_that_is_drawn_is_drawn_once_before_the_first_step(first: str) -> None:
    found = graph(FIRST.format(first) + SCANNED)
    xs = np.zeros((3, 5, 4), np.float32)
    for each in (found, optimize(found)):
        (y,), (again,), (other,) = (
            run(each, {"xs": xs, "seed": np.array(seed, np.int64)}, {}).values() for seed in (1, 1, 2)
        )
        assert np.unique(y[:, 0]).size == 12
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        np.testing.assert_array_equal(y, again)
        assert not np.array_equal(y, other)


REFUSED = {
    "~ ones": "E417 `s` is f32[b, 4], but its initializer gives f32[7]",
    "~ 0.5": "E417 an initializer must be a function of the shape, got the number 0.5",
    "= normal()": "E417 `normal` is an initializer: it takes the shape, which `=` does not pass",
    "= x": "E417 the initial value of `s` depends on the inputs of a step",
}


@pytest.mark.parametrize("first", REFUSED)
def test_a_first_value_that_is_none_is_refused(first: str) -> None:
    text = "fn ones(shape) = full([7], 1)\n" + FIRST.format(first) + SCANNED
    assert mistakes(text) == [REFUSED[first]]
