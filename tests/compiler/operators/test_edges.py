"""Zeros, infinities, NaN, the limits of integers, ties and sizes 0 and 1: one value, whatever runs a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph, Operator, Value
from compiler.operators.activations import Erf, Relu, Sigmoid, Softplus, Tanh
from compiler.operators.arithmetic import Abs, Clip, FloorDiv, Maximum, Minimum, Mod, Neg, Reciprocal, Round, Sign
from compiler.operators.attention import LATER, Attention
from compiler.operators.casting import Cast
from compiler.operators.cell_activations import RELU
from compiler.operators.comparison import Equal, Greater, GreaterEqual, IsInf, IsNan, Less, LessEqual, NotEqual, Where
from compiler.operators.convolution import ConvTranspose
from compiler.operators.leaves import Input, constant
from compiler.operators.normalization import LogSoftmax, Softmax
from compiler.operators.ordering import ArgMax, ArgMin, CumSum, TopK
from compiler.operators.pooling import AveragePool, MaxPool, MaxPoolIndices
from compiler.operators.powers import Expm1, Log, Log1p, Pow, Sqrt
from compiler.operators.quantization import UNSPECIFIED
from compiler.operators.recurrent import GRU, LSTM, RNN
from compiler.operators.reductions import All, Any_, LogSumExp, Max, Mean, Min, Prod, Sum
from compiler.operators.trigonometry import Atan
from compiler.types import DType, TensorType
from tests.compiler.operators.harness import run_every_way

if TYPE_CHECKING:
    from compiler.types import Array

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

nan, inf = float("nan"), float("inf")
FLOATS = (DType.F32, DType.F64, DType.F16)
TOLERANCE = {DType.F32: 1e-6, DType.F64: 1e-12, DType.F16: 1e-3}


@dataclass(frozen=True, eq=False)
class Edge:
    """An operator on certain numbers; what is right comes from PyTorch in float64, or is written out."""

    label: str
    op: Operator
    operands: tuple[Any, ...]
    right: Callable[..., Any] | Sequence[Any]
    dtypes: tuple[DType, ...] = FLOATS


def edge(label: str, op: Operator, *operands: Any, right: Any, dtypes: tuple[DType, ...] = FLOATS) -> Edge:
    return Edge(label, op, operands, right, dtypes)


NUMBERS = [0.0, -0.0, 1, -1, 0.5, -2.5, 300, -300, inf, -inf, nan]
ROWS = [
    *([1, nan, 2], [nan, 1, 3], [3, 1, nan], [nan, nan, nan], [inf, nan, -inf], [inf, -inf, 0], [inf, inf, 1]),
    *([-inf, -inf, -inf], [-inf, 1, 2], [0.0, -0.0, 0.0], [5, 5, 5]),
]
PAIRS = np.array([(x, y) for x in NUMBERS for y in NUMBERS]).T
WAYS = (Equal(), NotEqual(), Less(), LessEqual(), Greater(), GreaterEqual())
COMPARED = (torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge)
WINDOWS = [[[-inf, -inf, 1, 2, -inf, -3, -inf, -inf]]]
I64, I32, I8, U8 = ((dtype,) for dtype in (DType.I64, DType.I32, DType.I8, DType.U8))
LEAST, MOST = -(2**63), 2**63 - 1
FAR = [1000, 700, 100, 40, -10, -40, -100, inf, -inf]
BIG = 2**53 + 1  # the first whole number that f64 does not hold


def _softplus(x: Any) -> Any:
    return torch.logaddexp(x, torch.zeros_like(x))


def _pool_places(x: Any) -> Any:
    return torch.nn.functional.max_pool1d(x, 2, 2, 1, return_indices=True)


EDGES = (
    edge("log1p", Log1p(), [*NUMBERS, 1e-4, -1e-4], right=torch.log1p),
    edge("expm1", Expm1(), [*NUMBERS, 1e-4, -1e-4], right=torch.expm1, dtypes=(DType.F64,)),
    edge("log", Log(), NUMBERS, right=torch.log),
    edge("sqrt", Sqrt(), NUMBERS, right=torch.sqrt),
    edge("reciprocal", Reciprocal(), NUMBERS, right=torch.reciprocal),
    edge("sign", Sign(), NUMBERS[:-1], right=torch.sign),
    edge("sign of NaN", Sign(), [nan], right=[nan]),
    edge("halves to the even", Round(), [0.5, 1.5, 2.5, -0.5, -1.5, inf, -inf, nan], right=torch.round),
    edge("clip from below", Clip(-1), NUMBERS, right=lambda x: torch.clip(x, -1)),
    edge("clip from above", Clip(None, 1), NUMBERS, right=lambda x: torch.clip(x, max=1)),
    edge("clip by nothing", Clip(), NUMBERS, right=lambda x: x),
    edge("clip by infinities", Clip(-inf, inf), NUMBERS, right=lambda x: x),
    edge("clip to one number", Clip(2, 2), NUMBERS, right=lambda x: torch.clip(x, 2, 2)),
    edge("// of floats", FloorDiv(), *PAIRS, right=torch.floor_divide),
    edge("% of floats", Mod(), *PAIRS, right=torch.remainder),
    edge("maximum", Maximum(), *PAIRS, right=torch.maximum),
    edge("minimum", Minimum(), *PAIRS, right=torch.minimum),
    edge("a whole power", Pow(), NUMBERS, np.full(11, -3), right=lambda x, y: x ** -3.0),
    edge("a root", Pow(), [0.0, 4, inf, nan], np.array(0.5), right=lambda x, y: x**0.5),
    edge("powers", Pow(), *PAIRS[:, (PAIRS[1] != 0.5)], right=torch.pow),
    *(edge(f"{op.name} with NaN", op, *PAIRS, right=right) for op, right in zip(WAYS, COMPARED, strict=True)),
    edge("isnan", IsNan(), NUMBERS, right=torch.isnan),
    edge("isinf", IsInf(), NUMBERS, right=torch.isinf),
    edge("where beside NaN", Where(), np.array([True, False]), [1, nan], [nan, 2], right=[[1, 2]]),
    edge("sigmoid", Sigmoid(), [*NUMBERS, -9.5, -15, 15], right=torch.sigmoid),
    edge("sigmoid far below zero", Sigmoid(), [-17.5, -20, -60, -87], right=torch.sigmoid, dtypes=FLOATS[:2]),
    edge("softplus", Softplus(), [*NUMBERS, -15, 15], right=_softplus),
    edge("softplus far out", Softplus(), FAR, right=_softplus),
    edge("tanh", Tanh(), NUMBERS, right=torch.tanh),
    edge("relu", Relu(), NUMBERS, right=torch.relu),
    edge("erf", Erf(), [*NUMBERS, 3.9, -4.1], right=torch.erf),
    edge("atan", Atan(), NUMBERS, right=torch.atan),
    *(edge(f"sum {axes}", Sum(axes), ROWS, right=lambda x, a=axes: x.sum(a)) for axes in ((0,), (1,))),
    edge("mean", Mean((1,)), ROWS, right=lambda x: x.mean(1)),
    edge("prod", Prod((1,)), ROWS, right=lambda x: x.prod(1)),
    edge("max", Max((1,)), ROWS, right=lambda x: x.amax(1)),
    edge("max of columns", Max((0,), keep=True), ROWS, right=lambda x: x.amax(0, True)),
    edge("max of all", Max(), ROWS, right=torch.amax),
    edge("min", Min((1,)), ROWS, right=lambda x: x.amin(1)),
    edge("min of all", Min(), ROWS, right=torch.amin),
    edge("logsumexp", LogSumExp((1,)), ROWS, right=lambda x: torch.logsumexp(x, 1)),
    edge("logsumexp of all", LogSumExp(), ROWS, right=lambda x: torch.logsumexp(x, (0, 1))),
    edge("logsumexp of large numbers", LogSumExp((1,)), [[20, 20, 20], [-800, -801, -802]],
         right=lambda x: torch.logsumexp(x, 1)),
    edge("softmax", Softmax(), ROWS, right=lambda x: x.softmax(-1)),
    edge("log_softmax", LogSoftmax(), ROWS, right=lambda x: x.log_softmax(-1)),
    edge("log_softmax along the first axis", LogSoftmax(0), np.array(ROWS).T, right=lambda x: x.log_softmax(0)),
    edge("log_softmax far apart", LogSoftmax(), [[0, 200, -200]], right=lambda x: x.log_softmax(-1)),
    edge("argmax", ArgMax(), ROWS, right=lambda x: x.argmax(-1)),
    edge("argmin", ArgMin(), ROWS, right=lambda x: x.argmin(-1)),
    edge("argmax of columns", ArgMax(0, keep=True), np.array(ROWS).T, right=lambda x: x.argmax(0, True)),
    edge("top_k", TopK(2), [[nan, 1, 3], [1, nan, nan], [inf, nan, -inf], [2, 2, 2], [-inf, -inf, -inf]],
         right=([[nan, 3], [nan, nan], [nan, inf], [2, 2], [-inf, -inf]], [[0, 2], [1, 2], [1, 0], [0, 1], [0, 1]])),
    edge("cumsum", CumSum(), ROWS, right=lambda x: x.cumsum(-1)),
    edge("max pool of -infinity", MaxPool((2,), (2,)), WINDOWS, right=[[[[-inf, 2, -3, -inf]]]]),
    edge("max pool of the lowest numbers", MaxPool((2,), (2,)), [[[-3.4028234663852886e38] * 2 + [-inf] * 2]],
         right=[[[[-3.4028234663852886e38, -inf]]]], dtypes=FLOATS[:2]),
    edge("max pool of -infinity beside padding", MaxPoolIndices((2,), (2,), (1, 1)), WINDOWS, right=_pool_places),
    edge("average pool of infinities", AveragePool((2,), (2,)), [[[inf, 1, inf, -inf, 1, 2]]],
         right=[[[[inf, nan, 1.5]]]]),
    edge("a transposed convolution of padding alone", ConvTranspose((1,), (1, 0), (2,), 1, (1,)), [[[1, 2]]], [[[1]]],
         right=[[[[2, 0]]]]),
    edge("a transposed convolution of nothing else", ConvTranspose((1,), (1, 0), (2,), 1, (1,)), [[[1]]], [[[1]]],
         right=[[[[0]]]]),
    edge("a transposed convolution, pads beyond its kernel", ConvTranspose((3,), (2, 1), (), 1, (2,)), [[[1, 2]]],
         [[[5, 7]]], right=[[[[0, 10, 14, 0]]]]),
    edge("bool of floats", Cast(DType.BOOL), NUMBERS, right=lambda x: x.bool()),
    edge("f16 of what it does not hold", Cast(DType.F16), [7e4, -7e4, 1e-9, nan], right=[[inf, -inf, 0, nan]],
         dtypes=FLOATS[:2]),
    edge("i64 of floats", Cast(DType.I64), [2.9, -2.9, -0.0, 300], right=[[2, -2, 0, 300]]),
    # Whole numbers wrap around.
    edge("sum beyond 2 ** 53", Sum(), [BIG, 2], right=[BIG + 2], dtypes=I64),
    edge("sum that wraps around", Sum((0,)), [[MOST, 1], [1, 2], [5, -4]], right=[[LEAST + 5, -1]], dtypes=I64),
    edge("sum of i32 that wraps around", Sum((1,), True), [[2**31 - 1, 1]], right=[[[-(2**31)]]], dtypes=I32),
    edge("sum of i8 that wraps around", Sum(), [[100, 100], [1, 2]], right=[-53], dtypes=I8),
    edge("sum over two of three axes", Sum((0, 2)), np.arange(24).reshape(2, 3, 4), right=[[60, 92, 124]], dtypes=I64),
    edge("prod beyond 2 ** 53", Prod(), [BIG, 3], right=[3 * BIG], dtypes=I64),
    edge("prod that wraps around", Prod((0,), True), [[2**31 - 1, 3], [2, 4]], right=[[[-2, 12]]], dtypes=I32),
    edge("prod over two of three axes", Prod((0, 2)), np.arange(1, 13).reshape(2, 3, 2),
         right=[[1 * 2 * 7 * 8, 3 * 4 * 9 * 10, 5 * 6 * 11 * 12]], dtypes=I64),
    edge("prod of u8", Prod(), [16, 17, 1], right=[16], dtypes=U8),
    edge("cumsum beyond 2 ** 53", CumSum(), [BIG, 2, -1], right=[[BIG, BIG + 2, BIG + 1]], dtypes=I64),
    edge("max beyond 2 ** 53", Max(), [BIG, BIG - 1], right=[BIG], dtypes=I64),
    edge("argmax beyond 2 ** 53", ArgMax(), [BIG - 1, BIG], right=[1], dtypes=I64),
    edge("top_k at the limits", TopK(2), [LEAST, MOST, 0], right=([MOST, 0], [1, 2]), dtypes=I64),
    edge("// near the limits", FloorDiv(), [MOST, MOST, LEAST, LEAST, LEAST, -7, 7, -7, 6],
         [1, -1, 3, -7, -1, 2, -2, -2, -3], right=[[MOST, -MOST, LEAST // 3, LEAST // -7, LEAST, -4, -4, 3, -2]],
         dtypes=I64),
    edge("// near the limits of i32", FloorDiv(), [-(2**31), -(2**31), 2**31 - 1], [-1, 3, -2],
         right=[[-(2**31), -(2**31) // 3, -(2**30)]], dtypes=I32),
    edge("// near the limits of i8", FloorDiv(), [-128, -128, 127], [-1, 3, -7], right=[[-128, -43, -19]], dtypes=I8),
    edge("// of u8", FloorDiv(), [255, 254, 0], [2, 255, 3], right=[[127, 0, 0]], dtypes=U8),
    edge("% near the limits", Mod(), [MOST, LEAST, LEAST, -7, 7], [-2, -1, 3, 2, -2], right=[[-1, 0, 1, 1, -1]],
         dtypes=I64),
    edge("the least integer's distance", Abs(), [LEAST, -5], right=[[LEAST, 5]], dtypes=I64),
    edge("the least integer's opposite", Neg(), [LEAST, -5], right=[[LEAST, 5]], dtypes=I64),
    edge("the least integer's sign", Sign(), [LEAST, 0], right=[[-1, 0]], dtypes=I64),
    # Sizes 0 and 1.
    edge("sum of nothing", Sum((0,)), np.zeros((0, 3)), right=[[0, 0, 0]]),
    edge("sum of nothing, whole", Sum((0,)), np.zeros((0, 3)), right=[[0, 0, 0]], dtypes=(*I64, *I8)),
    edge("prod of nothing", Prod((0,)), np.zeros((0, 3)), right=[[1, 1, 1]]),
    edge("prod of nothing, whole", Prod((0,)), np.zeros((0, 3)), right=[[1, 1, 1]], dtypes=(*I64, *U8)),
    edge("sums of no rows", Sum((1,)), np.zeros((0, 3)), right=[np.zeros(0)], dtypes=(*FLOATS, *I64)),
    edge("prods of no rows", Prod((1,)), np.zeros((0, 3)), right=[np.zeros(0)], dtypes=(*FLOATS, *I64)),
    edge("maxima of no rows", Max((1,)), np.zeros((0, 3)), right=[np.zeros(0)]),
    edge("all of nothing", All((0,)), np.zeros((0, 2), bool), right=[[True, True]]),
    edge("any of nothing", Any_((0,)), np.zeros((0, 2), bool), right=[[False, False]]),
    edge("softmax of nothing", Softmax(), np.zeros((2, 0)), right=[np.zeros((2, 0))]),
    edge("softmax of one", Softmax(), [[3], [-inf], [nan]], right=lambda x: x.softmax(-1)),
    edge("mean of one", Mean((1,)), [[3], [inf], [nan]], right=[[3, inf, nan]]),
    edge("cumsum of nothing", CumSum(), np.zeros((2, 0)), right=[np.zeros((2, 0))]),
    edge("cumsum of what came before one", CumSum(-1, True), [[3.0]], right=[[[0]]]),
    edge("argmax of no rows", ArgMax(), np.zeros((0, 3)), right=[np.zeros(0)]),
    edge("top_k of no rows", TopK(2), np.zeros((0, 3)), right=(np.zeros((0, 2)), np.zeros((0, 2)))),
)  # fmt: skip


@pytest.mark.parametrize(
    ("row", "dtype"), [pytest.param(row, dtype, id=f"{row.label}-{dtype}") for row in EDGES for dtype in row.dtypes]
)
def test_every_way_gives_what_is_right(row: Edge, dtype: DType) -> None:
    operands = [_operand(each, dtype) for each in row.operands]
    with np.errstate(all="ignore"):
        expected = _expected(row, operands)
    graph, feeds = _graph(row.op, operands)
    for way, found in run_every_way(graph, feeds).items():
        for (name, ours), theirs in zip(found.items(), expected, strict=True):
            rtol = TOLERANCE.get(DType.of(ours), 0)
            with np.errstate(over="ignore"):
                narrow = np.asarray(theirs).astype(ours.dtype)
            tiny = float(np.finfo(ours.dtype).tiny) if ours.dtype.kind == "f" else 0.0
            np.testing.assert_allclose(ours, narrow, rtol, tiny, err_msg=f"{name} by {way}")


def _operand(given: Any, dtype: DType) -> Array:
    array = np.asarray(given)
    kept = array.dtype.kind in "iu" and dtype.is_float and isinstance(given, np.ndarray)
    return array if array.dtype.kind == "b" or kept else array.astype(dtype.numpy)


def _expected(row: Edge, operands: Sequence[Array]) -> tuple[Any, ...]:
    if not callable(row.right):
        return tuple(row.right)
    wide = (each.astype(np.float64) if each.dtype.kind == "f" else each for each in operands)
    found = row.right(*map(torch.as_tensor, wide))
    return tuple(each.numpy() for each in found) if isinstance(found, tuple) else (found.numpy(),)


def _graph(op: Operator, operands: Sequence[Array]) -> tuple[Graph, dict[str, Array]]:
    inputs = {
        f"x{place}": Input(f"x{place}", TensorType(DType.of(each), each.shape))() for place, each in enumerate(operands)
    }
    results = op.apply(*inputs.values()).results
    graph = Graph(inputs, {f"y{place}": result for place, result in enumerate(results)})
    return graph, dict(zip(inputs, operands, strict=True))


# Gradients


def _first_of_equals(x: Any) -> Any:
    return torch.nn.functional.max_pool1d(x, 2, 2)


@pytest.mark.parametrize(
    ("op", "operands", "right"),
    [
        (MaxPool((2,), (2,)), ([[[-inf, -inf, 1, 2, 3, 3, -inf, 0]]],), _first_of_equals),
        (MaxPool((2,), (2,), (1, 1)), ([[[-inf, -inf, 1, 2, 3, 3, -inf, -inf]]],),
         lambda x: torch.nn.functional.max_pool1d(x, 2, 2, 1)),
        (Where(), (np.array([True, False, True]), [1, nan, inf], [nan, 2, nan]), torch.where),
        (Sigmoid(), ([-60, -20, 0, inf, -inf],), torch.sigmoid),
        (Softplus(), ([-60, -20, 0, 20, inf, -inf],), _softplus),
        (Softplus(), (FAR,), _softplus),
        (LogSumExp((1,)), ([[-inf, 1, 2], [1, 2, 3]],), lambda x: torch.logsumexp(x, 1)),
        (Clip(-1, 1), ([-inf, -1, 0.5, 1, inf, nan],), lambda x: torch.where(x.abs() <= 1, x, x.detach().clip(-1, 1))),
        (Prod((0,)), (np.zeros((0, 2)),), lambda x: x.prod(0)),
        (Sum((0,)), (np.zeros((0, 2)),), lambda x: x.sum(0)),
    ],
    ids=lambda value: str(value) if isinstance(value, Operator) else None,  # a function's text is its address
)  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_way_gives_the_gradient_that_is_right(
    op: Operator, operands: tuple[Any, ...], right: Any, dtype: DType
) -> None:
    arrays = [_operand(each, dtype) for each in operands]
    graph, feeds = _graph(op, arrays)
    (result,) = graph.outputs.values()
    leaves = [value for value in graph.inputs.values() if value.type.dtype.is_float]
    total: Value = Sum()(result)
    grads = gradients([total], [constant(1.0, dtype)], leaves)
    backward = Graph(graph.inputs, {str(place): grad for place, grad in enumerate(grads) if grad is not None})

    tensors = [torch.tensor(array.astype(np.float64) if array.dtype.kind == "f" else array) for array in arrays]
    wanted = [tensor.requires_grad_() for tensor in tensors if tensor.is_floating_point()]
    expected = torch.autograd.grad(right(*tensors).sum(), wanted)
    for way, found in run_every_way(backward, feeds).items():
        for ours, theirs in zip(found.values(), expected, strict=True):
            tiny = float(np.finfo(ours.dtype).tiny)
            np.testing.assert_allclose(ours, theirs.numpy(), 10 * TOLERANCE[dtype], tiny, err_msg=f"by {way}")


# What onnxruntime gives otherwise: the facts on `Operator.edges`

OTHERWISE: dict[str, tuple[Operator, tuple[Any, ...], Any]] = {
    "max_pool": (MaxPool((2,), (2,)), ([[[nan, 1, 2, nan]]],), [[[nan, nan]]]),
    "max_pool_indices": (MaxPoolIndices((2,), (2,)), ([[[nan, 1, 2, nan]]],), [[[nan, nan]]]),
    "attention": (  # the first query does not see the second key
        Attention(1.0, ((LATER, float(np.finfo(np.float32).min)),), zeroed=True),
        ([[[[1], [1]]]], [[[[1], [inf]]]], [[[[2], [3]]]]),
        [[[[2], [nan]]]],
    ),
    "rnn": (RNN(1, activations=(RELU,)), ([[[nan]]], [[[1]]], [[[1]]], [[0, 0]], [[[0]]]), [[[[nan]]]]),
    "lstm": (LSTM(1), ([[[nan]]], [[[1]] * 4], [[[1]] * 4], [[0] * 8], [[[0]]], [[[0]]]), [[[[nan]]]]),
    "gru": (GRU(1), ([[[nan]]], [[[1]] * 3], [[[1]] * 3], [[0] * 6], [[[0]]]), [[[[nan]]]]),
}


def test_every_known_difference_has_its_row() -> None:
    """But casts, and what no standard says of NaN as an integer: on some processors it is the same."""
    specified = {name for name, op in Operator.registry.items() if op.edges and UNSPECIFIED not in op.edges}
    assert specified == {*OTHERWISE, "cast"}


@pytest.mark.parametrize(("op", "operands", "right"), OTHERWISE.values(), ids=OTHERWISE)
def test_a_known_difference_is_still_there(op: Operator, operands: tuple[Any, ...], right: Any) -> None:
    graph, feeds = _graph(op, [np.asarray(each, np.float32) for each in operands])
    ways = run_every_way(graph, feeds)
    np.testing.assert_array_equal(ways["NumPy, as written"]["y0"], right)
    assert not np.array_equal(ways["onnxruntime"]["y0"], right, equal_nan=True), "it agrees now: take the fact away"
