"""Feeds that do not fit are told by name, all at once, in the same words on both backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.graph import Graph
from compiler.onnx.exporter import export
from compiler.operators.reductions import Sum
from grammar.diagnostics import NablacError
from runtime.numpy_executor import NumpyRunner
from runtime.onnx_session import OnnxRunner
from runtime.signature import Signature
from tests.runtime.graphs import fed, graph, parameter, text_of

TOKENS = np.zeros((2, 3), np.int64)
IMAGE = np.ones((2, 4), np.float32)


def example() -> Graph:
    tokens, image, odd = (
        fed("tokens", "i64", "batch", "time"),
        fed("image", "f32", "batch", 4),
        fed("odd", "f32", 2 * Dim.named("n") + 1),
    )
    flag = fed("flag", "bool")
    return graph([tokens, image, odd, flag], total=Sum()(tokens), sum=Sum()(image), rest=Sum()(odd), flag_too=flag)


GOOD: dict[str, Any] = {"tokens": TOKENS, "image": IMAGE, "odd": np.ones(5, np.float32), "flag": np.array(True)}

MISTAKES = {
    "a missing input": (
        {"image": None},
        "error[E801]: input `image` is missing\n --> input `image`\n  = it is f32[batch, 4]",
    ),
    "a misspelt input": (
        {"image": None, "imge": IMAGE},
        "error[E802]: {name} has no input `imge`\n --> input `imge`\nhelp: did you mean `image`?",
    ),
    "another rank": (
        {"image": np.ones(4, np.float32)},
        "error[E803]: `image`: expected f32[batch, 4], got an array of shape [4]\n --> input `image`\n"
        "  = it has 1 axis; the model expects 2\nhelp: where the axis `batch` is missing: `image[None]`",
    ),
    "another size": (
        {"image": np.ones((2, 5), np.float32)},
        "error[E803]: `image`: expected f32[batch, 4], got an array of shape [2, 5]\n --> input `image`\n"
        "  = axis 1 is 5; the model expects 4",
    ),
    "nothing along a named dim": (
        {"tokens": np.zeros((2, 0), np.int64)},
        "error[E803]: `tokens` is empty: axis 1, `time`, is 0\n --> input `tokens`\nhelp: named dims are at least 1",
    ),
    "a size that the polynomial never is": (
        {"odd": np.ones(4, np.float32)},
        "error[E803]: axis 0 of `odd` is 4, and no `n` makes `2*n + 1` that size\n --> input `odd`",
    ),
    "floats for integers": (
        {"tokens": np.zeros((2, 3))},
        "error[E804]: `tokens`: expected i64[batch, time], got f64\n --> input `tokens`\n"
        "help: convert it: `array.astype('int64')`",
    ),
    "a float that f32 cannot hold": (
        {"image": np.array([[1, 1, 1, 1], [1, 1, 1e39, 1]])},
        "error[E804]: `image` is f32[batch, 4], and 1e+39 is beyond f32\n --> input `image`\n  = at index [1, 2]",
    ),
    "whole numbers for floats": (
        {"image": np.ones((2, 4), np.int64)},
        "error[E804]: `image`: expected f32[batch, 4], got i64\n --> input `image`\n"
        "help: convert it: `array.astype('float32')`",
    ),
    "texts": (
        {"image": [["a", "b", "c", "d"]] * 2},
        "error[E804]: `image`: expected f32[batch, 4], got text\n --> input `image`\n"
        "help: a tensor holds numbers; turn texts into tokens first",
    ),
    "rows of different lengths": (
        {"tokens": [[1, 2], [3]]},
        "error[E803]: `tokens`: expected i64[batch, time], got an argument that is not an array\n --> input `tokens`\n"
        "  = its rows have different lengths",
    ),
    "sizes that disagree": (
        {"image": np.ones((3, 4), np.float32)},
        "error[E805]: `batch` is 2 in `tokens` and 3 in `image`\n --> input `image`\n"
        "  = `tokens` is i64[batch, time]\n  = `image` is f32[batch, 4]",
    ),
}


NUMPY_ALONE = {"a size that the polynomial never is"}  # an ONNX file has the dim as a name, of any size
TOLD = [("numpy", label) for label in MISTAKES]
TOLD += [("onnxruntime", label) for label in MISTAKES if label not in NUMPY_ALONE]


@pytest.mark.parametrize(("backend", "label"), TOLD)
def test_a_mistake_in_the_feeds_is_told_in_full(backend: str, label: str) -> None:
    change, expected = MISTAKES[label]
    runner: Any = (
        NumpyRunner(example()) if backend == "numpy" else OnnxRunner(export(example()).SerializeToString(), threads=1)
    )
    feeds = {name: array for name, array in {**GOOD, **change}.items() if array is not None}
    with pytest.raises(NablacError) as caught:
        runner.run(feeds)
    assert expected.format(name="test" if backend == "numpy" else "the model") in text_of(caught)
    assert caught.value.exit_code == 2


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(NablacError) as caught:
        NumpyRunner(example()).run({"tokens": np.zeros((2, 3)), "imag": IMAGE, "odd": [1, 2]})
    assert [each.code for each in caught.value.diagnostics] == ["E804", "E802", "E801", "E801", "E803"]


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([[1, 2]], np.int32), "i64"),
        (np.array([[1, 2]], np.uint8), "i32"),
        (np.array([[1, 2]], np.float16), "f32"),
        (np.array([[1, 2]], np.float32), "f64"),
        (np.array([[1, 2]], ">i8"), "i64"),
        ([[1, 2]], "i64"),
        ([[1, 2]], "f32"),
        ([[1.5, 2.0]], "f16"),
        (((1, 2),), "u8"),
        ([[True, False]], "bool"),
    ],
)
def test_safe_widenings_and_plain_numbers_are_taken(given: Any, dtype: str) -> None:
    arrays, sizes = Signature.of(graph([x := fed("x", dtype, "n", 2)], y=x)).check({"x": given})
    assert arrays["x"].dtype == x.type.dtype.numpy
    assert np.array_equal(arrays["x"], np.asarray(given))
    assert sizes == {"n": 1}


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ([1, 300], "u8"),
        ([1.5, 2.0], "i64"),
        ([1, 2], "bool"),
        ([True, False], "f32"),
        ([2**70, 1], "i64"),
        (["1", "2"], "f32"),
        ([None, 1], "f32"),
    ],
)
def test_plain_numbers_that_do_not_fit_are_refused(given: Any, dtype: str) -> None:
    with pytest.raises(NablacError) as caught:
        Signature.of(graph([x := fed("x", dtype, 2)], y=x)).check({"x": given})
    assert [each.code for each in caught.value.diagnostics] == ["E804"]


def test_a_composite_size_is_solved_and_then_checked() -> None:
    n, m = Dim.named("n"), Dim.named("m")
    x, y, z = fed("x", "f32", n + 2 * m), fed("y", "f32", 3 * n), fed("z", "f32", n * m)
    signature = Signature.of(graph([x, y, z], a=x, b=y, c=z))
    assert signature.check({"x": np.ones(10, np.float32), "y": np.ones(6, np.float32), "z": np.ones(8, np.float32)})[
        1
    ] == {"n": 2, "m": 4}
    with pytest.raises(NablacError) as caught:
        signature.check({"x": np.ones(10, np.float32), "y": np.ones(6, np.float32), "z": np.ones(9, np.float32)})
    assert "axis 0 of `z`, `m*n`, is 9, and should be 8: `m` is 4 in `x` and `n` is 2 in `y`" in text_of(caught)


def test_missing_weights_are_one_mistake() -> None:
    total = fed("x", "f32")
    for place in range(20):
        total = total + parameter(f"w{place}")
    with pytest.raises(NablacError) as caught:
        NumpyRunner(graph([total.node.operands[0]][:0], y=total)).run({"x": np.float32(1)})
    assert [each.code for each in caught.value.diagnostics][-1] == "E801"
    assert "and 8 more are missing" in text_of(caught)
