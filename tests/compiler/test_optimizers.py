"""Twenty training steps with every optimizer and setting against PyTorch's: losses and weights, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.elaborate import optimizers
from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.training.step import training_step
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.initialization import initialize
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from tests.compiler.texts import mistakes
from tests.models import spec_of

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")

STEPS = 20
MLP = """
model M {
    input x: [batch, 5]
    y = x -> Dense(6, activation: tanh) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); SETTINGS }
"""
RECURRENT = """
model M {
    input x: [batch, time, 3]
    y = x -> LSTM(4, sequences: true) -> LSTM(4) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss mse(y, t); SETTINGS }
"""
TWINS = """
model M {
    input x: [batch, 5]
    y = x -> Dense(5, activation: tanh) -> Dense(5)
    output y
}
train M { target t: [batch, 1]; loss mean((y - t) ** 2); SETTINGS }
"""
Weights = dict[str, Any]


def lion(parameters: list[Any], lr: float, beta1: float, beta2: float, weight_decay: float) -> Any:
    """Chen et al. 2023, algorithm 2; PyTorch has none."""

    class Lion(torch.optim.Optimizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(parameters, {})
            self.momenta = [torch.zeros_like(each) for each in parameters]

        @torch.no_grad()
        def step(self) -> None:  # type: ignore[override]
            for place, each in enumerate(parameters):
                m = self.momenta[place]
                update = torch.sign(beta1 * m + (1 - beta1) * each.grad)
                self.momenta[place] = beta2 * m + (1 - beta2) * each.grad
                each.sub_(lr * (update + weight_decay * each))

    return Lion()


OPTIMIZERS: dict[str, Callable[[list[Any]], Any]] = {
    "sgd(lr: 0.1)": lambda p: torch.optim.SGD(p, 0.1),
    "sgd(lr: 0.05, momentum: 0.9)": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "sgd(lr: 0.05, momentum: 0.9, nesterov: true)": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    "sgd(lr: 0.1, weight_decay: 0.01)": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01),
    "adam(lr: 1e-2)": lambda p: torch.optim.Adam(p, 1e-2),
    "adam(lr: 1e-2, beta1: 0.5, beta2: 0.9, eps: 1e-3)": lambda p: torch.optim.Adam(p, 1e-2, (0.5, 0.9), 1e-3),
    "adamw(lr: 1e-2, weight_decay: 0.1)": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
    "rmsprop(lr: 1e-2)": lambda p: torch.optim.RMSprop(p, 1e-2),
    "rmsprop(lr: 1e-2, decay: 0.9, momentum: 0.8)": lambda p: torch.optim.RMSprop(p, 1e-2, alpha=0.9, momentum=0.8),
    "adagrad(lr: 0.1)": lambda p: torch.optim.Adagrad(p, 0.1),
    "lion(lr: 1e-3, weight_decay: 0.1)": lambda p: lion(p, 1e-3, 0.9, 0.99, 0.1),
}


class Ours:
    """A training step on NumPy with fixed data."""

    def __init__(self, text: str, settings: str, dtype: DType = DType.F64) -> None:
        step = training_step(spec_of(text.replace("SETTINGS", settings), training=True, dtype=dtype))
        self.trained, self.averages, self.graph = step.trained, step.averages, optimize(step.graph)
        weights = initialize(self.graph, 4)
        weights |= {average: weights[path] for path, average in step.averages.items()}
        self.runner = NumpyRunner(self.graph, weights)
        self.first = dict(self.runner.weights)
        generator = np.random.default_rng(2)
        sizes = {"batch": 8, "time": 6}
        shape = [size if isinstance(size, int) else sizes[str(size)] for size in self.graph.inputs["x"].shape]
        self.dtype = dtype.numpy
        self.data = {"x": generator.normal(size=shape), "t": generator.normal(size=(8, 1))}
        self.number = 0

    def step(self, **data: np.ndarray) -> float:
        self.number += 1
        given = {**self.data, **data, "step": np.array(self.number), "seed": np.array(self.number)}
        types = {name: value.type.dtype.numpy for name, value in self.graph.inputs.items()}
        results = self.runner.run({name: np.asarray(given[name], types[name]) for name in types})
        for path in self.graph.updates:
            self.runner.weights[path] = results[path]
        return float(results["loss"])


def torch_loss(text: str, weights: Weights, x: Any, t: Any) -> Any:
    """The same model from the same weights."""
    if "LSTM" in text:
        for layer in ("lstm", "lstm_1"):
            w = {name.rpartition(".")[2]: each for name, each in weights.items() if name.startswith(f"{layer}.")}
            h, c = (torch.zeros(len(x), 4, dtype=x.dtype) for _ in range(2))
            outputs = []
            for place in range(x.shape[1]):
                gate = {g: x[:, place] @ w[f"W_x{g}"].T + h @ w[f"W_h{g}"].T + w[f"b_{g}"] for g in "ifgo"}
                c = torch.sigmoid(gate["f"]) * c + torch.sigmoid(gate["i"]) * torch.tanh(gate["g"])
                h = torch.sigmoid(gate["o"]) * torch.tanh(c)
                outputs.append(h)
            x = torch.stack(outputs, 1)
        y = x[:, -1] @ weights["dense.W"] + weights["dense.b"]
    else:
        hidden = torch.tanh(x @ weights["dense.W"] + weights["dense.b"])
        y = hidden @ weights["dense_1.W"] + weights["dense_1.b"]
    return ((y - t) ** 2).mean()


def leaves(ours: Ours) -> Weights:
    return {path: torch.tensor(np.array(ours.first[path]), requires_grad=True) for path in ours.trained}


def tensors(ours: Ours) -> tuple[Any, Any]:
    x, t = (torch.tensor(ours.data[name].astype(ours.dtype)) for name in ("x", "t"))
    return x, t


@pytest.mark.parametrize("dtype", [DType.F64, DType.F32])
@pytest.mark.parametrize("text", [MLP, RECURRENT], ids=["mlp", "lstm"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_steps_as_pytorchs(optimizer: str, text: str, dtype: DType) -> None:
    if dtype is DType.F32 and optimizer.startswith(("lion", "adagrad", "rmsprop")):
        dtype = DType.F64  # their first step is a gradient over its own size, which turns its last bit into a step
    ours = Ours(text, f"optimizer {optimizer}", dtype)
    weights = leaves(ours)
    theirs, (x, t) = OPTIMIZERS[optimizer](list(weights.values())), tensors(ours)
    tolerance = 1e-10 if dtype is DType.F64 else 1e-5
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = torch_loss(text, weights, x, t)
        loss.backward()
        theirs.step()
        np.testing.assert_allclose(ours.step(), loss.item(), rtol=tolerance * 10)
    for path, tensor in weights.items():
        found = ours.runner.weights[path]
        np.testing.assert_allclose(found, tensor.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=path)


def clip_norm(weights: Weights) -> None:
    torch.nn.utils.clip_grad_norm_(list(weights.values()), 0.1)


def clip_value(weights: Weights) -> None:
    torch.nn.utils.clip_grad_value_(list(weights.values()), 0.02)


def decay_all(weights: Weights) -> None:
    for tensor in weights.values():
        tensor.grad += 0.1 * tensor.detach()


def decay_matrices(weights: Weights) -> None:
    for tensor in weights.values():
        if tensor.ndim > 1:
            tensor.grad += 0.1 * tensor.detach()


def l1_matrices(weights: Weights) -> None:
    for tensor in weights.values():
        if tensor.ndim > 1:
            tensor.grad += 0.01 * torch.sign(tensor.detach())


SETTINGS: dict[str, Callable[[Weights], None]] = {
    "clip_norm 0.1": clip_norm,
    "clip_value 0.02": clip_value,
    "weight_decay 0.1": decay_matrices,
    "weight_decay 0.1; undecayed []": decay_all,
    'weight_decay 0.1; undecayed ["*.b"]': decay_matrices,
    "l2 0.05": decay_matrices,
    "l1 0.01": l1_matrices,
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_change_gradients_as_pytorchs_do(settings: str) -> None:
    ours = Ours(MLP, f"optimizer sgd(lr: 0.1, momentum: 0.9); {settings}")
    weights = leaves(ours)
    theirs, (x, t) = torch.optim.SGD(list(weights.values()), 0.1, momentum=0.9), tensors(ours)
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = torch_loss(MLP, weights, x, t)
        loss.backward()
        SETTINGS[settings](weights)
        theirs.step()
        np.testing.assert_allclose(ours.step(), loss.item(), rtol=1e-9)


GRADIENTS = {  # the norm's squares overflow, are lost, or add up to more than the dtype holds
    DType.F32: ([3e30, -4e30], [3e-25, 4e-25], [0.0, 0], [0.06, -0.08]),
    DType.F16: ([6e4, -6e4], [300.0, 400], [6e-5, 8e-5], [0.0, 0], [0.06, -0.08]),
    DType.F64: ([3e300, -4e300], [3e-200, 4e-200]),
}


@pytest.mark.parametrize("backend", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("dtype", GRADIENTS)
def test_a_norm_is_clipped_whatever_its_squares_are(dtype: DType, backend: str) -> None:
    text = """
