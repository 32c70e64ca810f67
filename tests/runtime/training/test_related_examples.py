"""A metric that relates examples to one another is that of the whole part, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.elaborate.program import program_of
from compiler.types import DType
from grammar.source import Source
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training

MODEL = """
model M {{
    input x: [batch, 2]
    y = x -> Dense(1)
    output y
}}
train M {{
    target t: [batch, 1]
    loss mse(y, t) + stop_gradient(mean(abs(y))) * 2
    metric figure = {metric}
    metric again = mse(y, t) + mean(abs(y)) * 2
    shuffle false
}}
"""
X = np.array([[1, 2], [2, 3], [4, 5], [7, 8]], np.float64)
T = np.array([[3], [4], [6], [9]], np.float64)
METRICS = {  # by hand, of all four rows; y is x W + b
    "mean(abs(flip(y, axis: 0) - y))": lambda y: np.abs(y[::-1] - y).mean(),
    "mean(t * softmax(y, axis: 0))": lambda y: (T * np.exp(y) / np.exp(y).sum()).mean(),
    "mean(t * log_softmax(y, axis: 0))": lambda y: (T * (y - np.log(np.exp(y).sum()))).mean(),
    "mean(cumsum(t, axis: 0))": lambda y: T.cumsum().mean(),
    "mean(cumsum(y^T, axis: 1))": lambda y: y.cumsum().mean(),
    "mean(concat([t, zeros([1, 1])], axis: 0))": lambda y: T.sum() / 5,
    "mean(pad(t, before: [1, 0], after: [0, 0]))": lambda y: T.sum() / 5,
    "mean(t * cast(unsqueeze(iota(batch), 1), dtype(t)))": lambda y: (T[:, 0] * np.arange(4)).mean(),
    "mean(abs(t[1:] - t[:-1]))": lambda y: np.abs(np.diff(T, axis=0)).mean(),
    "mean(gradient(mean(y ** 2), x) ** 2)": None,
    "mean(softmax(x, axis: 1) * t)": lambda y: (np.exp(X) / np.exp(X).sum(1, keepdims=True) * T).mean(),
    "mean(concat([t, y], axis: 1))": lambda y: np.concatenate([T, y], 1).mean(),
}


def evaluated(metric: str, batch: int) -> tuple[dict[str, float], np.ndarray]:
    program = program_of(Source("m.model", MODEL.format(metric=metric)))
    run = Training(program, options=Options(batch=batch), dtype=DType.F64)
    run.examples = from_arrays({"x": X, "t": T}, "data")
    loop = run.loop()
    state = loop.stepper.state()
    return loop.evaluate(run.batches("training")), X @ state["dense.W"] + state["dense.b"]


@pytest.mark.parametrize("batch", [2, 3, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_a_figure_is_that_of_all_examples(metric: str, batch: int) -> None:
    figures, y = evaluated(metric, batch)
    right = METRICS[metric]
    expected = right(y) if right is not None else evaluated(metric, 4)[0]["figure"]
    assert figures["figure"] == pytest.approx(expected, rel=1e-10)
    assert figures["loss"] == pytest.approx(figures["again"], rel=1e-10)
