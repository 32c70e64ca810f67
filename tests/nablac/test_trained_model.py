"""A trained model gives the same results in every way that it can be loaded from its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import nablac
from grammar.diagnostics import NablacError
from runtime.onnx_session import OnnxRunner
from tests.command_line import invoke

MODELS = {
    "scaled": """
model M(hidden = 4) {
    input x: [batch, 2]
    y = x -> Dense(hidden, activation: tanh) -> BatchNorm() -> Dense(1)
    output y
}
train M {
    target t: [batch, 1]
    loss mse(y, t)
    metric mae(y, t)
    optimizer adam(lr: 0.02)
    average 0.8
    epochs 4
    batch 10
    seed 3
    validation 0.25
    data csv("d.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["c"])
}
""",
    "weights of the loss": """
model M(hidden = 4) {
    input x: [batch, 2]
    h = x -> Dense(hidden, activation: tanh)
    y = h -> Dense(1)
    output y
}
train M {
    target t: [batch, 1]
    dense = Dense(1)
    loss mse(y, t) + mse(dense(h), t ** 2) + 0.1 * mean(abs(h -> Dense(2)))
    metric auxiliary = mse(dense(h), t ** 2)
    optimizer adam(lr: 0.02)
    epochs 4
    batch 10
    seed 3
    validation 0.25
    data csv("d.csv") -> min_max(columns: ["a", "b", "c"]) -> columns(inputs: ["a", "b"], targets: ["c"])
}
""",
    "classes": """
model M(hidden = 4) {
    input x: [batch, 2]
    logits = x -> Dense(hidden, activation: tanh) -> Dense(2)
    output logits
}
train M {
    target kind: i64[batch]
    loss cross_entropy(logits, kind)
    metric accuracy(logits, kind)
    optimizer adam(lr: 0.02)
    epochs 3
    batch 10
    seed 3
    validation 0.25
    data csv("d.csv") -> standardize() -> columns(inputs: ["a", "b"], targets: ["k"])
}
""",
    "a loss that changes with the step": """
model M(hidden = 4) {
    input x: [batch, 2]
    y = x -> Dense(hidden, activation: tanh) -> Dense(1)
    output y
}
train M {
    target t: [batch, 1]
    loss mse(y, t) * (1 + step / 10) + mean(random.uniform(like: y))
    optimizer sgd(lr: 0.01)
    accumulate 2
    epochs 4
    batch 10
    seed 3
    validation 0.25
    data csv("d.csv") -> columns(inputs: ["a", "b"], targets: ["c"])
}
""",
}
SET = "hidden=5"


class Run:
    """A finished run in its own folder, with the results of its own compiled model."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.path, self.file = folder, folder / "run", folder / "m.model"
        self.file.write_text(text)
        generator = np.random.default_rng(7)
        rows = generator.normal(size=(60, 2)) * [30, 0.2] + [400, -3]
        lines = [f"{a:.6f},{b:.6f},{5 * a + 900 * b:.4f},{'high' if b > -3 else 'low'}" for a, b in rows]
        (folder / "d.csv").write_text("a,b,c,k\n" + "\n".join(lines) + "\n")
        self.x = rows[:9].astype(np.float32)
        np.save(folder / "x.npy", self.x)
        done = invoke("train", str(self.file), "-q", "-o", str(self.path), "--set", SET)
        assert done.exit_code == 0, done.output
        self.history = json.loads((self.path / "history.json").read_text())
        self.expected = self.of_file(self.path / "model.onnx")

    def of_file(self, path: Path) -> np.ndarray:
        (result,) = OnnxRunner(path).run({"x": self.x}).values()
        return np.asarray(result)

    def by_command(self, *arguments: str) -> np.ndarray:
        out = self.folder / "out.npy"
        done = invoke(*arguments, "-q", "-o", str(out))
        assert done.exit_code == 0, done.output
        return np.asarray(np.load(out))

    def compiled(self, *arguments: str) -> np.ndarray:
        out = self.folder / "compiled.onnx"
        done = invoke("compile", *arguments, "-q", "-o", str(out))
        assert done.exit_code == 0, done.output
        return self.of_file(out)

    @property
    def weights(self) -> str:
        return str(self.path / "weights.safetensors")


@pytest.fixture(scope="module", params=MODELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("journey"), MODELS[request.param])


def trained_in_python(run: Run) -> Any:
    model = nablac.compile(run.file, hidden=5)
    model.train(seed=3)
    return model


def saved_and_loaded(run: Run) -> Any:
    trained_in_python(run).save(run.folder / "saved.safetensors")
    return nablac.load(run.file, run.folder / "saved.safetensors", hidden=5)


def written_by_python(run: Run) -> np.ndarray:
    trained_in_python(run).to_onnx(run.folder / "python.onnx")
    return run.of_file(run.folder / "python.onnx")


def called(make: Callable[[Run], Any]) -> Callable[[Run], np.ndarray]:
    def call(run: Run) -> np.ndarray:
        (result,) = make(run)(x=run.x).values()
        return np.asarray(result)

    return call


RESULTS: dict[str, Callable[[Run], np.ndarray]] = {
    "run RUN": lambda run: run.by_command("run", str(run.path), str(run.folder / "x.npy")),
    "run RUN by onnxruntime": lambda run: run.by_command(
        "run", str(run.path), str(run.folder / "x.npy"), "--backend", "ort"
    ),
    "run FILE --weights": lambda run: run.by_command(
        "run", str(run.file), str(run.folder / "x.npy"), "--set", SET, "--weights", run.weights
    ),
    "compile RUN": lambda run: run.compiled(str(run.path)),
    "compile FILE --weights": lambda run: run.compiled(str(run.file), "--set", SET, "--weights", run.weights),
    "the weights elsewhere": lambda run: run.compiled(
        str(run.file), "--set", SET, "--weights", str(Path(run.weights).rename(run.folder / "moved.safetensors"))
    ),
    "load the run in Python": called(lambda run: nablac.load(run.path)),
    "load its weights in Python": called(lambda run: nablac.load(run.file, run.weights, hidden=5)),
    "load its folder in Python": called(lambda run: nablac.compile(run.file, hidden=5).load(run.path)),
    "train in Python": called(trained_in_python),
    "train in Python, save and load": called(saved_and_loaded),
    "train in Python, to_onnx": written_by_python,
}


@pytest.mark.parametrize("source", RESULTS)
def test_every_source_gives_the_results_of_the_runs_own_model(run: Run, source: str) -> None:
    try:
        result = RESULTS[source](run)
    finally:
        moved = run.folder / "moved.safetensors"
        if moved.exists():
            moved.rename(run.weights)
    np.testing.assert_allclose(result, run.expected, rtol=1e-5, atol=1e-5 * np.abs(run.expected).max())


def test_evaluating_a_run_gives_the_metrics_of_its_best_epoch(run: Run) -> None:
    best = int(np.argmin(run.history["val_loss"]))
    done = invoke("eval", str(run.path), "--json")
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)
    for name in ("loss", "mae", "auxiliary", "accuracy"):
        if name in metrics:
            assert metrics[name] == pytest.approx(run.history[f"val_{name}"][best], rel=1e-6), name
    again = invoke("eval", str(run.file), "--weights", run.weights, "--set", SET, "--json")
    assert json.loads(again.stdout) == metrics


