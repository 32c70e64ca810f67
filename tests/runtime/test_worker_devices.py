"""Which device a worker takes, and its training there: onnxruntime's CPU provider stands in for that of CUDA."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime import backends, onnx_session
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.workers import devices
from runtime.workers.collective import Collective
from tests.models import text_source
from tests.workers.threads import run_in_threads

TEXT = """
model M {
    input x: [batch, 3]
    y = x -> Dense(8) -> tanh -> Dropout(0.2) -> Dense(1)
    output y
}
train M { target t: [batch, 1]; loss rmse(y, t); optimizer adam(lr: 0.05); epochs 2; batch 8; validation 0.2 }
"""
GENERATOR = np.random.default_rng(0)
DATA = {"x": GENERATOR.normal(size=(41, 3)), "t": GENERATOR.normal(size=(41, 1))}


def worker(rank: int, size: int) -> Any:
    return SimpleNamespace(local_rank=rank, local_size=size)


@pytest.mark.parametrize(
    ("name", "there", "chosen"),
    [
        ("cpu", 2, ["cpu"] * 4),
        ("cuda", 4, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cuda", 1, ["cuda:0"] * 4),  # as on Ray, which shows each worker its own
        ("cuda", 0, ["cuda:0"] * 4),  # which onnxruntime then refuses
    ],
)
def test_workers_take_the_devices_of_their_machine_in_turn(
    name: str, there: int, chosen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: there)
    assert [devices.device_of_worker(name, worker(rank, 4)) for rank in range(4)] == chosen


def test_a_numbered_device_is_for_one_worker_of_a_machine() -> None:
    assert devices.device_of_worker("cuda:1", worker(0, 1)) == "cuda:1"
    for name in ("cuda:0", "cuda:1"):
        with pytest.raises(NablacError, match="is one device for the 2 workers of this machine") as refused:
            devices.device_of_worker(name, worker(0, 2))
        assert refused.value.diagnostics[0].code == "E890" and "`--device cuda`" in str(refused.value)


def test_the_driver_is_asked_how_many_devices_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(pointer: Any) -> int:
        pointer._obj.value = 3
        return 0

    driver = SimpleNamespace(cuInit=lambda flags: 0, cuDeviceGetCount=counted)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert devices.cuda_devices() == 3
    driver.cuInit = lambda flags: 100  # CUDA_ERROR_NO_DEVICE
    assert devices.cuda_devices() == 0
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError()))
    assert devices.cuda_devices() == 0


def train(collective: Collective | None, device: str) -> tuple[dict[str, Any], dict[str, list[float]]]:
    training = Training(
        text_source(TEXT, dtype=DType.F32), Options(backend="ort", device=device), collective=collective
    )
    training.examples = from_arrays(DATA, "data")
    loop = training.loop()
    loop.run()
    return {path: array.copy() for path, array in loop.stepper.state().items()}, loop.position.history


def test_workers_on_devices_train_as_one_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is in the memory of the CPU, and is copied to the device for each step; the last batch is uneven."""
    state, history = train(None, "cpu")
    asked = []

    def providers(device: backends.Device) -> list[str]:
        asked.append(str(device))
        return ["CPUExecutionProvider"]

    original = onnxruntime.OrtValue.ortvalue_from_numpy
    monkeypatch.setitem(backends.PROVIDERS, "cuda", "CPUExecutionProvider")
    monkeypatch.setattr(onnx_session, "_providers", providers)
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", lambda array, kind, number: original(array))
    monkeypatch.setattr(onnxruntime.IOBinding, "bind_output", _on_cpu(onnxruntime.IOBinding.bind_output))
    monkeypatch.setattr(devices, "cuda_devices", lambda: 2)
    for other_state, other_history in run_in_threads(2, lambda collective: train(collective, "cuda")):
        for path, array in state.items():
            np.testing.assert_allclose(other_state[path], array, rtol=1e-4, atol=1e-5, err_msg=path)
        for name, values in history.items():
            np.testing.assert_allclose(other_history[name], values, rtol=1e-4, err_msg=name)
    assert set(asked) == {"cuda", "cuda:1"}


def _on_cpu(bind: Any) -> Any:
    return lambda binding, name, kind="cpu", number=0: bind(binding, name, "cpu", 0)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA")
def test_a_device_that_is_not_there_is_refused_before_the_first_step() -> None:
    with pytest.raises(NablacError, match="there is no device `cuda` here") as refused:
        run_in_threads(2, lambda collective: train(collective, "cuda"))
    assert refused.value.diagnostics[0].code == "E910"
