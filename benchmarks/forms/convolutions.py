"""A convolution of square images whose weights change from run to run, and both of its gradients, in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product as every

from benchmarks.forms import Case, Choice
from compiler.graph import Graph, Value
from compiler.operators.convolution import Conv
from compiler.operators.convolution_lowering import CONVOLUTIONS, TRANSPOSES, WEIGHT_GRADIENTS
from compiler.operators.leaves import Input
from compiler.types import DType, TensorType
from grammar.record import Record

MOST_FLOPS = 1.5e9
OPSET = 18  # the first with Col2Im


class Setting(Record):
    """A convolution by its sizes."""

    batch: int
    channels: int  # of a group, as the filters
    filters: int
    side: int  # of the result
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def flops(self) -> int:
        positions, taps = self.side**2, self.kernel**2
        return 2 * self.batch * self.groups * self.channels * self.filters * positions * taps

    def sizes(self) -> Mapping[str, int]:
        return {
            "batch": self.batch,
            "channels": self.channels,
            "filters": self.filters,
            "taps": self.kernel**2,
            "positions": self.side**2,
            "groups": self.groups,
        }

    def values(self) -> tuple[Value, Value, Value]:
        """The image, the kernel, and the gradient of the result, as inputs."""

        def floats(name: str, *shape: int) -> Value:
            return Input(name, TensorType(DType.F32, shape))()

        x = floats("x", self.batch, self.channels * self.groups, *(self.side * self.stride,) * 2)
        w = floats("w", self.filters * self.groups, self.channels, *(self.kernel,) * 2)
        return x, w, floats("grad", self.batch, self.filters * self.groups, *(self.side,) * 2)

    def convolution(self) -> Conv:
        return Conv((self.stride,) * 2, (self.kernel // 2,) * 4, (1, 1), self.groups)


def settings() -> Iterator[Setting]:
    yield from (Setting(8, 3, 64, 16, 7, 2), Setting(8, 3, 64, 32, 7, 2), Setting(64, 1, 32, 28, 3))
    yield from (Setting(8, 1, 1, side, 3, 1, 64) for side in (4, 14, 28))
    yield from (
        Setting(8, width, 2 * width, side, kernel, 2) for width, side, kernel in every((64, 256), (4, 8), (1, 3))
    )
    for batch, width, side, kernel in every((8, 32), (8, 32, 128, 512), (1, 2, 4, 8, 16, 32), (1, 3)):
        yield Setting(batch, width, width, side, kernel)


def forward(setting: Setting) -> Graph:
    x, w, _ = setting.values()
    return Graph({"x": x, "w": w}, {"y": setting.convolution()(x, w)})


def weight_gradient(setting: Setting) -> Graph:
    x, w, grad = setting.values()
    conv = setting.convolution()
    _, to_w = conv.pullback(grad, x, w, result=conv(x, w))
    return Graph({"x": x, "grad": grad}, {"to_w": to_w})


def input_gradient(setting: Setting) -> Graph:
    x, w, grad = setting.values()
    conv = setting.convolution()
    to_x, _ = conv.pullback(grad, x, w, result=conv(x, w))
    return Graph({"grad": grad, "w": w}, {"to_x": to_x})


def forward_sizes(setting: Setting) -> Mapping[str, int]:
    return {name: size for name, size in setting.sizes().items() if name != "groups"}


def transpose_sizes(setting: Setting) -> Mapping[str, int]:
    """The sizes of the transpose: it reads the gradient, whose channels are the convolution's filters."""
    turned = {"channels": setting.filters, "filters": setting.channels}
    return {**setting.sizes(), **turned, "stride": setting.stride}


SETTINGS = tuple(setting for setting in settings() if setting.flops <= MOST_FLOPS)
CHOICES = (
    Choice(
        "convolution",
        tuple(CONVOLUTIONS),
        tuple(Case(forward_sizes(setting), partial(forward, setting)) for setting in SETTINGS if setting.groups == 1),
        opset=OPSET,
    ),
    Choice(
        "convolution weight gradient",
        tuple(WEIGHT_GRADIENTS),
        tuple(Case(setting.sizes(), partial(weight_gradient, setting)) for setting in SETTINGS),
        opset=OPSET,
    ),
    Choice(
        "transpose of a convolution",
        tuple(TRANSPOSES),
        tuple(Case(transpose_sizes(setting), partial(input_gradient, setting)) for setting in SETTINGS),
        opset=OPSET,
    ),
)
