"""Every form in which a convolution and its gradients are written gives PyTorch's results, wherever it applies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.costs import cheapest
from compiler.dims import Dim
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.operators import convolution_lowering
from compiler.operators.convolution import Conv
from compiler.operators.leaves import Input
from compiler.targets import ORT_CPU
from compiler.types import DType, TensorType
from runtime.onnx_session import OnnxRunner

# Images [batch, channels, ...], kernels [filters, channels / groups, ...], then strides, pads, dilations and groups.
SETTINGS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any, Any, Any, int]] = {
    "3x3": ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "1x1": ((2, 3, 4, 5), (4, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "1x1 with strides": ((3, 3, 5, 4), (4, 3, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    "one position": ((3, 4, 1, 1), (5, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strides that leave items over": ((2, 2, 8, 7), (3, 2, 3, 2), (3, 2), (1, 0), (1, 1), 1),
    "dilations": ((2, 2, 9, 8), (3, 2, 3, 2), (1, 2), (2, 1), (2, 3), 1),
    "groups": ((2, 4, 5, 5), (6, 2, 3, 3), (1, 1), (1, 1), (1, 1), 2),
    "depthwise": ((2, 4, 5, 5), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), 4),
    "a pad wider than the kernel reaches": ((2, 2, 3, 3), (2, 2, 1, 2), (1, 1), (1, 1), (1, 1), 1),
    "one axis": ((2, 3, 7), (4, 3, 3), (2,), (1,), (1,), 1),
    "three axes": ((2, 2, 3, 4, 3), (3, 2, 2, 2, 2), (1, 1, 1), (0, 1, 0), (1, 1, 1), 1),
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(
    "form",
    [
        *convolution_lowering.CONVOLUTIONS,
        *convolution_lowering.WEIGHT_GRADIENTS,
        *convolution_lowering.TRANSPOSES,
        "by the table",
    ],
)
def test_every_form_gives_the_results(form: str, setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    images, kernels, strides, pads, dilations, groups = setting
    batch = Dim.named("batch")
    x = Input("x", TensorType(DType.F32, (batch, *images[1:])))()
    w = Input("w", TensorType(DType.F32, kernels))()
    bias = Input("bias", TensorType(DType.F32, kernels[:1]))()
    y = Conv(strides, pads * 2, dilations, groups)(x, w, bias)
    grad = Input("grad", y.type)()
    to_x, to_w, _ = y.node.op.pullback(grad, x, w, bias, result=y)
    graph = Graph({"x": x, "w": w, "bias": bias, "grad": grad}, {"y": y, "to_x": to_x, "to_w": to_w})
    if form != "by the table":
        own = {
            "convolution": convolution_lowering.CONVOLUTIONS,
            "convolution weight gradient": convolution_lowering.WEIGHT_GRADIENTS,
            "transpose of a convolution": convolution_lowering.TRANSPOSES,
        }
        monkeypatch.setattr(
            convolution_lowering,
            "cheapest",
            lambda target, choice, default, **_: form if form in own[choice] else default,
        )
    generator = np.random.default_rng(0)
    arrays = {}
    for name, value in graph.inputs.items():
        shape = [images[0], *value.shape[1:]] if value.shape[0] == batch else value.shape
        arrays[name] = generator.normal(size=shape).astype(np.float32)
    tensors = {name: torch.tensor(array.astype(np.float64), requires_grad=True) for name, array in arrays.items()}
    convolve = {3: torch.conv1d, 4: torch.conv2d, 5: torch.conv3d}[len(images)]
    result = convolve(tensors["x"], tensors["w"], tensors["bias"], strides, pads, dilations, groups)
    result.backward(tensors["grad"])
    found = OnnxRunner(export(graph, opset=18, weights=None).SerializeToString()).run(arrays)
    np.testing.assert_allclose(found["y"], result.detach().numpy(), rtol=1e-4, atol=1e-5)
    for name in ("x", "w"):
        np.testing.assert_allclose(found[f"to_{name}"], tensors[name].grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_table_of_costs_decides() -> None:
    """At the measured sizes: few positions of many channels, and the other way round."""
    sizes = {"batch": 8, "taps": 9, "groups": 1}
    few = {**sizes, "channels": 512, "filters": 512, "positions": 1}
    many = {**sizes, "channels": 32, "filters": 32, "positions": 1024}
    assert cheapest(ORT_CPU, "convolution weight gradient", "", **few) == "joined"
    assert cheapest(ORT_CPU, "convolution weight gradient", "", **many) == "taps"
    assert cheapest(ORT_CPU, "transpose of a convolution", "", stride=1, **few) == "product"
    assert cheapest(ORT_CPU, "transpose of a convolution", "", stride=1, **many) == "transpose"
