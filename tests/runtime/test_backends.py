"""The names of devices, and what onnxruntime runs elsewhere."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from compiler.onnx.exporter import export
from compiler.passes.pipeline import optimize
from compiler.targets import ORT_CPU, ORT_CUDA
from compiler.training.step import training_step
from grammar.diagnostics import NablacError
from runtime.backends import PROVIDERS, Device, device_named
from runtime.onnx_placement import nodes_elsewhere, record_placement, require_placement
from runtime.onnx_session import OnnxRunner, has_statistics
from tests.models import elaborate, spec_of
from tests.runtime.graphs import text_of


@pytest.mark.parametrize(
    ("name", "device", "target"),
    [
        ("cpu", Device("cpu"), ORT_CPU),
        ("cuda", Device("cuda", 0), ORT_CUDA),
        ("cuda:0", Device("cuda", 0), ORT_CUDA),
        ("cuda:12", Device("cuda", 12), ORT_CUDA),
    ],
)
def test_a_device_has_a_kind_and_a_number(name: str, device: Device, target: object) -> None:
    assert device_named(name) == device and device_named(name).target is target


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cuda:",
            "error[E910]: there is no device `cuda:`\n --> device\n"
            "help: the number of a device follows its name: `cuda:0` is the first, `cuda:1` the second",
        ),
        (
            "cuda:-1",
            "error[E910]: there is no device `cuda:-1`\n --> device\n"
            "help: the number of a device follows its name: `cuda:0` is the first, `cuda:1` the second",
        ),
        (
            "cpu:1",
            "error[E910]: there is no device `cpu:1`\n --> device\n"
            "help: write `cpu`; `--threads` says how many of its processors are used",
        ),
        ("cudo", "error[E910]: there is no device `cudo`\n --> device\nhelp: did you mean `cuda`?"),
        ("gpu:1", "error[E910]: there is no device `gpu`\n --> device\nhelp: the choices are `cpu` and `cuda`"),
    ],
)
def test_other_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(NablacError) as caught:
        device_named(name)
    assert text_of(caught).strip() == message


@pytest.mark.skipif(PROVIDERS["cuda"] in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA")
def test_a_device_without_its_provider_is_refused_by_its_number() -> None:
    model = export(elaborate("model M { input x: [n]; output y = x + 1 }"), target=ORT_CUDA)
    with pytest.raises(NablacError) as caught:
        OnnxRunner(model.SerializeToString(), device="cuda:1")
    version = onnxruntime.__version__
    assert f"there is no device `cuda:1` here: onnxruntime {version} was built without it" in text_of(caught)


def session_of(text: str) -> tuple[onnxruntime.InferenceSession, object]:
    model = export(optimize(elaborate(text), ORT_CUDA), weights={}, target=ORT_CUDA)
    options = onnxruntime.SessionOptions()
    record_placement(options)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]), model


def test_nodes_of_another_provider_are_counted_without_arithmetic_on_sizes() -> None:
    text = "model M { input x: [n, 3]; output y = cos(tan(x)); output s = size(x, 0) * 2 + 1 }"
    session, model = session_of(text)
    assert nodes_elsewhere(session, model, PROVIDERS["cpu"]) == []  # type: ignore[arg-type]
    assert [node.op_type for node in nodes_elsewhere(session, model, PROVIDERS["cuda"])] == ["Tan", "Cos"]  # type: ignore[arg-type]
    require_placement(session, model, PROVIDERS["cpu"], "cuda")  # type: ignore[arg-type]
    with pytest.raises(NablacError) as caught:
        require_placement(session, model, PROVIDERS["cuda"], "cuda:1")  # type: ignore[arg-type]
    assert text_of(caught).strip() == (
        "error[E910]: 2 nodes of this model have no kernel on `cuda:1`: 1 Tan, 1 Cos\n"
        " --> test.model:1:43\n"
        "  = onnxruntime would run them on the processor, and copy their operands there and back in each run\n"
        "help: write these equations with other operators, or run on the CPU; "
        "`nablac compile --target ort-cuda` lists them"
    )
    assert np.isfinite(session.run(None, {"x": np.zeros((2, 3), np.float32)})[0]).all()


def test_a_layer_normalisation_with_statistics_is_not_fused_on_cuda() -> None:
    text = (
        "model M { input x: [batch, 4]; output y = x -> Dense(4) -> LayerNorm() -> Dense(2) }\n"
        "train M { target t: [batch, 2]; loss mse(y, t) }"
    )
    step = training_step(spec_of(text, training=True)).graph
    assert has_statistics(export(optimize(step, ORT_CUDA), target=ORT_CUDA))
    assert not has_statistics(export(optimize(elaborate(text), ORT_CUDA), target=ORT_CUDA))
