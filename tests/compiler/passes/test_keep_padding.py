"""Zeros around the input of a max pool stay zeros in every onnxruntime that is claimed, with its own rewrites on."""

from __future__ import annotations

import numpy as np
import pytest

import nablac

TEXT = """model M {
    input x: [b, 1, n]
    output y = pad(x, before: [0, 0, 2], after: [0, 0, 1]) -> MaxPool1D(3, stride: 1)
    output dx = gradient(sum(y), x)
}
"""


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_window_of_negatives_and_padding_has_zero(backend: str) -> None:
    model = nablac.compile(TEXT, backend=backend)
    results = model(x=np.float32([[[-3, -1, -2]]]))
    np.testing.assert_array_equal(results["y"], [[[0, 0, -1, 0]]])
    np.testing.assert_array_equal(results["dx"], [[[0, 1, 0]]])


def test_nothing_stands_between_other_paddings_and_a_pool() -> None:
    text = TEXT.replace("after: [0, 0, 1])", "after: [0, 0, 1], value: -1)")
    operators = [node.op_type for node in nablac.compile(text).onnx().graph.node]
    assert "Pad" in operators and "Max" not in operators
