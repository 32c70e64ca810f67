"""Convolution, pooling, softmax and whole recurrences against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.operators.cell_activations import RELU
from compiler.operators.convolution import Conv, ConvTranspose, ConvWeightGradient
from compiler.operators.normalization import LogSoftmax, Softmax
from compiler.operators.pooling import AveragePool, MaxPool, MaxPoolIndices
from compiler.operators.recurrent import GRU, LSTM, RNN
from compiler.types import DType
from tests.compiler.operators.harness import OperatorCases, case, distinct, each, integers, refuses

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
F = torch.nn.functional
F32 = (DType.F32,)


def conv_weight(strides: int, padding: int, shape: tuple[int, ...]) -> Any:
    def oracle(x: Any, grad: Any) -> Any:
        return torch.nn.grad.conv2d_weight(x, shape, grad, strides, padding)

    return oracle


def turned(w: Any, order: tuple[int, ...], n: int) -> Any:
    """Gate blocks of ONNX's order as PyTorch stacks them."""
    return torch.cat([w[place * n : (place + 1) * n] for place in order])


def recurrent(kind: str, order: tuple[int, ...], n: int, nonlinearity: str = "tanh") -> Any:
    def oracle(x: Any, w: Any, r: Any, b: Any, *first: Any) -> Any:
        half = b.shape[1] // 2
        weights = [
            turned(each, order, n)
            for direction in range(len(w))
            for each in (w[direction], r[direction], b[direction, :half], b[direction, half:])
        ]
        states = first or [x.new_zeros(len(w), x.shape[1], n)] * (2 if kind == "lstm" else 1)
        flags = (True, 1, 0.0, False, len(w) == 2, False)
        run = getattr(torch._VF, f"rnn_{nonlinearity}" if kind == "rnn" else kind)
        y, *ends = run(x, states if kind == "lstm" else states[0], weights, *flags)
        return y.reshape(*y.shape[:2], len(w), n).transpose(1, 2), *ends

    return oracle