def test_every_other_command_takes_a_run(run: Run) -> None:
    for arguments in (
        ("verify", str(run.path)),
        ("summary", str(run.path)),
        ("draw", str(run.path)),
        ("grad", str(run.path), "-o", str(run.folder / "grad.onnx")),
        ("compile", "--train", str(run.path), "-o", str(run.folder / "step.onnx")),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 0, done.output


def test_a_hyperparameter_is_set_once_and_must_fit_the_weights(run: Run) -> None:
    twice = invoke("summary", str(run.file), "--set", "hidden=4", "--set", "hidden=5")
    assert twice.exit_code == 2 and "error[E906]: `hidden` is set to both `4` and `5`" in twice.stderr
    other = invoke("summary", str(run.path), "--set", "hidden=9")
    assert other.exit_code == 2 and "in the file, and f32[2, 9] in the model" in other.stderr


def test_a_compiled_run_has_the_metadata_of_the_runs_own_model(run: Run) -> None:
    run.compiled(str(run.path))
    own, compiled = (OnnxRunner(path).metadata for path in (run.path / "model.onnx", run.folder / "compiled.onnx"))
    assert own == compiled


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("critic"), MODELS["weights of the loss"])


LOSS_ONLY = {"dense_2.W", "dense_2.b", "dense_3.W", "dense_3.b"}


def test_weights_that_only_the_loss_reads_are_kept_and_loaded(critic: Run) -> None:
    stored = load_file(critic.weights)
    assert stored.keys() == {"dense.W", "dense.b", "dense_1.W", "dense_1.b", *LOSS_ONLY}
    model = nablac.load(critic.file, critic.weights, hidden=5)
    assert model.weights.keys() == stored.keys()
    for path, array in stored.items():
        np.testing.assert_array_equal(model.weights[path], array)
    gradient = model.gradient("dense_3.*")
    assert set(gradient.graph.outputs) == {"loss", "grad.dense_3.W", "grad.dense_3.b"}


def test_weights_that_only_the_loss_reads_are_listed(critic: Run) -> None:
    done = invoke("summary", str(critic.path))
    line = "of the loss 18 parameters that nothing else reads: dense_2.W, dense_2.b, dense_3.W, dense_3.b"
    assert line in done.stdout.splitlines()
    facts = json.loads(invoke("summary", str(critic.file), "--json").stdout)
    assert facts["of_loss"] == {"dense_2.W": 4, "dense_2.b": 1, "dense_3.W": 8, "dense_3.b": 2}


