"""What a rewrite keeps, it keeps at the edges too: optimised and as written, on NumPy and onnxruntime.

Each text is run on inputs that random numbers never meet (`runtime.feeds`), whole and single: the rewrites that keep
the bits give the same ones, of NaN, infinities and -0 too, and the others the same within rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.gradient import gradients
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.operators.leaves import Input, constant
from compiler.operators.making import filled
from compiler.operators.slicing import Pad
from compiler.passes.common_subexpressions import eliminate_common_subexpressions
from compiler.passes.pipeline import optimize
from compiler.passes.rules import apply_rules
from compiler.passes.simplify import IDENTITIES
from compiler.training.gradients import gradient_graph
from compiler.types import DType, TensorType
from runtime.feeds import edge_feeds, random_feeds, sizes_from
from runtime.initialization import initialize
from runtime.numpy_executor import run
from runtime.verification import compare
from tests.models import elaborate, spec_of

BITS = {
    "plus 0": "x + 0",
    "0 plus": "0 + x",
    "plus -0": "x + (-0.0)",
    "less 0": "x - 0",
    "less -0": "x - (-0.0)",
    "times 1": "1 * x",
    "over 1": "x / 1",
    "power 1": "x ** 1",
    "power 2": "x ** 2",
    "power 1/2": "x ** 0.5",
    "minus minus": "-(-x)",
    "times 0": "x * 0",
    "less itself": "x - x",
    "over itself": "x / x",
    "power 0": "x ** 0",
    "root of a square": "sqrt(x * x)",
    "logarithm of exp": "log(exp(x))",
    "exp of a logarithm": "exp(log(x))",
    "equal branches": "where(x > 0, x, x)",
    "a choice of the larger": "where(x > y, x, y)",
    "clipped twice": "clip(clip(x, low: -1, high: 1), low: 0, high: 2)",
    "the larger of itself": "maximum(x, x)",
    "a sum in brackets": "x + (y + x)",
    "a difference undone": "(x + y) - y",
    "a quotient undone": "(x * y) / y",
    "a common part": "sin(x + y) * sin(x + y)",
    "zeros and their signs": "1 / (x + 0) + 1 / (x * 1)",
    "two transposes": "(x^T)^T",
    "two reshapes": "reshape(reshape(x, [size(x, 0) * 3]), [size(x, 0), 3])",
    "two flips": "flip(flip(x, axes: [0]), axes: [0])",
    "times infinity": "x * infinity",
    "integers beyond their limits": "cast(n + n - n, f64)",
    "integers times 1": "cast(n * 1, f64)",
    "integers twice negated": "cast(-(-n), f64)",
    "integers plus 0": "cast(n + 0, f64)",
}
E = "exp(x - max(x, axis: -1, keep: true))"
ROUNDING = {
    "softmax written out": f"{E} / sum({E}, axis: -1, keep: true)",
    "softmax of what may overflow": "exp(x) / sum(exp(x), axis: -1, keep: true)",
    "exp of log_softmax": "exp(log_softmax(x, axis: -1))",
    "a biased convolution": "conv(unsqueeze(x, 1), W) + b",
    "max_pool of relu": "max_pool(relu(unsqueeze(x, 1)), kernel: [2])",
    "a sum along the steps": "scan(Total())(unsqueeze(x, 1), axis: 0)",
    "products along the steps": "scan(Factors())(unsqueeze(x, 1), axis: 0)",
    "a simple recurrence": "scan(Simple())(unsqueeze(x, 1), axis: 0)",
}
CELLS = """
cell Total() {
    input x: [batch, f]
    state h: [batch, f] = 0
    h' = h + x
    output h'
}
cell Factors() {
    input x: [batch, f]
    state h: [batch, f] = 1
    h' = tanh(h) * x * sigmoid(x) * (x * 2)
    output h'
}
cell Simple() {
    input x: [batch, f]
    state h: [batch, 4] = 0
    param W: [f, 4] ~ normal(1.0)
    param U: [4, 4] ~ normal(1.0)
    h' = tanh(x @ W + h @ U + 0.5)
    output h'
}
"""


def graph_of(text: str, dtype: DType) -> Graph:
    model = f"""{CELLS}