model M { input x: [2]; param w: [2] = 0; output y = sum(w * x) }
train M { loss y; optimizer sgd(lr: 1); clip_norm 1.0 }
"""
    step = training_step(spec_of(text, training=True, dtype=dtype))
    for gradient in GRADIENTS[dtype]:
        x = np.asarray(gradient, dtype.numpy)
        weights = {"w": np.zeros(2, dtype.numpy)}
        if backend == "numpy":
            found = NumpyRunner(step.graph, weights).run({"x": x})["w"]
        else:
            found = OnnxRunner(export(step.graph).SerializeToString(), threads=1).run({"x": x, **weights})["w.next"]
        norm = np.linalg.norm(x.astype(np.longdouble))
        expected = -x.astype(np.longdouble) * min(1, 1 / (norm + 1e-6))
        np.testing.assert_allclose(found, expected.astype(float), rtol={DType.F16: 2e-3}.get(dtype, 1e-6))


def test_an_optimizers_own_decay_leaves_out_what_is_undecayed() -> None:
    ours = Ours(MLP, 'optimizer adamw(lr: 1e-2, weight_decay: 0.5); undecayed "*.b"')
    weights = leaves(ours)
    groups = [
        {"params": [each for path, each in weights.items() if path.endswith(".b")], "weight_decay": 0.0},
        {"params": [each for path, each in weights.items() if not path.endswith(".b")], "weight_decay": 0.5},
    ]
    theirs, (x, t) = torch.optim.AdamW(groups, 1e-2), tensors(ours)
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = torch_loss(MLP, weights, x, t)
        loss.backward()
        theirs.step()
        np.testing.assert_allclose(ours.step(), loss.item(), rtol=1e-9)
    for path, tensor in weights.items():
        np.testing.assert_allclose(ours.runner.weights[path], tensor.detach().numpy(), rtol=1e-9, err_msg=path)


def test_accumulated_gradients_are_those_of_the_larger_batch() -> None:
    ours = Ours(MLP, "optimizer adam(lr: 1e-2); accumulate 4")
    weights = leaves(ours)
    theirs, (x, t) = torch.optim.Adam(list(weights.values()), 1e-2), tensors(ours)
    for _ in range(5):
        theirs.zero_grad()
        torch_loss(MLP, weights, x, t).backward()
        theirs.step()
        for part in range(4):
            rows = slice(2 * part, 2 * part + 2)
            ours.step(x=ours.data["x"][rows], t=ours.data["t"][rows])
        for path, tensor in weights.items():
            np.testing.assert_allclose(ours.runner.weights[path], tensor.detach().numpy(), rtol=1e-9, err_msg=path)


def test_averages_follow_the_weights() -> None:
    ours = Ours(MLP, "optimizer sgd(lr: 0.1); average 0.8")
    averages = {path: ours.first[path] for path in ours.trained}
    for _ in range(STEPS):
        ours.step()
        averages = {path: 0.8 * each + 0.2 * ours.runner.weights[path] for path, each in averages.items()}
        for path, each in averages.items():
            np.testing.assert_allclose(ours.runner.weights[ours.averages[path]], each, rtol=1e-12)


def noam(step: int) -> float:
    """Vaswani et al. 2017, equation 3."""
    return float(16**-0.5 * min(step**-0.5, step * 6**-1.5))


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "step_decay(step, 0.1, every: 4, factor: 0.5)": lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.5),
    "cosine_decay(step - 1, 0.1, steps: 30)": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30),
    "exponential_decay(step - 1, 0.1, steps: 1, factor: 0.9)": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "linear_decay(step - 1, 0.1, steps: 10, lowest: 0.02)": (
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=10)
    ),
    "warmup(step, 0.1, steps: 8)": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1 / 8, 1.0, total_iters=7),
    "one_cycle(step - 1, 0.1, steps: 29, rise: 8 / 29)": (  # PyTorch's phases end at whole steps
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=30, cycle_momentum=False)
    ),
    "noam(step, 16, steps: 6)": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 10 * noam(n + 1)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_pytorchs(schedule: str) -> None:
    ours = Ours(MLP, f"optimizer sgd(lr: {schedule})")
    weights = leaves(ours)
    theirs, (x, t) = torch.optim.SGD(list(weights.values()), 0.1), tensors(ours)
    scheduler = SCHEDULES[schedule](theirs)
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = torch_loss(MLP, weights, x, t)
        loss.backward()
        theirs.step()
        scheduler.step()
        np.testing.assert_allclose(ours.step(), loss.item(), rtol=1e-9)


def test_an_optimizer_of_ones_own_trains_as_the_librarys() -> None:
    own = """
