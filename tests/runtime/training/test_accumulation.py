"""An update of accumulated batches is that of one batch of them all, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import text_source

BACKENDS = ["numpy", "ort"]
MODEL = """
model M {{
    input x: [batch, 2]
    y = x -> Dense(3)
    output y
}}
train M {{
    target t: [batch, 3]; target l: i64[batch]
    loss {loss}
    optimizer sgd(lr: 0.1); shuffle false; epochs 1; seed 0; batch {batch}; accumulate {every}
}}
"""
DATA = {
    "x": np.array([[1, 0], [0, 1], [1, 1], [2, 1], [0, 3], [1, 2]], np.float64),
    "t": np.arange(18, dtype=np.float64).reshape(6, 3) / 9,
    "l": np.array([0, 9, 1, 2, 9, 0]),
}
ADDS_UP = [
    "mse(y, t)",
    "2 * cross_entropy(y, l, ignore: 9)",
    "mse(y, t) + 0.5 * mean(abs(y)) - mean(y[:, 0])",
    "mean((y - t) ** 2) / 3 + 0.01 * log(2)",
    "sum((y - t) ** 2)",
    "sum(y ** 2) / 3 - 0.1 * sum(t * y)",
    "sum((y - t) ** 2) / batch",
    "sum((y - t) ** 2) / (batch * 3)",
    "sum((y - t) ** 2) / size(y, 0)",
]
DOES_NOT = [
    "cross_entropy(y, l, ignore: 9) + 0.1 * mean(y ** 2)",
    "perplexity(y, l, ignore: 9)",
    "mean(y ** 2) + 0.01 * sum(y ** 2)",
    "sum(y ** 2) * batch",
    "mean(y ** 2) / batch",
    "rmse(y, t)",
    "max(abs(y - t))",
    "sum(y ** 2) / sum(abs(y))",
    "mse(y, t) + logsumexp(y)",
    "mean(y @ y^T)",
]


def trained(loss: str, batch: int, every: int, backend: str) -> dict[str, np.ndarray]:
    text = MODEL.format(loss=loss, batch=batch, every=every)
    kind = DType.F64 if backend == "numpy" else DType.F32
    run = Training(text_source(text, dtype=kind), options=Options(backend=backend))
    run.examples = from_arrays({name: np.asarray(array) for name, array in DATA.items()}, "data")
    loop = run.loop()
    loop.run()
    return {path: value for path, value in loop.stepper.state().items() if path.startswith("dense")}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ADDS_UP)
def test_an_update_is_that_of_one_batch_of_them_all(loss: str, backend: str) -> None:
    whole = trained(loss, 6, 1, backend)
    for batch, every in ((2, 3), (4, 2), (1, 6)):  # of 4 the second batch has 2
        for path, value in trained(loss, batch, every, backend).items():
            np.testing.assert_allclose(value, whole[path], rtol=1e-10 if backend == "numpy" else 1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", DOES_NOT)
def test_a_loss_that_does_not_add_up_is_refused(loss: str) -> None:
    with pytest.raises(NablacError) as caught:
        trained(loss, 2, 3, "numpy")
    assert [each.code for each in caught.value.diagnostics] == ["E618"]