model M {{
    input x: [m, 3], y: [m, 3], n: i32[m]
    param W: [2, 1, 2] ~ normal(1.0)
    param b: [2, 1] ~ normal(1.0)
    output z = {text}
}}
"""
    return elaborate(model, dtype=dtype)


def all_feeds(graph: Graph) -> Any:
    yield from ((each.label, each.arrays) for each in edge_feeds(graph))
    for size in (1, 7):
        sizes = sizes_from(graph, size, size)
        yield f"random of {size}", random_feeds(graph, sizes, size)


def used(graph: Graph, feeds: dict[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in feeds.items() if name in graph.inputs}


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("label", BITS)
def test_the_bits_are_kept(label: str, dtype: DType) -> None:
    graph = graph_of(BITS[label], dtype)
    better = optimize(graph)
    for name, feeds in all_feeds(graph):
        before, after = run(graph, feeds)["z"], run(better, used(better, feeds))["z"]
        np.testing.assert_array_equal(after, before, name)
        real = ~np.isnan(before)
        np.testing.assert_array_equal(np.signbit(after[real]), np.signbit(before[real]), f"{name}: signs of zeros")


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("label", ROUNDING)
def test_rounding_alone_is_changed(label: str, dtype: DType) -> None:
    graph = graph_of(ROUNDING[label], dtype)
    better = optimize(graph)
    weights = initialize(graph, 0)
    close = 1e-5 if dtype is DType.F32 else 1e-13
    for name, feeds in all_feeds(graph):
        before, after = run(graph, feeds, weights)["z"], run(better, used(better, feeds), weights)["z"]
        np.testing.assert_allclose(after, before, close, close, err_msg=name)


POOLED = """model M {
    input x: [m, 6]
    param w: [6] = 1
    y = max_pool(relu(unsqueeze(x * w, 1)), kernel: [2], strides: [2])
    output y
}
train M {
    target t: [m, 1, 3]
    loss sum(y * t)
}
"""


def test_a_pool_of_relu_has_its_gradient_at_ties_zeros_and_infinities() -> None:
    """Of max_pool(relu(x)) as torch has it; the pass takes the pool first."""
    torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
    graph = gradient_graph(spec_of(POOLED, training=True, dtype=DType.F64))
    rows = [
        [0.0, 0.0, -0.0, -1.0, 1.0, 1.0],
        [-1.0, -1.0, -2.0, -np.inf, np.inf, 3.0],
        [1e300, -1e300, 5e-324, 0.0, -5e-324, -0.0],
    ]
    for row in rows:
        feeds = {"x": np.array([row]), "t": np.array([[[1.0, 2.0, 3.0]]])}
        found = run(graph, feeds, {"w": np.ones(6)})
        x = torch.tensor([row], dtype=torch.float64)
        w = torch.ones(6, dtype=torch.float64, requires_grad=True)
        y = torch.nn.functional.max_pool1d(torch.relu((x * w)[:, None]), 2)
        (y * torch.tensor(feeds["t"])).sum().backward()
        np.testing.assert_array_equal(found["grad.w"], w.grad.numpy())


def test_attributes_that_differ_in_the_sign_of_zero_are_two() -> None:
    x = Input("x", TensorType(DType.F32, (2,)))()
    one, other = (Pad((0,), (1,), value=value)(x) for value in (0.0, -0.0))
    shared = eliminate_common_subexpressions(Graph({"x": x}, {"one": one, "other": other}))
    found = run(shared, {"x": np.ones(2, np.float32)})
    assert [bool(np.signbit(found[name][-1])) for name in ("one", "other")] == [False, True]


@pytest.mark.parametrize(
    ("dtype", "number", "goes"), [(DType.F32, 0, False), (DType.F32, -0.0, True), (DType.I64, 0, True)]
)
def test_a_sum_with_zero_goes_where_nothing_can_tell(dtype: DType, number: float, goes: bool) -> None:
    x = Input("x", TensorType(dtype, (2,)))()
    found = apply_rules(Graph({"x": x}, {"y": x + constant(number, dtype)}), IDENTITIES).outputs["y"]
    assert (found is x) == goes


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("label", ROUNDING)
def test_rounding_alone_is_changed_in_gradients(label: str, dtype: DType) -> None:
    graph = graph_of(ROUNDING[label], dtype)
    z = graph.outputs["z"]
    (slope,) = gradients([z], [filled(1, z.type)], [graph.inputs["x"]])
    assert slope is not None
    back = Graph(graph.inputs, {"d": slope})
    better = optimize(back)
    weights = initialize(graph, 0)
    close = 1e-4 if dtype is DType.F32 else 1e-12
    for name, feeds in all_feeds(back):
        before, after = run(back, feeds, weights)["d"], run(better, used(better, feeds), weights)["d"]
        np.testing.assert_allclose(after, before, close, close, err_msg=name)


@pytest.mark.parametrize("text", ["x^T @ v", "v @ x", "v @ v", "w @ x^T", "(x + 1)^T @ v"])
def test_onnxruntimes_rewrites_take_a_vector_for_what_it_is(text: str) -> None:
    """It made a product with a transposed left side of `x^T @ v`, and another number of it."""
    model = f"model M {{\n    input x: [m, n], v: [m], w: [n]\n    output z = {text}\n}}\n"
    graph = elaborate(model)
    report = compare(graph, export(graph).SerializeToString(), {}, edges=False)
    assert report.agrees, report.worst
