"""What `Model.train` is given: options as the command line checks them, and arrays that the model reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.training.run_options import LEAST
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
    "no epochs": ({"epochs": -1}, "E605", "`epochs`: expected a whole number from 1, got -1", None),
    "epochs that are 0": ({"epochs": 0}, "E605", "`epochs`: expected a whole number from 1, got 0", None),
    "half an example": ({"batch": 2.5}, "E605", "`batch`: expected a whole number from 1, got 2.5", None),
    "a text": ({"batch": "2"}, "E605", "`batch`: expected a whole number from 1, got '2'", None),
    "a truth": ({"patience": True}, "E605", "`patience`: expected a whole number from 1, got True", None),
    "a seed": ({"seed": -1}, "E605", "`seed`: expected a whole number from 0, got -1", None),
    "all of it": ({"validation": 1.0}, "E605", "`validation`: expected a number from 0 to 0.9, got 1.0", None),
    "no number": (
        {"validation": float("nan")},
        "E605",
        "`validation`: expected a number from 0 to 0.9, got nan",
        None,
    ),
    "no time": ({"max_seconds": -1}, "E605", "`max_seconds`: expected a number from 0, got -1", None),
    "a slip": ({"epohcs": 1}, "E604", "`train` has no option `epohcs`", "did you mean `epochs`?"),
    "of files": ({"undivided": True}, "E604", "`train` has no option `undivided`", "there are epochs, "),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_that_means_nothing_is_refused(case: str) -> None:
    options, code, message, hint = OPTIONS[case]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT).train(DATA, **options)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == (code, message)
    assert hint is None or str(found.hint).startswith(hint)


ARRAYS: dict[str, tuple[Any, str, str]] = {
    "an array more": ({**DATA, "zz": ROWS}, "E802", "the model has no input or target `zz`"),
    "nearly a name": ({**DATA, "prize": ROWS}, "E802", "did you mean `price`?"),
    "a list": ([1, 2], "E823", "a dict of arrays by the names of inputs and targets is needed, and [1, 2] is given"),
    "a file": ("line.csv", "E823", "`nablac train --data FILE` reads files"),
    "numbers for names": ({1: ROWS}, "E823", "a dict of arrays by the names"),
    "ragged rows": ({**DATA, "x": [[1, 2], [3]]}, "E823", "`x` is no array"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_what_is_no_data_of_the_model_is_refused(case: str) -> None:
    data, code, text = ARRAYS[case]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT).train(data)
    assert caught.value.diagnostics[0].code == code and text in str(caught.value)


def test_numpys_numbers_are_numbers() -> None:
    history = nablac.compile(TEXT).train(DATA, epochs=np.int64(2), batch=np.int32(4), validation=np.float32(0.25))
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("name", sorted(LEAST))
def test_the_command_line_refuses_the_same(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    assert f"'{option}'" in invoke("train", "m.model", option, str(LEAST[name] - 1)).stderr
