"""Steps in mixed precision: what is in 16 bits, gradients beside PyTorch's autocast, and the loss scale by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import nablac
from compiler.graph import Graph, Node, Operator
from compiler.operators.casting import Cast
from compiler.operators.leaves import Stored
from compiler.targets import EXPORT_TARGETS, NUMPY
from compiler.training import loss_scaling
from compiler.training.mixed_precision import short_type
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.data.arrays import from_arrays
from runtime.onnx_session import OnnxRunner
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.workers.collective import Collective
from tests.command_line import invoke
from tests.models import text_source
from tests.paths import ROOT
from tests.workers.threads import run_in_threads

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

BACKENDS = ["numpy", "ort"]
GENERATOR = np.random.default_rng(3)


# What is in 16 bits

BLOCK = """
model M {{
{body}
output y
}}
train M {{ target t: [batch, 4]; loss mse(y, t); optimizer sgd(lr: 0.1) }}
"""
NETWORK = """
input x: [batch, 8]
h = x -> Dense(4) -> LayerNorm() -> Dense(4)
y = softmax(tanh(h * 2) / 3) * exp(h)
"""
TYPES = {
    "products and what lies between": (
        NETWORK,
        {"matmul": "f16", "tanh": "f16", "div": "f16", "standardization": "f32", "softmax": "f32", "exp": "f32"},
    ),
    "data in f32 stays so, beside products": (
        "input x: [batch, 4]\ny = relu(x + (x -> Dense(4)))",
        {"matmul": "f16", "add": "f16 f32", "relu": "f32"},
    ),
    "a number that f16 cannot hold": ("input x: [batch, 4]\ny = (x -> Dense(4, bias: false)) + 1e6", {"add": "f32"}),
    "a long sum": ("input x: [batch, 4, 9]\ny = sum(x -> Dense(9), axes: -1)", {"matmul": "f16", "sum": "f32"}),
    "a convolution": (
        "input x: [batch, 1, 4, 4]\ny = x -> Conv2D(4, 3) -> MaxPool2D(4) -> reshape([batch, 4])",
        {"conv": "f16", "max_pool": "f16"},
    ),
    "states of a recurrence": (
        "input x: [batch, 5, 3]\ny = x -> SimpleRNN(4)",
        {"matmul": "f16", "tanh": "f16", "scan": "f32"},
    ),
}


def nodes_of(graph: Graph) -> Iterator[Node]:
    for node in graph:
        yield node
        for body in node.op.graphs:
            yield from nodes_of(body)


def training(text: str, data: dict[str, Any] | None = None, **options: Any) -> Training:
    run = Training(text_source(text), Options(**options))
    if data is not None:
        run.examples = from_arrays({name: np.asarray(array) for name, array in data.items()}, "data")
    return run


@pytest.mark.parametrize("case", TYPES)
def test_each_operator_has_its_precision(case: str) -> None:
    body, expected = TYPES[case]
    step = training(BLOCK.format(body=body), precision="f16").step.graph
    forward = list(nodes_of(Graph({}, {"loss": step.outputs["loss"]})))
    found: dict[str, set[str]] = {}
    for node in forward:
        found.setdefault(node.op.name, set()).add(str(node.results[0].type.dtype))
    assert {name: " ".join(sorted(found[name])) for name in expected} == expected
    stored = [node.result for node in step if isinstance(node.op, Stored)]
    assert {value.type.dtype for value in stored} == {DType.F32}, "weights and states stay f32"
    casts = Counter(node.operands[0] for node in nodes_of(step) if isinstance(node.op, Cast))
    assert all(casts[value] <= 1 for value in stored), "a weight is cast once a step"
    for node in nodes_of(step):
        before = node.operands[0].node if isinstance(node.op, Cast) else node
        back = isinstance(before.op, Cast) and before.operands[0].type.dtype is DType.F16 and before is not node
        assert not (back and node.result.type.dtype is DType.F16), "no cast of 16 bits to f32 and back"


# Gradients, beside PyTorch's autocast

NETWORKS: dict[str, tuple[str, Callable[..., Any]]] = {
    "mlp": ("y = x -> Dense(12, relu) -> LayerNorm() -> Dense(4)", lambda w, x: mlp(w, x)),
    "cnn": (
        "y = x -> reshape([batch, 2, 6, 4]) -> Conv2D(6, 3, bias: false) -> BatchNorm() -> relu -> MaxPool2D(2)"
        " -> Flatten() -> Dense(4)",
        lambda w, x: cnn(w, x),
    ),
    "lstm": ("y = x -> reshape([batch, 6, 8]) -> LSTM(5) -> Dense(4)", lambda w, x: lstm(w, x)),
}
TRAINED = """
model M {{ input x: [batch, 48]
    {network}
    output y
}}
train M {{ target t: i64[batch]; loss cross_entropy(y, t); optimizer sgd(lr: 0.1); batch 16; epochs 1 }}
"""
DATA = {"x": GENERATOR.normal(size=(16, 48)).astype(np.float32), "t": GENERATOR.integers(0, 4, 16)}


def mlp(w: dict[str, Any], x: Any) -> Any:
    h = torch.relu(x @ w["dense.W"] + w["dense.b"])
    h = torch.nn.functional.layer_norm(h, h.shape[-1:], w["layer_norm.gamma"], w["layer_norm.beta"], 1e-5)
    return h @ w["dense_1.W"] + w["dense_1.b"]


def cnn(w: dict[str, Any], x: Any) -> Any:
    h = torch.nn.functional.conv2d(x.reshape(-1, 2, 6, 4), w["conv2d.W"], padding=1)
    h = torch.nn.functional.batch_norm(h, None, None, w["batch_norm.gamma"], w["batch_norm.beta"], True, eps=1e-5)
    h = torch.nn.functional.max_pool2d(torch.relu(h), 2).flatten(1)
    return h @ w["dense.W"] + w["dense.b"]


def lstm(w: dict[str, Any], x: Any) -> Any:
    h, cell = torch.zeros(len(x), 5, dtype=x.dtype), "lstm.lstm_cell"
    c = h
    for item in x.reshape(-1, 6, 8).unbind(1):
        i, f, g, o = (
            item @ w[f"{cell}.W_x{gate}"].T + h @ w[f"{cell}.W_h{gate}"].T + w[f"{cell}.b_{gate}"] for gate in "ifgo"
        )
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h @ w["dense.W"] + w["dense.b"]


def gradients_by_torch(network: str, state: dict[str, Any], kind: torch.dtype) -> dict[str, np.ndarray]:
    """The gradients with autocast for floats of 16 bits, in f64 otherwise; those of f16 are of a scaled loss."""
    exact = kind is torch.float64
    w = {
        path: torch.tensor(array, dtype=torch.float64 if exact else torch.float32, requires_grad=True)
        for path, array in state.items()
        if array.dtype.kind == "f"
    }
    x, t = torch.tensor(DATA["x"], dtype=torch.float64 if exact else torch.float32), torch.tensor(DATA["t"])
    with torch.autocast("cpu", dtype=torch.bfloat16 if exact else kind, enabled=not exact):
        loss = torch.nn.functional.cross_entropy(NETWORKS[network][1](w, x), t)
    (loss * 1024).backward()
    return {path: value.grad.numpy() / 1024 for path, value in w.items() if value.grad is not None}


@pytest.mark.parametrize(
    ("network", "kind", "backend"),
    [(network, kind, "numpy") for network in NETWORKS for kind in ("f16", "bf16")]
    + [("cnn", "bf16", "ort"), ("lstm", "f16", "ort")],
)
def test_gradients_are_as_near_to_the_exact_ones_as_autocasts(network: str, kind: str, backend: str) -> None:
    run = training(TRAINED.format(network=NETWORKS[network][0]), DATA, precision=kind, backend=backend)
    state = run.first_state()
    if "loss_scale" in state:
        state["loss_scale"][...] = 1024
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}[kind]
    exact = gradients_by_torch(network, state, torch.float64)
    autocast = gradients_by_torch(network, state, dtype)
    before = {path: array.copy() for path, array in state.items()}
    stepper = run.stepper(state)
    stepper.step({**DATA, "step": np.float32(1), "seed": np.int64(0), "rate": np.float32(1)})
    after = stepper.state()
    assert exact.keys() == set(run.step.trained)
    for path, gradient in exact.items():
        ours = (before[path] - after[path]) / 0.1
        size = np.linalg.norm(gradient)
        error, theirs = np.linalg.norm(ours - gradient) / size, np.linalg.norm(autocast[path] - gradient) / size
        assert error < 2 * theirs + 4 * DType(kind).eps, path
        assert error > 1e-6, f"{path} is not computed in 16 bits"


# The loss scale, of a weight whose gradient is the mean of `t`: scaled beyond 65,504 it is infinite

WEIGHT = """
model M {{
    input x: [batch, 1]
    param w: [1, 1] = 0
    y = x @ w
    output y
}}
train M {{ target t: [batch, 1]; loss mean(y * t); optimizer sgd(lr: 0.5); shuffle false; batch 1; {settings} }}
"""
SCALES = {
    "skipped until it is finite, then doubled after two steps, and skipped again": (
        "",
        [4.0] * 6,
        [2**15, 2**14, 2**13, 2**13, 2**14, 2**13],
        [0, 0, 0, -2, -4, -4],
    ),
    "a small gradient between two": ("", [4.0, 0.5, 2.0], [2**15, 2**15, 2**14], [0, -0.25, -0.25]),
    "a step of two batches is skipped for one of them": (
        "accumulate 2",
        [4.0, 0.5, 1.0, 0.5],
        [2**16, 2**15, 2**15, 2**15],
        [0, 0, 0, -0.375],
    ),
    "gradients are clipped once they are unscaled": (
        "accumulate 2; clip_norm 0.5",
        [0.75, 0.75, 0.25, 0.25],
        [2**16] * 3 + [2**17],
        [0, -0.25, -0.25, -0.375],
    ),
    "decay and averages rest in a skipped step": (
        "average 0.5; l2 0.5",
        [4.0, 0.5, 0.5],
        [2**15, 2**15, 2**16],
        [0, -0.25, -0.375],
    ),
}


def steps_of(run: Training, targets: list[float]) -> Iterator[dict[str, np.ndarray]]:
    """The states after steps on these targets."""
    stepper = run.stepper(run.first_state())
    for number, target in enumerate(targets, 1):
        batch = {"x": np.ones((1, 1), np.float32), "t": np.full((1, 1), target, np.float32)}
        stepper.step({**batch, "step": np.float32(number), "seed": np.int64(0), "rate": np.float32(1)})
        yield {path: array.copy() for path, array in stepper.state().items()}


@pytest.fixture
def grows_after_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_scaling, "GROWTH_INTERVAL", 2)


@pytest.mark.usefixtures("grows_after_two")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", SCALES)
def test_a_step_that_is_not_finite_is_skipped_and_halves_the_scale(case: str, backend: str) -> None:
    settings, targets, scales, weights = SCALES[case]
    states = list(steps_of(training(WEIGHT.format(settings=settings), precision="f16", backend=backend), targets))
    assert [float(state["loss_scale"]) for state in states] == scales
    np.testing.assert_allclose([float(state["w"][0, 0]) for state in states], weights, rtol=1e-5)
    assert all(np.isfinite(array).all() for state in states for array in state.values())


class Adam:
    """Adam of one weight as GradScaler calls it; importing PyTorch's optimizers takes longer than all other tests."""

    def __init__(self, w: Any) -> None:
        self.param_groups, self.w = [{"params": [w]}], w
        self.m, self.v, self.steps = 0.0, 0.0, 0

    def step(self) -> None:
        self.steps += 1
        self.m = 0.9 * self.m + 0.1 * self.w.grad
        self.v = 0.999 * self.v + 0.001 * self.w.grad**2
        m, v = self.m / (1 - 0.9**self.steps), self.v / (1 - 0.999**self.steps)
        self.w.data -= 0.1 * m / (v**0.5 + 1e-8)


