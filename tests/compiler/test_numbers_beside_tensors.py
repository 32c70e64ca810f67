"""A number takes the dtype of the tensor beside it where that loses nothing; so does each of a list."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.types import DType
from runtime.numpy_executor import run
from tests.compiler.texts import graph, mistakes

REFUSED = {
    "i8": ["[300, 1]", "[[1, 2], [3, 0.5]]", "300"],
    "u8": ["[-3, 1]", "-3"],
    "f32": ["[1e300, 1]", "1e300", "[true, false]", "true", "1e-46"],
    "f16": ["[65520.0, 1]", "65520.0", "1e-8", "(-1e-8)"],
    "bf16": ["[1e39, 1]", "1e39", "1e-41"],
    "i64": ["[true, false]", "1.0", "[1.0, 2]"],
}


@pytest.mark.parametrize(("dtype", "given"), [(dtype, each) for dtype, cases in REFUSED.items() for each in cases])
def test_numbers_beside_a_tensor_lose_nothing(dtype: str, given: str) -> None:
    (found,) = mistakes(f"input x: {dtype}[2, 2]\noutput x + {given}")
    assert found.startswith("E305 ")


@pytest.mark.parametrize("number", ["1e-8", "65520", "-1e9"])
@pytest.mark.parametrize("text", ["clip(x, NUMBER)", "clip(x, high: NUMBER)", "pad(x, [0, 1], [0, 1], value: NUMBER)"])
def test_bounds_and_padding_lose_nothing(text: str, number: str) -> None:
    (found,) = mistakes(f"input x: f16[2, 2]\noutput {text.replace('NUMBER', number)}")
    assert found.startswith("E301 ")
    graph(f"input x: f16[2, 2]\noutput y = {text.replace('NUMBER', '65519')}")
    graph(f"input x: f16[2, 2]\noutput y = {text.replace('NUMBER', '-infinity')}")


@pytest.mark.parametrize(
    ("dtype", "expression", "expected"),
    [
        ("i8", "x + [127, -128]", [127, -128]),
        ("f32", "x + [3, 0.5]", [3, 0.5]),
        ("f32", "x + [infinity, 3.4e38]", [np.inf, np.float32(3.4e38)]),
        ("f16", "x + 6e-8", [2.0**-24, 2.0**-24]),
        ("f16", "x + -0.0", [0, 0]),
        ("bf16", "x + infinity", [np.inf, np.inf]),
    ],
)
def test_a_list_that_fits_takes_the_dtype_beside_it(dtype: str, expression: str, expected: list[float]) -> None:
    made = graph(f"input x: {dtype}[2]\noutput y = {expression}")
    zero = np.zeros(2, made.inputs["x"].type.dtype.numpy)
    assert run(made, {"x": zero})["y"].tolist() == expected


@pytest.mark.parametrize("text", ["log(8, 2)", "maximum(1, 2, 3)", "round(2.5, 1)", "maximum(1)", "sqrt()"])
def test_a_function_of_numbers_takes_as_many_as_of_tensors(text: str) -> None:
    assert mistakes(f"input x: [b]\noutput y = x * {text}")[0][:4] in ("E401", "E403")


def test_numbers_go_by_name_too() -> None:
    assert run(graph("input x: [b]\noutput y = x * maximum(y: 2, x: 3)"), {"x": np.ones(1, np.float32)})["y"] == [3]


@pytest.mark.parametrize(
    "text",
    [
        *("max_pool(x, kernel: [true])", "max_pool(x, kernel: true)", "average_pool(x, [2], strides: [true])"),
        *("sum(x, axis: true)", "sum(x, axis: [0, true])", "softmax(x, axis: true)", "flip(x, true)"),
        *("transpose(x, [true, false, 2])", "slice(x, [true], [0], [1])", "tile(x, [true, 1, 1])", "top_k(x, true)[0]"),
        *("clip(x, low: true)", "one_hot(iota(3), true)", "conv(x, x, groups: true)", "reshape(x, [true, -1])"),
    ],
)  # fmt: skip
def test_a_flag_is_no_number(text: str) -> None:
    (found,) = mistakes(f"input x: [b, 1, n]\noutput y = {text}")
    assert found.startswith("E404 ")


@pytest.mark.parametrize("dtype", ["f16", "f64"])
@pytest.mark.parametrize(
    "text",
    [
        *("one_hot(i, 3)", "one_hot(i, 3, dtype: f32)", "zeros([3])", "full([3], 1.5)", "random.normal(shape: [3])"),
        *("sqrt(n)", "n * 1.5", "stack([1.5, 2])", "where(i > 0, 1.0, 0.0)", "cast(i, f32)", "i -> Embedding(3, 4)"),
    ],
)  # fmt: skip
def test_floats_are_of_the_models_dtype(text: str, dtype: str) -> None:
    made = graph(f"input i: i64[n]\noutput y = {text}", dtype=DType(dtype))
    assert made.outputs["y"].type.dtype == dtype