IMAGE = (2, 4, 7, 6)
EXTENT = {"height": 7, "width": 6}
CASES = (
    case("softmax of the last axis", Softmax(), x=(2, 5), oracle=lambda x: F.softmax(x, -1)),
    case("softmax of an axis between", Softmax(1), x=(2, 5, 3), oracle=lambda x: F.softmax(x, 1)),
    case("log softmax", LogSoftmax(), x=(2, 5), oracle=lambda x: F.log_softmax(x, -1)),
    case("conv", Conv(), x=IMAGE, w=(3, 4, 3, 2), oracle=F.conv2d, named=EXTENT),
    case("conv with a bias", Conv((2, 1)), x=IMAGE, w=(3, 4, 3, 2), b=(3,),
         oracle=lambda x, w, b: F.conv2d(x, w, b, (2, 1)), named=EXTENT),
    case("conv 1x1", Conv(), x=IMAGE, w=(3, 4, 1, 1), oracle=F.conv2d, named=EXTENT),
    case("conv of a line", Conv((2,), (1, 2)), x=(2, 3, 9), w=(5, 3, 4),
         oracle=lambda x, w: F.conv1d(F.pad(x, (1, 2)), w, stride=2), named={}),
    case("conv of a volume", Conv(), x=(2, 3, 5, 4, 6), w=(2, 3, 2, 2, 3), oracle=F.conv3d, named={}),
    case("conv stride 2, pad 1", Conv((2, 2), (1, 1, 1, 1)), x=IMAGE, w=(3, 4, 3, 3),
         oracle=lambda x, w: F.conv2d(x, w, None, 2, 1), named=EXTENT),
    case("conv dilation", Conv((), (), (2, 1)), x=IMAGE, w=(3, 4, 3, 3),
         oracle=lambda x, w: F.conv2d(x, w, dilation=(2, 1)), named=EXTENT),
    case("conv in groups", Conv(groups=2), x=IMAGE, w=(6, 2, 3, 3),
         oracle=lambda x, w: F.conv2d(x, w, groups=2), named={"height": 7}),
    case("conv of each channel", Conv(groups=4), x=IMAGE, w=(4, 1, 3, 3),
         oracle=lambda x, w: F.conv2d(x, w, groups=4), named=EXTENT),
    case("conv of many positions, in groups", Conv(groups=2), x=(2, 4, 10, 11), w=(6, 2, 3, 3),
         oracle=lambda x, w: F.conv2d(x, w, groups=2), named={}),
    case("transposed conv of many positions, in groups", ConvTranspose(groups=2), x=(2, 4, 9, 8), w=(4, 3, 2, 2),
         oracle=lambda x, w: F.conv_transpose2d(x, w, groups=2), named={}),
    case("transposed conv", ConvTranspose(), x=(2, 3, 4, 5), w=(3, 2, 3, 3), oracle=F.conv_transpose2d, named={}),
    case("transposed conv, stride 2", ConvTranspose((2, 2), (1, 1, 1, 1), (), 1, (1, 1)), x=(2, 3, 4, 5),
         w=(3, 2, 3, 3),
         oracle=lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1), named={}),
    case("transposed conv, output padding of dilation", ConvTranspose((1, 1), (), (2, 3), 1, (1, 2)), x=(2, 3, 4, 5),
         w=(3, 2, 3, 3), oracle=lambda x, w: F.conv_transpose2d(x, w, None, 1, 0, (1, 2), 1, (2, 3)), named={}),
    case("transposed conv, output padding out of pads", ConvTranspose((1, 2), (1,) * 4, (3, 4), 1, (2, 3)),
         x=(2, 3, 4, 5), w=(3, 2, 3, 3), named={},
         oracle=lambda x, w: F.conv_transpose2d(x, w, None, (1, 2), 1, (2, 3), 1, (3, 4))),
    case("transposed conv in groups", ConvTranspose(groups=2), x=(2, 4, 4, 5), w=(4, 3, 2, 2),
         oracle=lambda x, w: F.conv_transpose2d(x, w, groups=2), named={}),
    case("a conv's weight gradient", ConvWeightGradient((3, 3), (2, 2), (1, 1, 1, 1)), x=IMAGE, grad=(2, 3, 4, 3),
         oracle=conv_weight(2, 1, (3, 4, 3, 3)), named={}),
    case("max pool", MaxPool((2, 2), (2, 2)), x=distinct((2, 3, 7, 6)),
         oracle=lambda x: F.max_pool2d(x, 2), named=EXTENT),
    case("max pool of equal items, some left over", MaxPool((2, 3), (2, 3)),
         x=integers((2, 2, 5, 7), 3, dtype="float64"), oracle=lambda x: F.max_pool2d(x, (2, 3)), named=EXTENT),
    case("max pool with overlap", MaxPool((3, 3), (1, 2), (1, 1, 1, 1)), x=distinct((2, 3, 7, 6)),
         oracle=lambda x: F.max_pool2d(x, 3, (1, 2), 1), named=EXTENT),
    case("max pool with holes", MaxPool((3,), (1,), (), (2,)), x=distinct((2, 3, 9)),
         oracle=lambda x: F.max_pool1d(x, 3, 1, 0, 2), named={}),
    case("places of the largest", MaxPoolIndices((2, 2), (2, 2)), x=distinct((1, 1, 6, 4)),
         oracle=lambda x: F.max_pool2d(x, 2, return_indices=True), named={}),
    case("average pool", AveragePool((2, 2), (2, 2)), x=(2, 3, 7, 6),
         oracle=lambda x: F.avg_pool2d(x, 2), named=EXTENT),
    case("average pool with pads", AveragePool((3, 3), (2, 2), (1, 1, 1, 1)), x=(2, 3, 7, 6),
         oracle=lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), named=EXTENT),
    case("average pool that counts pads", AveragePool((3, 3), (2, 2), (1, 1, 1, 1), (), True), x=(2, 3, 7, 6),
         oracle=lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=True), named=EXTENT),
    case("rnn", RNN(3), x=(5, 2, 4), w=(1, 3, 4), r=(1, 3, 3), b=(1, 6), h=(1, 2, 3),
         oracle=recurrent("rnn", (0,), 3), order=0, named={}, dtypes=F32),
    case("rnn with relu", RNN(3, activations=(RELU,)), x=(5, 2, 4), w=(1, 3, 4), r=(1, 3, 3), b=(1, 6), h=(1, 2, 3),
         oracle=recurrent("rnn", (0,), 3, "relu"), order=0, named={}, dtypes=F32),
    case("lstm", LSTM(3), x=(5, 2, 4), w=(1, 12, 4), r=(1, 12, 3), b=(1, 24), h=(1, 2, 3), c=(1, 2, 3),
         oracle=recurrent("lstm", (0, 2, 3, 1), 3), order=0, named={}, dtypes=F32),
    case("lstm of few steps", LSTM(3), x=(2, 2, 4), w=(1, 12, 4), r=(1, 12, 3), b=(1, 24), h=(1, 2, 3), c=(1, 2, 3),
         oracle=recurrent("lstm", (0, 2, 3, 1), 3), order=0, named={}, dtypes=F32),
    case("lstm in both directions", LSTM(3, "bidirectional"), x=(5, 2, 4), w=(2, 12, 4), r=(2, 12, 3), b=(2, 24),
         oracle=recurrent("lstm", (0, 2, 3, 1), 3), order=0, named={}, dtypes=F32),
    case("gru", GRU(3, linear_before_reset=True), x=(5, 2, 4), w=(1, 9, 4), r=(1, 9, 3), b=(1, 18), h=(1, 2, 3),
         oracle=recurrent("gru", (1, 0, 2), 3), order=0, named={}, dtypes=F32),
    case("gru of few steps", GRU(3, linear_before_reset=True), x=(2, 2, 4), w=(1, 9, 4), r=(1, 9, 3), b=(1, 18),
         h=(1, 2, 3), oracle=recurrent("gru", (1, 0, 2), 3), order=0, named={}, dtypes=F32),
    case("gru in both directions", GRU(3, "bidirectional", linear_before_reset=True), x=(5, 2, 4), w=(2, 9, 4),
         r=(2, 9, 3), b=(2, 18), h=(2, 2, 3), oracle=recurrent("gru", (1, 0, 2), 3), order=0, named={}, dtypes=F32),
)  # fmt: skip


@each(CASES)
class TestNeural(OperatorCases):
    pass


@pytest.mark.parametrize("shape", ["f32[1, 1, 0]", "f32[0, 1, 1]"])
@pytest.mark.parametrize("op", [Conv(), ConvTranspose()], ids=str)
def test_a_kernel_of_no_elements_is_refused(op: Conv | ConvTranspose, shape: str) -> None:
    x = "f32[1, 0, 5]" if isinstance(op, ConvTranspose) and shape.startswith("f32[0") else "f32[1, 1, 5]"
    assert str(refuses(op, x, shape)) == f"the kernel {shape} is empty"
