"""A model built in Python, as one read from another format would be, supports everything that a model from a text does.

Its graph, loss and optimizer are built in Python; training is compared with NumPy code written by hand.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler.dims import Dim
from compiler.elaborate.optimizers import library_optimizer
from compiler.graph import Graph, Value
from compiler.model_spec import ModelSpec, OptimizerSpec, SpecSource, TrainingSettings, TrainingSpec, UpdateEquations
from compiler.operators.activations import Tanh
from compiler.operators.leaves import Constant, Input, Parameter, constant
from compiler.operators.linear import MatMul
from compiler.operators.powers import Pow
from compiler.operators.reductions import Mean
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from nablac.model import Model

RANDOM = np.random.default_rng(3)
HIDDEN, OUT = (RANDOM.normal(size=shape) for shape in ((3, 4), (4, 1)))
ARRAYS = {"x": RANDOM.normal(size=(20, 3)), "t": RANDOM.normal(size=(20, 1))}
EPOCHS, RATE, MOMENTUM = 5, 0.02, 0.5
F64 = DType.F64


def parameter(path: str, first: np.ndarray) -> Value:
    initial = Graph({}, {"initial": Constant.of(first)()})
    value: Value = Parameter(path, TensorType(F64, first.shape), initial)()
    return value


def momentum(type: TensorType) -> UpdateEquations:
    """`m' = MOMENTUM * m + grad`, `param' = param - RATE * m'`; `m` begins at 0."""
    param, grad, m = (Input(name, type)() for name in ("param", "grad", "m"))
    following = m * MOMENTUM + grad
    return UpdateEquations(
        Graph({"param": param, "grad": grad, "m": m}, {"param": param - following * RATE, "m": following})
    )


def spec(optimizer: OptimizerSpec | None = None) -> ModelSpec:
    x = Input("x", TensorType(F64, (Dim.named("batch"), 3)))()
    t = Input("t", TensorType(F64, (Dim.named("batch"), 1)))()
    hidden, out = parameter("hidden", HIDDEN), parameter("out", OUT)
    y = MatMul()(Tanh()(MatMul()(x, hidden)), out)
    loss = Mean(None)(Pow()(y - t, constant(2.0, F64)))
    equations = {path: momentum(TensorType(F64, first.shape)) for path, first in (("hidden", HIDDEN), ("out", OUT))}
    training = TrainingSpec(
        loss,
        optimizer or OptimizerSpec(equations, RATE),
        Input("step", TensorType(F64))(),
        {"t": t},
        settings=TrainingSettings(epochs=EPOCHS, batch=20, shuffle=False),
    )
    return ModelSpec(Graph({"x": x}, {"y": y}, name="ByHand"), {}, training)


def by_hand(hidden: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """The result, the loss, and the gradients of both weights."""
    x, t = ARRAYS["x"], ARRAYS["t"]
    h = np.tanh(x @ hidden)
    y = h @ out
    flow = 2 * (y - t) / t.size
    return y, float(np.mean((y - t) ** 2)), x.T @ (flow @ out.T * (1 - h**2)), h.T @ flow


def trained_by_hand() -> tuple[list[float], np.ndarray, np.ndarray]:
    weights = [HIDDEN.copy(), OUT.copy()]
    moments = [np.zeros_like(HIDDEN), np.zeros_like(OUT)]
    losses = []
    for _ in range(EPOCHS):
        _, loss, *grads = by_hand(*weights)
        losses.append(loss)
        for number, grad in enumerate(grads):
            moments[number] = MOMENTUM * moments[number] + grad
            weights[number] = weights[number] - RATE * moments[number]
    return losses, *weights


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_it_is_trained(backend: str) -> None:
    model = Model(spec(), backend=backend)
    history = model.train(ARRAYS)
    losses, hidden, out = trained_by_hand()
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-9)
    assert losses == sorted(losses, reverse=True)  # the weights of the last epoch are kept, as the best
    np.testing.assert_allclose(model(x=ARRAYS["x"])["y"], by_hand(hidden, out)[0], rtol=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_an_optimizer_of_the_library_trains_it(backend: str) -> None:
    model = spec()
    assert model.training is not None
    optimizer = library_optimizer(
        "adam", {"lr": 0.01}, model.training.loss, model.training.settings, model.training.step
    )
    trained = Model(replace(model, training=replace(model.training, optimizer=optimizer)), backend=backend)
    trained.train(ARRAYS)
    hidden, out = adam_by_hand(0.01)
    np.testing.assert_allclose(trained(x=ARRAYS["x"])["y"], by_hand(hidden, out)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "hypers", "code"), [("Dense", {}, "E607"), ("adamm", {}, "E607"), ("adam", {"rate": 0.1}, "E402")]
)
def test_an_unknown_optimizer_or_hyperparameter_is_refused(name: str, hypers: dict[str, float], code: str) -> None:
    training = spec().training
    assert training is not None
    error = raised(lambda: library_optimizer(name, hypers, training.loss, training.settings, training.step))
    assert [diagnostic.code for diagnostic in error.diagnostics] == [code]


def adam_by_hand(rate: float) -> list[np.ndarray]:
    """Algorithm 1 of Kingma and Ba 2015, with its defaults."""
    weights = [HIDDEN.copy(), OUT.copy()]
    moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]
    for step in range(1, EPOCHS + 1):
        for number, grad in enumerate(by_hand(*weights)[2:]):
            m, v = moments[number]
            m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
            moments[number] = m, v
            update = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            weights[number] = weights[number] - rate * update
    return weights


def test_it_is_differentiated() -> None:
    gradients = Model(spec()).gradient()(**ARRAYS)
    _, loss, hidden, out = by_hand(HIDDEN, OUT)
    np.testing.assert_allclose(gradients["loss"], loss)
    np.testing.assert_allclose(gradients["grad.hidden"], hidden)
    np.testing.assert_allclose(gradients["grad.out"], out)


def test_it_is_drawn_and_counted() -> None:
    model = Model(spec())
    texts = "".join(ElementTree.fromstring(model.draw()).itertext())
    assert all(name in texts for name in ("x", "matmul", "tanh", "y"))
    assert "parameters  16\n" in model.summary()


def test_it_is_compiled(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    Model(spec()).to_onnx(path)
    onnx.checker.check_model(str(path), full_check=True)
    (result,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": ARRAYS["x"]})
    np.testing.assert_allclose(result, by_hand(HIDDEN, OUT)[0])


def test_the_spec_for_training_may_differ() -> None:
    """A model may compute something else in training, as with dropout: here it computes 0."""
    inference, training = spec(), spec()
    assert training.training is not None
    model = Model(inference, source=SpecSource(inference, without_loss(training)))
    with pytest.raises(NablacError, match="no gradient of the loss reaches a parameter"):
        model.train(ARRAYS)


def without_loss(model: ModelSpec) -> ModelSpec:
    assert model.training is not None
    return replace(model, training=replace(model.training, loss=constant(0.0, F64)))


def test_an_optimizer_that_does_not_fit_a_parameter_is_refused_in_training() -> None:
    refusal = NablacError(Diagnostic(codes.E309, "`param` is another type"))
    fits = momentum(TensorType(F64, HIDDEN.shape))
    model = Model(spec(OptimizerSpec({"hidden": fits, "out": refusal})))
    assert model(x=ARRAYS["x"])["y"].shape == (20, 1)
    assert raised(lambda: model.train(ARRAYS)) is refusal


def test_a_run_on_disk_needs_a_text(tmp_path: Path) -> None:
    error = raised(lambda: Model(spec()).train(ARRAYS, folder=tmp_path / "run"))
    assert [diagnostic.code for diagnostic in error.diagnostics] == ["E612"]
    assert not (tmp_path / "run").exists()


def raised(action: Any) -> NablacError:
    with pytest.raises(NablacError) as caught:
        action()
    return caught.value