@pytest.mark.usefixtures("grows_after_two")
def test_scales_and_weights_are_those_of_grad_scaler() -> None:
    targets = [4.0, 0.1, 0.2, 0.3, 0.4, 3.0, 1.5, 0.7, 9.0, 0.5, 0.25, 0.125]
    text = WEIGHT.format(settings="").replace("sgd(lr: 0.5)", "adam(lr: 0.1)")
    ours = list(steps_of(training(text, precision="f16"), targets))
    w = torch.zeros(1, 1, requires_grad=True)
    adam, scaler = Adam(w), torch.amp.GradScaler("cpu", growth_interval=2)
    for target, state in zip(targets, ours, strict=True):
        w.grad = None
        with torch.autocast("cpu", dtype=torch.float16):
            y = torch.ones(1, 1) @ w
        scaler.scale((y.float() * target).mean()).backward()
        scaler.step(adam)
        scaler.update()
        assert scaler.get_scale() == float(state["loss_scale"])
        np.testing.assert_allclose(state["w"], w.detach().numpy(), rtol=1e-5)


def test_bf16_scales_no_loss() -> None:
    assert not any("loss_scale" in path for path in training(WEIGHT.format(settings=""), precision="bf16").step.states)


@pytest.mark.usefixtures("grows_after_two")
@pytest.mark.parametrize("backend", BACKENDS)
def test_workers_skip_the_same_steps(backend: str) -> None:
    """Only the second of two workers has the target whose gradient overflows."""
    data = {"x": np.ones((8, 1), np.float32), "t": np.array([[1], [300], [1], [1], [1], [1], [1], [200]], np.float32)}
    text = WEIGHT.format(settings="epochs 2").replace("batch 1", "batch 2")

    def last_state(collective: Collective | None) -> dict[str, np.ndarray]:
        run = Training(text_source(text), Options(precision="f16", backend=backend), collective=collective)
        run.examples = from_arrays(data, "data")
        loop = run.loop()
        loop.run()
        return {path: array.copy() for path, array in loop.stepper.state().items()}

    alone = last_state(None)
    assert alone["loss_scale/skipped_steps"] >= 2
    for state in run_in_threads(2, last_state):
        for path, array in alone.items():
            np.testing.assert_allclose(state[path], array, rtol=1e-6, err_msg=path)


