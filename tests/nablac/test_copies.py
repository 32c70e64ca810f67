"""Models, weights and errors that are pickled and copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from runtime.atomic_files import Unwritable

SERIES = np.random.default_rng(0).normal(size=(20, 12, 1))
DATA = {"series": SERIES, "next": SERIES[:, -1] * 5 + 3}


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_a_copy_of_a_model_computes_the_same_and_trains_by_itself(copied: Callable[[Any], Any], trained: bool) -> None:
    model = nablac.compile("forecaster", units=4, seed=3)
    if trained:
        model.train(DATA, epochs=1, progress=False)
    other = copied(model)
    before = model(series=SERIES)["y"]
    np.testing.assert_array_equal(other(series=SERIES)["y"], before)
    assert other.units == model.units and (other.fitted is not None) == trained
    other.train(DATA, epochs=1, progress=False)
    assert not np.array_equal(other(series=SERIES)["y"], before)
    np.testing.assert_array_equal(model(series=SERIES)["y"], before)


def test_changed_weights_are_copied() -> None:
    model = nablac.compile("forecaster", units=4)
    path, array = next(iter(model.weights.items()))
    model.weights[path] = np.ones_like(array)
    other = pickled(model)
    np.testing.assert_array_equal(other.weights[path], np.ones_like(array))
    with pytest.raises(nablac.NablacError, match="E702"):
        pickled(model.weights)["nothing"] = array


def test_a_model_without_a_text_is_copied_but_not_pickled() -> None:
    gradient = nablac.compile("forecaster", units=4).gradient()
    assert copy.deepcopy(gradient).graph.outputs.keys() == gradient.graph.outputs.keys()
    with pytest.raises(pickle.PicklingError) as caught:
        pickle.dumps(gradient)
    assert str(caught.value) == (
        "a model that was built from a graph, and not compiled from a text, cannot be pickled: write its weights with "
        "`model.save(path)`, or all of it with `model.to_onnx(path)`"
    )


def test_an_error_keeps_all_that_it_says() -> None:
    error = Unwritable("a.txt", OSError(28, "No space left on device"))
    error.add_note("while writing")
    other = pickled(error)
    assert (type(other), str(other), other.path, other.__notes__) == (
        Unwritable, str(error), Path("a.txt"), ["while writing"]
    )  # fmt: skip
    assert [str(diagnostic.code) for diagnostic in other.diagnostics] == ["E904"]


def compile_text(text: str) -> str:
    return nablac.compile(text).name


def test_an_error_of_a_worker_process_is_raised() -> None:
    text = "model M { input x: [batch, 3]; output y = x + z }"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        work = pool.submit(compile_text, text)
        with pytest.raises(nablac.NablacError, match="unknown name `z`") as caught:
            work.result(120)
    assert caught.value.diagnostics[0].span is not None and caught.value.diagnostics[0].span.line == 1
