"""The arguments of `Model.train`: options with the limits of the command line, and arrays that the model reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.training.option_ranges import LEAST
from tests.command_line import invoke

TEXT = """model M {
    input x: [batch, 2]
    output y = x -> Dense(1)
}

train M {
    target price: [batch, 1]
    loss mse(y, price)
    optimizer sgd(lr: 1e-2)
    epochs 1
    batch 4
}
"""
ROWS = np.ones((8, 2), np.float32)
DATA = {"x": ROWS, "price": ROWS[:, :1]}

OPTIONS = {
    "no epochs": ({"epochs": -1}, "E605", "`epochs` must be a whole number from 1, got -1", None),
    "epochs that are 0": ({"epochs": 0}, "E605", "`epochs` must be a whole number from 1, got 0", None),
    "endless": ({"epochs": 10**18}, "E605", f"`epochs` must be at most 999,999,999,999,999,999, got {10**18}", None),
    "half an example": ({"batch": 2.5}, "E605", "`batch` must be a whole number from 1, got 2.5", None),
    "a text": ({"batch": "2"}, "E605", "`batch` must be a whole number from 1, got '2'", None),
    "a bool": ({"patience": True}, "E605", "`patience` must be a whole number from 1, got True", None),
    "a negative seed": ({"seed": -1}, "E605", "`seed` must be a whole number from 0, got -1", None),
    "all examples": ({"validation": 1.0}, "E605", "`validation` must be a number from 0 to 0.9, got 1.0", None),
    "NaN": (
        {"validation": float("nan")},
        "E605",
        "`validation` must be a number from 0 to 0.9, got nan",
        None,
    ),
    "negative time": ({"max_seconds": -1}, "E605", "`max_seconds` must be a number from 0, got -1", None),
    "a misspelt option": ({"epohcs": 1}, "E604", "`train` has no option `epohcs`", "did you mean `epochs`?"),
    "an option of files": (
        {"undivided": True},
        "E604",
        "`train` has no option `undivided`",
        "the choices are epochs",
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_wrong_option_is_refused(case: str) -> None:
    options, code, message, hint = OPTIONS[case]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT).train(DATA, **options)
    (error,) = caught.value.diagnostics
    assert (error.code, error.message) == (code, message)
    assert hint is None or str(error.hint).startswith(hint)


ARRAYS: dict[str, tuple[Any, str, str]] = {
    "an unknown name": ({**DATA, "zz": ROWS}, "E802", "the model has no input or target `zz`"),
    "a misspelt name": ({**DATA, "prize": ROWS}, "E802", "did you mean `price`?"),
    "a list": ([1, 2], "E823", "expected a dict of arrays by input and target name, got a list of 2"),
    "a file": ("line.csv", "E823", "`nablac train --data FILE` reads files"),
    "numbers for names": (
        {1: ROWS},
        "E823",
        "expected a dict of arrays by input and target name, got a dict with the key 1",
    ),
    "ragged rows": ({**DATA, "x": [[1, 2], [3]]}, "E823", "`x` is not an array"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_wrong_data_is_refused(case: str) -> None:
    data, code, text = ARRAYS[case]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT).train(data)
    assert caught.value.diagnostics[0].code == code and text in str(caught.value)


def test_options_may_be_numpy_numbers() -> None:
    history = nablac.compile(TEXT).train(DATA, epochs=np.int64(2), batch=np.int32(4), validation=np.float32(0.25))
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("name", sorted(LEAST))
def test_the_command_line_has_the_same_limits(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    assert f"'{option}'" in invoke("train", "m.model", option, str(LEAST[name] - 1)).stderr