# Runs, files and refusals

RUN = """
model M {
    input x: [batch, 1]
    y = x -> Dense(4, tanh) -> Dropout(0.2) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); optimizer adam(lr: 0.01); batch 4; epochs 3; seed 2; PRECISION
    data csv("line.csv") -> columns(inputs: "x", targets: "t") }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and its data."""
    rows = [f"{x / 8},{1e5 * x}" for x in range(20)]  # of which f16 cannot hold the gradients at first
    (tmp_path / "line.csv").write_text("\n".join(["x,t", *rows]))
    (tmp_path / "m.model").write_text(RUN.replace("PRECISION", 'precision "f16"'))
    (tmp_path / "plain.model").write_text(RUN.replace("PRECISION", ""))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_resumes_with_its_scale(folder: Path, backend: str) -> None:
    def train(*arguments: str) -> None:
        done = invoke("train", "-q", "--backend", backend, *arguments)
        assert done.exit_code == 0, done.stderr

    train("plain.model", "--precision", "f16", "-o", "whole")
    train("m.model", "--epochs", "1", "-o", "parts")
    train("m.model", "--epochs", "3", "--resume", "parts")
    whole, parts = (max((folder / run / "checkpoints").glob("*.safetensors")) for run in ("whole", "parts"))
    states = load_file(whole), load_file(parts)
    assert float(states[0]["loss_scale"]) < 2**16, "some step was skipped"
    assert states[0].keys() == states[1].keys()
    for path, array in states[0].items():
        assert array.tobytes() == states[1][path].tobytes(), path


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_a_compiled_step_computes_what_training_computes(folder: Path, precision: str) -> None:
    (folder / "w.model").write_text(WEIGHT.format(settings=""))
    arguments = ("compile", "w.model", "--train", "--precision", precision, "-q", "-o", "w.onnx")
    assert invoke(*arguments).exit_code == 0
    runner, state = OnnxRunner("w.onnx"), dict(load_file("w.safetensors"))
    targets = [4.0, 0.3, 4.0, 0.7, 4.0]
    trained = list(steps_of(training(WEIGHT.format(settings=""), precision=precision), targets))
    assert ("loss_scale" in state) == (precision == "f16")
    for number, (target, expected) in enumerate(zip(targets, trained, strict=True), 1):
        feeds = {**state, "x": np.ones((1, 1), np.float32), "t": np.full((1, 1), target, np.float32), "step": number}
        results = runner.run({name: np.asarray(feeds[name], np.float32) for name in runner.inputs})
        state = {path: results[f"{path}.next"] for path in state}
        for path, array in state.items():
            np.testing.assert_allclose(array, expected[path], rtol=1e-6, err_msg=path)