optimizer mine(lr = 0.1, beta = 0.9) {
    state v = 0
    v' = beta * v + grad
    param' = param - lr * v'
}
"""
    first, second = Ours(own + MLP, "optimizer mine(lr: 0.05)"), Ours(MLP, "optimizer sgd(lr: 0.05, momentum: 0.9)")
    for _ in range(STEPS):
        assert first.step() == pytest.approx(second.step(), rel=1e-12)


FIRSTS: dict[str, Callable[[Weights], Any]] = {
    "= 0.5": lambda w: np.full((5, 6), 0.5),
    "= param": lambda w: w["dense.W"],
    "= zeros(shape(param)[:-1] + [1]) + 2": lambda w: np.full((5, 6), 2.0),
    "~ constant(value: 3)": lambda w: np.full((5, 6), 3.0),
}


@pytest.mark.parametrize("first", FIRSTS)
def test_a_state_begins_as_it_says(first: str) -> None:
    text = f"optimizer mine() {{ state v {first}\n v' = v + grad\n param' = param - v' }}\n{MLP}"
    weights = Ours(text, "optimizer mine()").first
    np.testing.assert_array_equal(weights["optimizer/v/dense.W"], FIRSTS[first](weights))


@pytest.mark.parametrize("first", ["~ normal(std: 1.0)", "= random.normal(like: param)"])
def test_a_state_that_is_drawn_is_another_for_each_parameter(first: str) -> None:
    text = f"optimizer mine() {{ state v {first}\n v' = v + grad\n param' = param - v' }}\n{MLP}"
    weights = Ours(text, "optimizer mine()").first
    drawn = np.concatenate([weights[f"optimizer/v/{path}"].ravel() for path in ("dense.W", "dense.b", "dense_1.W")])
    assert np.unique(drawn).size == drawn.size


def test_noise_in_an_optimizer_is_another_for_each_parameter() -> None:
    """Stochastic gradient Langevin dynamics (Welling and Teh 2011)."""
    text = f"optimizer langevin() {{ param' = param + random.normal(like: param) }}\n{TWINS}"
    ours = Ours(text, "optimizer langevin()")
    ours.step()
    moved = [ours.runner.weights[path] - ours.first[path] for path in ("dense.W", "dense_1.W")]
    assert np.unique(np.concatenate(moved)).size == 2 * 25


@pytest.mark.parametrize("first", ["grad", "0.1 * step"])
def test_a_state_cannot_begin_at_what_a_step_gives(first: str) -> None:
    text = f"optimizer mine() {{ state v = {first}\n v' = v + grad\n param' = param - v' }}\n{MLP}"
    (mistake,) = mistakes(text.replace("SETTINGS", "optimizer mine()"))
    assert mistake.startswith("E417")


REFUSED = {
    "optimizer adam()": (
        MLP.replace("loss mse(y, t)", "loss mean(cast(argmax(y, axis: -1), f32)) + mean(t)"),
        "E610 nothing to train: no gradient of the loss reaches a parameter",
    ),
    'freeze "dens.*"': (MLP, "E613 `dens.*` in `freeze` matches no parameter"),
    'undecayed "*.bias"': (MLP, "E613 `*.bias` in `undecayed` matches no parameter"),
    'only "dens.*"': (MLP, "E613 `dens.*` in `only` matches no parameter"),
    'rates ["dens.*", 0.1]': (MLP, "E613 `dens.*` in `rates` matches no parameter"),
    "only []": (MLP, "E610 nothing to train: no gradient of the loss reaches a parameter"),
    'freeze "*"': (MLP, "E610 nothing to train: no gradient of the loss reaches a parameter"),
}


@pytest.mark.parametrize("settings", REFUSED)
def test_what_cannot_be_trained_is_refused(settings: str) -> None:
    text, message = REFUSED[settings]
    elaborated = spec_of(text.replace("SETTINGS", settings), training=True)
    with pytest.raises(NablacError) as caught:
        training_step(elaborated)
    (diagnostic,) = caught.value.diagnostics
    assert f"{diagnostic.code} {diagnostic.message}" == message


@pytest.mark.parametrize("settings", REFUSED)
def test_check_refuses_what_cannot_be_trained(settings: str) -> None:
    text, message = REFUSED[settings]
    assert mistakes(text.replace("SETTINGS", settings)) == [message]


def test_a_model_without_a_train_block_is_refused() -> None:
    spec = spec_of("model M { input x: [batch, 2]; output x -> Dense(1) }\n", training=True)
    with pytest.raises(NablacError) as caught:
        training_step(spec)
    assert str(caught.value).startswith("error[E612]: model M has no train block")


ALIKE = """
model M {
    input x: [batch, 4]
    output y = x -> Dense(4, activation: tanh) -> Dense(4, activation: tanh) -> Dense(1)
}
train M { target t: [batch, 1]; loss mse(y, t); SETTINGS }
optimizer noisy(lr = 0.1) { param' = param - lr * (grad + random.normal(like: grad)) }
"""


def test_equations_are_elaborated_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    elaborate_equations = optimizers._equations
    monkeypatch.setattr(
        optimizers, "_equations", lambda *inputs: paths.append(inputs[-1]) or elaborate_equations(*inputs)
    )
    spec = spec_of(ALIKE.replace("SETTINGS", "seed 1")).training
    assert spec is not None and not paths
    assert len(spec.optimizer.equations) == 6
    assert len(paths) == 4  # one for each type of parameter
    assert set(spec.optimizer.equations) == {f"dense{number}.{name}" for number in ("", "_1", "_2") for name in "Wb"}
    assert len(paths) == 4


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ("optimizer adam(lr: 0.1)", 4),  # [4, 4], [4], [4, 1] and [1]
        ("seed 1", 4),  # adam(), as no other is named
        ('optimizer adamw(lr: 0.1); undecayed "dense.W"', 5),  # what is exempt has equations of its own
        ('optimizer adamw(lr: 0.1); freeze ["dense.*"]', 4),
        ('optimizer adamw(lr: 0.1); rates ["dense.W", 0.1]', 5),
        ("optimizer noisy()", 6),  # draws are those of each parameter
    ],
)
def test_equations_are_elaborated_once_for_a_type_of_parameter(settings: str, count: int) -> None:
    spec = spec_of(ALIKE.replace("SETTINGS", settings)).training
    assert spec is not None
    assert len({id(each) for each in spec.optimizer.equations.values()}) == count
