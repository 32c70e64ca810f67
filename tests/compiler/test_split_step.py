"""A training step as two graphs: composed, the bits of the step as one; one only where the update reads the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.model_spec import RATE, SEED, STEP
from compiler.training.step import TrainingStep, training_step
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.compiler.test_updates import TEXT
from tests.models import spec_of


def step_of(settings: str, text: str = TEXT) -> TrainingStep:
    return training_step(spec_of(text.replace("SETTINGS", settings), training=True))


@pytest.mark.parametrize(
    "settings",
    [
        "optimizer adam(lr: 0.1)",
        "optimizer sgd(lr: 0.1 / step); plateau 2",
        "optimizer adamw(lr: 0.1); accumulate 2; average 0.9; clip_norm 0.1",
        "optimizer sgd(lr: 0.1, momentum: 0.9); weight_decay 0.1; l1 0.1; clip_value 0.01",
        "optimizer normed(); accumulate 3",
        "optimizer noisy()",
    ],
)
@pytest.mark.parametrize("form", ["update", "apart"])
def test_gradient_and_update_composed_are_the_step(settings: str, form: str) -> None:
    step = step_of(settings)
    assert step.split is not None
    update = getattr(step.split, form)
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {"x": random.normal(size=(4, 5)), "t": random.normal(size=(4, 1)), STEP: 3.0, RATE: 0.5}
    feeds = {name: np.asarray(array, np.float32) for name, array in feeds.items()} | {SEED: np.array(7)}
    weights = {path: array + np.float32(0.1) for path, array in initialize(step.graph, 0).items()}

    def of(graph: Any, **more: Any) -> dict[str, Any]:
        return run(graph, {name: {**feeds, **more}[name] for name in graph.inputs}, weights)

    whole, gradient = of(step.measured), of(step.split.measured)
    composed = gradient | of(update, **gradient)
    assert {*update.inputs} <= {*gradient, STEP, SEED, RATE}
    assert not {"x", "t"} & {*update.inputs}
    for name, array in whole.items():
        np.testing.assert_array_equal(composed[name], array, err_msg=name)


def test_parameters_are_apart_where_each_is_updated_by_itself() -> None:
    split = step_of("optimizer adam(lr: 0.1)").split
    assert split is not None
    assert {"concat", "split"} <= {node.op.name for node in split.update}
    assert not {"concat", "split"} & {node.op.name for node in split.apart}


def test_an_update_that_reads_the_batch_is_not_split() -> None:
    assert step_of("optimizer sgd(lr: 0.1 * mean(x))").split is None
    assert step_of("optimizer sgd(lr: 0.1 / shape(x)[0])").split is None