REFUSED = {
    "an unknown name": (("train", "plain.model", "--precision", "fp16"), "'fp16' is not one of"),
    "without --train": (("compile", "plain.model", "--precision", "f16"), "it needs --train"),
    "a model in f64": (("train", "plain.model", "--dtype", "f64", "--precision", "bf16"), "error[E629]"),
    "a model in f16": (("train", "m.model", "--dtype", "f16"), "error[E629]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_mixed_precision_is_refused(folder: Path, case: str) -> None:
    arguments, message = REFUSED[case]
    done = invoke(*arguments, "-q")
    assert done.exit_code in (1, 2) and message in done.stderr, done.stderr


def test_python_and_the_train_block_know_the_same_names(folder: Path) -> None:
    model = nablac.compile("plain.model")
    assert len(model.train(epochs=1, precision="bf16", progress=False)["loss"]) == 1
    with pytest.raises(NablacError, match=r"`precision` must be one of f32, bf16, f16, mixed, got 'bf61'"):
        model.train(epochs=1, precision="bf61", progress=False)
    with pytest.raises(NablacError, match="`precision` must be"):
        nablac.compile(RUN.replace("PRECISION", 'precision "half"'))
    assert training(RUN.replace("PRECISION", 'precision "f16"'), precision="f32").short is None


def test_mixed_is_what_a_target_has_kernels_for() -> None:
    """bf16, unless products have kernels of f16 alone: CUDA's provider has Conv of bf16 from opset 22 on."""
    chosen = {name: short_type("mixed", target) for name, target in {**EXPORT_TARGETS, "numpy": NUMPY}.items()}
    assert {name: str(dtype) for name, dtype in chosen.items() if name != "tensorrt"} == {
        "numpy": "bf16",
        "ort-cpu": "bf16",
        "ort-cuda": "f16",
        "ort-web": "f16",
        "portable": "bf16",
    }


def test_the_page_lists_operators_as_they_are_declared() -> None:
    rows = [line for line in (ROOT / "docs" / "precision.md").read_text().splitlines() if line.startswith("| ")]
    for row, mixed in zip(rows[1:4], ("short", "f32", "operands"), strict=True):
        listed = re.findall(r"`(\w+)`", row)
        assert listed and {name: Operator.registry[name].mixed for name in listed} == dict.fromkeys(listed, mixed)
    short = {name for name, operator in Operator.registry.items() if operator.mixed == "short"}
    assert short == set(re.findall(r"`(\w+)`", rows[1]))