def test_weights_without_those_of_the_loss_run_and_train_but_are_not_evaluated(critic: Run, tmp_path: Path) -> None:
    part = {path: array for path, array in load_file(critic.weights).items() if path not in LOSS_ONLY}
    save_file(part, str(tmp_path / "part.safetensors"))
    weights = ("--weights", str(tmp_path / "part.safetensors"), "--set", SET)
    assert invoke("run", str(critic.file), str(critic.folder / "x.npy"), *weights).exit_code == 0
    done = invoke("train", str(critic.file), *weights, "--dry-run")
    assert done.exit_code == 0 and "has no `dense_2.W`, `dense_2.b`, `dense_3.W`, `dense_3.b`" in done.stderr
    done = invoke("eval", str(critic.file), *weights)
    assert done.exit_code == 2 and "error[E701]: `dense_2.W`: f32[5, 1] is missing" in done.stderr


def test_a_gradient_of_a_trained_model_takes_the_units_of_its_data(critic: Run) -> None:
    """Compared with central differences of the loss in the gradient's own graph, in raw units."""
    gradient = nablac.load(critic.path, dtype="f64").gradient("x")
    x = critic.x[:4].astype(np.float64)
    t = 5 * x[:, :1] + 900 * x[:, 1:]
    results = gradient(x=x, t=t)
    step = np.array([1e-2, 1e-4])
    for column in range(2):
        shifted = [x.copy(), x.copy()]
        for sign, inputs in zip((-1, 1), shifted, strict=True):
            inputs[2, column] += sign * step[column]
        low, high = (float(gradient(x=inputs, t=t)["loss"]) for inputs in shifted)
        assert results["grad.x"][2, column] == pytest.approx((high - low) / (2 * step[column]), rel=1e-4)
    # The data is in raw units, but the loss is that of scaled data, as in training.
    assert float(results["loss"]) < 5


def test_an_exported_step_of_a_run_takes_the_units_of_its_data(critic: Run, tmp_path: Path) -> None:
    step = tmp_path / "step.onnx"
    assert invoke("compile", "--train", str(critic.path), "-o", str(step), "-q").exit_code == 0
    runner = OnnxRunner(step)
    state = load_file(step.with_suffix(".safetensors"))
    t = (5 * critic.x[:, :1] + 900 * critic.x[:, 1:]).astype(np.float32)
    results = runner.run({"x": critic.x, "t": t, "step": np.float32(1), **state})
    whole = nablac.load(critic.path).gradient("dense.W")(x=critic.x, t=t)
    assert float(results["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-4)
    states = json.loads(runner.metadata["nablac.states"])
    assert states["optimizer/m/dense.W"] == {"kind": "optimizer", "of": "dense.W", "name": "m"}


OTHERS = {
    "another name": (
        MODELS["scaled"].replace("input x", "input z").replace("y = x", "y = z"),
        "E844",
        "these weights were trained on a scaled `x`, and M has no such input or target",
    ),
    "no train block": (
        MODELS["scaled"].split("train M")[0],
        "E844",
        "these weights were trained on a scaled `t`, and M has no such input, and no train block that says what its "
        "targets are",
    ),
}


@pytest.mark.parametrize("label", OTHERS)
def test_weights_scaled_for_data_that_a_model_lacks_are_refused(tmp_path: Path, label: str) -> None:
    text, code, message = OTHERS[label]
    run = Run(tmp_path, MODELS["scaled"])
    with pytest.raises(NablacError) as caught:
        nablac.load(_written(tmp_path / "other.model", text), run.weights, hidden=5)
    (error,) = caught.value.diagnostics
    assert (error.code, error.message) == (code, message)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_loss_of_the_step_is_not_evaluated_on_weights_without_a_step(tmp_path: Path) -> None:
    run = Run(tmp_path, MODELS["a loss that changes with the step"])
    save_file(load_file(run.weights), str(tmp_path / "foreign.safetensors"))
    done = invoke("eval", str(run.file), "--weights", str(tmp_path / "foreign.safetensors"), "--set", SET)
    assert done.exit_code == 2 and "error[E845]: the loss depends on `step`" in done.stderr


COUNTING = """
layer Count {
    input x: [batch, f]
    buffer seen: [f] = 0
    seen' = seen + sum(x, axis: 0)
    output x - seen
}
model M { input x: [batch, 2]; count = Count(); output y = count(count(x)) }
"""


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_buffers_are_kept_between_calls(backend: str) -> None:
    model = nablac.compile(COUNTING, backend=backend)
    x, seen = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32), np.zeros(2, np.float32)
    for _ in range(3):
        expected = x
        for _ in range(2):
            expected, seen = expected - seen, seen + expected.sum(axis=0)
        np.testing.assert_allclose(model(x=x)["y"], expected)
        np.testing.assert_allclose(model.weights["count.seen"], seen)
