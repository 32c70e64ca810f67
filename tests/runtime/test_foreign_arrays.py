"""Arrays as others hold them: NumPy's in another width, lists, tensors of PyTorch, columns of pandas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.foreign_arrays import from_torch

VALUES = [[0.1, -2.0, 3.5], [1e-3, 7.0, 1 / 3]]
MODEL = "model M { input x: [batch, 3]; output y = x }\n"
TOKENS = "model M { input x: i32[batch]; output y = x + 1 }\n"


def torch() -> Any:
    return pytest.importorskip("torch", reason="pip install 'nablac[oracle]'")


def pandas() -> Any:
    return pytest.importorskip("pandas")


TAKEN: dict[str, Callable[[], Any]] = {
    "a list": lambda: VALUES,
    "a tuple of lists": lambda: tuple(VALUES),
    "float64": lambda: np.array(VALUES),
    "a list of arrays": lambda: [np.array(row) for row in VALUES],
    "a tensor": lambda: torch().tensor(VALUES, dtype=torch().float64),
    "a tensor with gradients": lambda: torch().tensor(VALUES, requires_grad=True),
    "a result of tensors": lambda: torch().tensor(VALUES, requires_grad=True) * 1,
    "a transposed tensor": lambda: torch().tensor(VALUES).T.contiguous().T,
    "a list of tensors": lambda: [torch().tensor(row, requires_grad=True) for row in VALUES],
    "a data frame": lambda: pandas().DataFrame(VALUES),
}


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("label", TAKEN)
def test_floats_are_rounded_to_the_inputs_dtype(label: str, backend: str) -> None:
    result = nablac.compile(MODEL, backend=backend)(x=TAKEN[label]())["y"]
    np.testing.assert_array_equal(result, np.array(VALUES, np.float32))
    assert result.dtype == np.float32


def test_bfloat16_and_half_keep_their_values() -> None:
    for dtype in (torch().bfloat16, torch().float16):
        tensor = torch().tensor(VALUES).to(dtype)
        np.testing.assert_array_equal(from_torch(tensor), tensor.to(torch().float64).numpy())


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int16])
def test_whole_numbers_keep_their_values(dtype: Any) -> None:
    result = nablac.compile(TOKENS)(x=np.array([1, 100], dtype))["y"]
    np.testing.assert_array_equal(result, [2, 101])


def test_a_whole_number_beyond_the_dtype_is_refused() -> None:
    with pytest.raises(NablacError) as caught:
        nablac.compile(TOKENS)(x=np.array([1, 2**40]))
    assert caught.value.diagnostics[0].message == (
        "`x` is i32[batch], and 1099511627776 is beyond i32 (-2147483648 to 2147483647)"
    )


def test_a_tensor_without_a_dense_form_is_refused() -> None:
    sparse = torch().eye(3).to_sparse()
    line = "model M { input x: [batch, 3]; y = x -> Dense(1); output y }\n"
    line += "train M { target t: [batch, 1]; loss mse(y, t) }\n"
    with pytest.raises(NablacError) as caught:
        nablac.compile(MODEL)(x=sparse)
    assert caught.value.diagnostics[0].code == "E803"
    with pytest.raises(NablacError, match="`x` is not an array"):
        nablac.compile(line).train({"x": sparse, "t": [[1.0]] * 3})


def test_training_takes_tensors_lists_and_frames_alike() -> None:
    text = "model M { input a: [batch]; input b: [batch]; y = Dense(1)(stack([a, b], 1)); output y }\n"
    text += "train M { target t: [batch]; loss mse(y[:, 0], t); epochs 2; batch 4 }\n"
    columns = {name: np.linspace(low, 1, 12) for name, low in (("a", -1), ("b", 0), ("t", 2))}
    forms = [
        columns,
        {name: column.tolist() for name, column in columns.items()},
        {name: torch().tensor(column, requires_grad=True) for name, column in columns.items()},
        pandas().DataFrame(columns),
    ]
    histories = [nablac.compile(text).train(form, epochs=np.int64(2)) for form in forms]
    assert all(history == histories[0] for history in histories)
