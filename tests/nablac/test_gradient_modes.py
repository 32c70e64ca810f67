"""The gradient in training mode and in inference mode: against PyTorch, and that each says which it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import nablac
from compiler.types import DType
from runtime.numpy_executor import run
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.command_line import invoke
from tests.models import text_source

NORMED = """
model B {
    input x: [batch, 4]
    output y = x -> Dense(3) -> BatchNorm() -> Dense(1)
}
train B { target t: [batch, 1]; loss mse(y, t) }
"""
DROPPED = NORMED.replace("BatchNorm()", "Dropout(0.5)")
PLAIN = NORMED.replace("BatchNorm() -> ", "")
X, T = np.random.default_rng(0).normal(size=(8, 4)), np.random.default_rng(1).normal(size=(8, 1))
NOTE = "note: this model computes something else in training: --training exports the gradient of that"


def model(text: str, **settings: Any) -> nablac.Model:
    """A model in f64 whose running statistics differ from those of the batch."""
    compiled = nablac.compile(text, dtype="f64", **settings)
    for path, array in compiled.weights.items():
        array[...] = np.abs(np.random.default_rng(len(path)).normal(size=array.shape)) + 0.1
    return compiled


def torch_gradients(weights: dict[str, Any], training: bool) -> dict[str, Any]:
    """The gradients of PyTorch by our names, with its batch normalisation in training or in evaluation."""
    torch = pytest.importorskip("torch")
    norm = torch.nn.BatchNorm1d(3, eps=1e-5)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 3), norm, torch.nn.Linear(3, 1)).double()
    ours = {
        "dense.W": layers[0].weight,
        "dense.b": layers[0].bias,
        "batch_norm.gamma": norm.weight,
        "batch_norm.beta": norm.bias,
        "dense_1.W": layers[2].weight,
        "dense_1.b": layers[2].bias,
    }
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(torch.tensor(weights[name].T))
        norm.running_mean.copy_(torch.tensor(weights.get("batch_norm.running_mean", np.zeros(3))))
        norm.running_var.copy_(torch.tensor(weights.get("batch_norm.running_variance", np.ones(3))))
    layers.train(training)
    x = torch.tensor(X, requires_grad=True)
    torch.nn.functional.mse_loss(layers(x), torch.tensor(T)).backward()
    grads = {name: parameter.grad.numpy().T for name, parameter in ours.items()}
    return {f"grad.{name}": grad for name, grad in {**grads, "x": x.grad.numpy()}.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_batch_norm_has_the_gradient_of_pytorch_in_either_mode(training: bool, backend: str) -> None:
    normed = model(NORMED, backend=backend)
    found = normed.gradient(training=training)(x=X, t=T)
    for name, expected in torch_gradients(normed.weights, training).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-12, err_msg=name)


def test_the_mode_of_compilation_is_the_default() -> None:
    for training in (True, False):
        normed = model(NORMED, training=training)
        found = normed.gradient()(x=X, t=T)["grad.dense.W"]
        expected = torch_gradients(normed.weights, training)["grad.dense.W"]
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        mode = "training" if training else "inference"
        assert str(normed.gradient_equations()).startswith(f"# B: the gradient of its loss in {mode} mode, from")


@pytest.mark.parametrize("seed", [0, 7])
def test_a_gradient_with_dropout_is_that_of_the_training_step(seed: int) -> None:
    dropped = model(DROPPED)
    training = Training(text_source(DROPPED, dtype=DType.F64), Options())
    assert training.step.split is not None
    graph = training.step.split.gradient
    feeds = {"x": X, "t": T, "seed": np.array(seed), "step": np.array(1)}
    expected = run(graph, {name: feeds[name] for name in graph.inputs}, dropped.weights)
    found = dropped.gradient("*.?", training=True)(x=X, t=T, seed=seed)
    assert found.keys() - {"loss"} == {name for name in expected if name.startswith("grad.")}
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, err_msg=name)
    kept = dropped.gradient("*.?")(x=X, t=T)
    assert not np.allclose(kept["grad.dense.W"], found["grad.dense.W"]), "nothing is dropped in inference"


def test_a_file_says_its_mode_and_has_the_seed_of_its_draws(tmp_path: Path) -> None:
    (tmp_path / "m.model").write_text(DROPPED)

    def exported(*options: str) -> tuple[Any, list[str]]:
        done = invoke("grad", tmp_path / "m.model", "-o", tmp_path / "g.onnx", *options)
        assert done.exit_code == 0, done.stderr
        return done, [value.name for value in onnx.load(str(tmp_path / "g.onnx")).graph.input]

    done, inputs = exported()
    assert done.stderr == f"{NOTE}\n" and inputs == ["x", "t"]
    assert done.stdout.startswith(f"{tmp_path / 'g.onnx'}: B.gradient in inference mode, ")
    assert onnx.load(str(tmp_path / "g.onnx")).doc_string == "The gradient of the loss of B in inference mode."
    done, inputs = exported("--training")
    assert not done.stderr and sorted(inputs) == ["seed", "t", "x"]
    assert done.stdout.startswith(f"{tmp_path / 'g.onnx'}: B.gradient in training mode, ")
    assert onnx.load(str(tmp_path / "g.onnx")).doc_string == "The gradient of the loss of B in training mode."
    session = onnxruntime.InferenceSession(str(tmp_path / "g.onnx"), providers=["CPUExecutionProvider"])
    feeds = {"x": X.astype("f4"), "t": T.astype("f4")}
    first, again, other = (session.run(["grad.dense.W"], {**feeds, "seed": np.array(n)})[0] for n in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert json.loads(exported("--training", "--json")[0].stdout)["mode"] == "training"


@pytest.mark.parametrize(("option", "mark"), [("--text", "#"), ("--latex", "%")])
def test_the_first_line_says_the_mode_where_it_matters(tmp_path: Path, option: str, mark: str) -> None:
    for text, options, mode in (
        (NORMED, (), " in inference mode"),
        (NORMED, ("--training",), " in training mode"),
        (PLAIN, (), ""),
        (PLAIN, ("--training",), ""),
    ):
        (tmp_path / "m.model").write_text(text)
        done = invoke("grad", tmp_path / "m.model", option, *options)
        assert done.stdout.startswith(f"{mark} B: the gradient of its loss{mode}, from the loss backwards")
        if not options:
            drawn = invoke("draw", tmp_path / "m.model", "--latex").stdout
            assert drawn.startswith(f"% B: its equations{mode}, in the order in which they are computed\n")
    assert not invoke("grad", tmp_path / "m.model", "-o", tmp_path / "g.onnx").stderr
