"""What a model is fed to look up is at least 0: a place below would be counted from the table's end."""

from __future__ import annotations

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError

LOOKED_UP = ("x -> Embedding(5, 2)", "concat([x, x], axis: 1) -> Embedding(5, 2)")


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("text", LOOKED_UP)
def test_a_token_below_0_is_refused_before_anything_runs(text: str, backend: str) -> None:
    model = nablac.compile(f"model M {{\n input x: i64[b, t]\n output y = {text}\n}}\n", backend=backend)
    with pytest.raises(NablacError) as caught:
        model(x=np.array([[0, -1]]))
    (found,) = caught.value.diagnostics
    assert found.code == "E806"
    assert found.message == "`x` holds -1, and the table that it looks up has 5 entries"
    assert model(x=np.array([[0, 4]]))["y"].shape[0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "where(x < 0, 0, x) -> Embedding(5, 2)",
        "x[:, :1] -> Embedding(5, 2)",
        "one_hot(x, 5)",
        "cross_entropy(ones([b, t, 5]), x, ignore: -1)",
    ],
)
def test_a_number_below_0_that_nothing_looks_up_may_stand(text: str) -> None:
    model = nablac.compile(f"model M {{\n input x: i64[b, t]\n output y = {text}\n}}\n")
    assert np.isfinite(model(x=np.array([[0, -1]]))["y"]).all()
