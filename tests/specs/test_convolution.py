"""Convolutions and poolings against torch, in every combination of their options."""

from __future__ import annotations

from itertools import product
from typing import Any

from tests.specs.parity import Case, case, check, each, torch
from tests.specs.weights import convolution

nn = torch.nn
IMAGE = ("batch", 4, "height", "width")
SIZES = (
    {"batch": 1, "height": 9, "width": 9},
    {"batch": 2, "height": 10, "width": 7},
    {"batch": 7, "height": 8, "width": 8},
)
LENGTHS = ({"batch": 1, "length": 7}, {"batch": 2, "length": 12}, {"batch": 7, "length": 9})


def amount(padding: Any, kernel: int, dilation: int) -> Any:
    """Our padding as torch's, for odd kernels."""
    return {"valid": 0, "same": dilation * (kernel - 1) // 2}.get(padding, padding)


def shown(padding: Any) -> str:
    return f'"{padding}"' if isinstance(padding, str) else str(list(padding) if isinstance(padding, tuple) else padding)


class ChannelsLast(nn.Module):  # type: ignore[misc]
    """A convolution and relu on images whose channels come last."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return torch.relu(self.module(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


PLANE = tuple(
    case(
        f"Conv2D, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}, groups {groups}",
        f"output x -> Conv2D(6, {kernel}, {stride}, {shown(padding)}, dilation: {dilation}, groups: {groups})",
        nn.Conv2d(4, 6, kernel, stride, amount(padding, kernel, dilation), dilation, groups),
        convolution("conv2d"),
        sizes=SIZES,
        x=IMAGE,
    )
    for kernel, stride, padding, dilation, groups in (
        *product((1, 3), (1, 2), ("valid", "same", 1), (1,), (1, 2)),
        *product((3,), (1, 2), ("valid", "same", 2), (2,), (1, 2)),
        (5, 1, "same", 1, 1),
        (5, 3, "same", 1, 1),
        (3, 1, (2, 0), 1, 1),
    )
)

LINE = tuple(
    case(
        f"Conv1D, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}, groups {groups}",
        f"output x -> Conv1D(6, {kernel}, {stride}, {shown(padding)}, dilation: {dilation}, groups: {groups})",
        nn.Conv1d(4, 6, kernel, stride, amount(padding, kernel, dilation), dilation, groups),
        convolution("conv1d"),
        sizes=LENGTHS,
        x=("batch", 4, "length"),
    )
    for kernel, stride, padding, dilation, groups in (
        *product((1, 3), (1, 2), ("valid", "same", 2), (1,), (1,)),
        (3, 1, "same", 2, 1),
        (3, 2, "valid", 2, 2),
        (5, 1, 1, 1, 2),
    )
)

UNEVEN = (
    case(
        "an even kernel has its odd zero after",
        "output x -> Conv2D(6, 4)",
        nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(4, 6, 4)),
        lambda module: convolution("conv2d")(module[1]),
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "kernel, stride and dilation for each axis",
        'output x -> Conv2D(6, [3, 2], [1, 2], "valid", dilation: [2, 1])',
        nn.Conv2d(4, 6, (3, 2), (1, 2), dilation=(2, 1)),
        convolution("conv2d"),
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "padding before alone, as nothing may see what comes after it",
        'output x -> Conv1D(6, 3, padding: "causal", dilation: 2)',
        nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(4, 6, 3, dilation=2)),
        lambda module: convolution("conv1d")(module[1]),
        sizes=LENGTHS,
        x=("batch", 4, "length"),
    ),
    case(
        "padding for each side",
        "output x -> Conv2D(6, 3, padding: [0, 1, 2, 3])",
        nn.Sequential(nn.ZeroPad2d((1, 3, 0, 2)), nn.Conv2d(4, 6, 3)),
        lambda module: convolution("conv2d")(module[1]),
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "channels last",
        'output x -> Conv2D(6, 3, layout: "NHWC", activation: relu)',
        ChannelsLast(nn.Conv2d(4, 6, 3, padding=1)),
        lambda module: convolution("conv2d")(module.module),
        sizes=SIZES,
        x=("batch", "height", "width", 4),
    ),
    case(
        "a convolution without bias",
        "output x -> Conv2D(6, 3, bias: false)",
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        convolution("conv2d"),
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "every channel by itself",
        "output x -> DepthwiseConv2D(3, 2)",
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        convolution("depthwise_conv2d.conv2d"),
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "separable",
        "output x -> SeparableConv2D(6, 3)",
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 6, 1)),
        lambda module: {
            "separable_conv2d.depthwise_conv2d.conv2d.W": module[0].weight,
            "separable_conv2d.conv2d.W": module[1].weight,
            "separable_conv2d.conv2d.b": module[1].bias,
        },
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "volumes",
        "output x -> Conv3D(3, 3, [1, 2, 1], 1)",
        nn.Conv3d(2, 3, 3, (1, 2, 1), 1),
        convolution("conv3d"),
        sizes=({"batch": 2, "height": 5, "width": 4},),
        x=("batch", 2, 4, "height", "width"),
    ),
)


TRANSPOSED = tuple(
    case(
        f"ConvTranspose2D, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}, groups {groups}, "
        f"output padding {extra}",
        f"output x -> ConvTranspose2D(6, {kernel}, {stride}, {shown(padding)}, dilation: {dilation}, groups: {groups}, "
        f"output_padding: {extra})",
        nn.ConvTranspose2d(4, 6, kernel, stride, amount(padding, kernel, dilation), extra, groups, dilation=dilation),
        convolution("conv_transpose2d"),
        sizes=SIZES,
        x=IMAGE,
    )
    for kernel, stride, padding, dilation, groups, extra in (
        (3, 1, "valid", 1, 1, 0),
        (3, 1, "same", 1, 1, 0),
        (2, 2, "valid", 1, 1, 0),
        (3, 2, 1, 1, 1, 1),
        (3, 2, "valid", 2, 1, 0),
        (4, 2, 1, 1, 2, 0),
        (3, 3, 0, 1, 1, 2),
        (3, 1, 1, 2, 1, 1),
    )
)

POOLED = (
    *(
        case(
            f"MaxPool2D, window {window}, stride {stride}, padding {padding}",
            f"output x -> MaxPool2D({window}, {stride}, {shown(padding)})",
            nn.MaxPool2d(window, stride, amount(padding, window, 1)),
            sizes=SIZES,
            x=IMAGE,
        )
        for window, stride, padding in ((2, 2, "valid"), (3, 2, 1), (3, 1, "same"), (2, 1, "valid"), (3, 3, "valid"))
    ),
    *(
        case(
            f"AvgPool2D, window {window}, stride {stride}, padding {padding}, {counted}",
            f"output x -> AvgPool2D({window}, {stride}, {shown(padding)}, count_padding: {str(counted).lower()})",
            nn.AvgPool2d(window, stride, amount(padding, window, 1), count_include_pad=counted),
            sizes=SIZES,
            x=IMAGE,
        )
        for window, stride, padding in ((2, 2, "valid"), (3, 2, 1), (3, 1, "same"))
        for counted in (True, False)
    ),
    case(
        "MaxPool2D with holes",
        "output x -> MaxPool2D(2, 1, dilation: 2)",
        nn.MaxPool2d(2, 1, dilation=2),
        sizes=SIZES,
        x=IMAGE,
    ),
    case("a stride of its own", "output x -> MaxPool2D(3)", nn.MaxPool2d(3), sizes=SIZES, x=IMAGE),
    case("windows of two lengths", "output x -> MaxPool2D([3, 2])", nn.MaxPool2d((3, 2)), sizes=SIZES, x=IMAGE),
    case("MaxPool1D", "output x -> MaxPool1D(3, 2)", nn.MaxPool1d(3, 2), sizes=LENGTHS, x=("batch", 4, "length")),
    case("AvgPool1D", "output x -> AvgPool1D(2)", nn.AvgPool1d(2), sizes=LENGTHS, x=("batch", 4, "length")),
    case("GlobalMaxPool2D", "output x -> GlobalMaxPool2D()", lambda x: x.amax((2, 3)), sizes=SIZES, x=IMAGE),
    case("GlobalAvgPool2D", "output x -> GlobalAvgPool2D()", lambda x: x.mean((2, 3)), sizes=SIZES, x=IMAGE),
    case(
        "GlobalMaxPool1D", "output x -> GlobalMaxPool1D()", lambda x: x.amax(2), sizes=LENGTHS, x=("batch", 4, "length")
    ),
    case(
        "GlobalAvgPool1D", "output x -> GlobalAvgPool1D()", lambda x: x.mean(2), sizes=LENGTHS, x=("batch", 4, "length")
    ),
)

SHAPED = (
    case("UpSample2D", "output x -> UpSample2D(3)", nn.Upsample(scale_factor=3), sizes=SIZES, x=IMAGE),
    case("Flatten", "output x -> Flatten()", nn.Flatten(), sizes=({"batch": 1}, {"batch": 7}), x=("batch", 3, 4, 5)),
    case(
        "RepeatVector",
        "output x -> RepeatVector(3)",
        lambda x: x[:, None].expand(-1, 3, -1),
        sizes=({"batch": 1}, {"batch": 7}),
        x=("batch", 4),
    ),
)


@each(PLANE + LINE + UNEVEN + TRANSPOSED)
def test_convolutions_are_torchs(case: Case) -> None:
    check(case)


@each(POOLED)
def test_poolings_are_torchs(case: Case) -> None:
    check(case)


@each(SHAPED)
def test_shape_layers_are_torchs(case: Case) -> None:
    check(case)
