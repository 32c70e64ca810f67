"""A recurrence of no steps, as of a sentence of one token whose first is left out: its states are its first states.

Of a batch of nothing there is nothing. Where the text says that an axis is not empty, an exported file refuses it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import nablac

CELL = """
cell Own(hidden: int) {
    input x: [batch, features]
    state h: [batch, hidden] = 0.5
    state n: i64[batch] = 3
    param U: [hidden, features] ~ glorot_uniform()
    h' = sin(h) + U x
    n' = n + 1
    output h'
}
"""
ONE = "    y, last = scan({cell})(x, axis: 1, states: true, reverse: {reverse})\n"
TWO = "    y, last, other = scan({cell})(x, axis: 1, states: true, reverse: {reverse})\n"
# The cell, and whether it has a second state
CELLS = {"Own(4)": TWO, "RNNCell(4)": ONE, "LSTMCell(4)": TWO, "GRUCell(4)": ONE}
MODEL = """
model M {{
    input s: [batch, T, 3]
    param first: [4] = 0.5
    x = {x}
{walk}    output y, last
}}
train M {{
    target t: [batch, 4]
    loss mse(last, t) + 0.1 * sum(y)
    optimizer sgd(lr: 0.1)
    batch 8
}}
"""
BACKENDS = ("numpy", "ort")


def model(cell: str, reverse: bool, x: str, backend: str) -> nablac.Model:
    walk = CELLS[cell].format(cell=cell, reverse=str(reverse).lower())
    walk = walk.replace("states: true", "states: true, h: expand(first, [batch, 4])")
    return nablac.compile(CELL + MODEL.format(x=x, walk=walk), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_no_step_leaves_the_first_states(cell: str, reverse: bool, backend: str) -> None:
    found = model(cell, reverse, "s[:, 1:]", backend)(s=np.ones((2, 1, 3), np.float32))
    assert found["y"].shape == (2, 0, 4)
    np.testing.assert_array_equal(found["last"], np.full((2, 4), 0.5))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_sequences_that_may_be_empty_give_what_others_do(cell: str, reverse: bool, backend: str) -> None:
    s = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    shorter = model(cell, reverse, "s[:, 1:]", backend)(s=s)
    expected = model(cell, reverse, "s", "numpy")(s=s[:, 1:])
    for name in expected:
        np.testing.assert_allclose(shorter[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_of_no_step_is_that_of_the_first_state(cell: str, reverse: bool, backend: str) -> None:
    """`last` is `first` of each row: d mean((first - t)^2) / d first = 2 (first - t) / 4, and nothing reaches W."""
    made = model(cell, reverse, "s[:, 1:]", backend)
    before = {path: array.copy() for path, array in made.weights.items()}
    made.train({"s": np.ones((8, 1, 3), np.float32), "t": np.zeros((8, 4), np.float32)}, epochs=1)
    for path, array in made.weights.items():
        step = 0.1 * 2 * 0.5 / 4 if path == "first" else 0
        np.testing.assert_allclose(array, before[path] - step, rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_of_several_steps_is_as_before(backend: str) -> None:
    s = np.random.default_rng(1).normal(size=(8, 4, 3)).astype(np.float32)
    losses = []
    for x, given in (("s[:, 1:]", s), ("s", s[:, 1:])):
        made = model("GRUCell(4)", False, x, backend)
        losses.append(made.train({"s": given, "t": np.zeros((8, 4), np.float32)}, epochs=3)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_without_axes_has_none_afterwards(backend: str) -> None:
    text = """
    cell Sum() { input x: []; state s: [] = 2; s' = s + x; output s' }
    model M { input x: [n]; y, last = scan(Sum())(x[1:], axis: 0, states: true); output y, last }
    """
    model = nablac.compile(text, backend=backend)
    for x, last in (([5], 2), ([5, 2, 3], 7)):
        result = model(x=np.float32(x))["last"]
        assert result.shape == () and result == last
    onnx.checker.check_model(model.onnx(), full_check=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cut", ["s[1:]", "s[1:, 1:]"])
@pytest.mark.parametrize("layer", ["LSTM", "GRU", "SimpleRNN"])
def test_a_batch_may_be_empty_by_the_text(layer: str, cut: str, backend: str) -> None:
    text = "model M {{\n    input s: [batch, T, 3]\n    x = {}\n    output y = x -> {}\n    output z = x -> {}\n}}\n"
    layers = f"{layer}(4, sequences: true)", f"{layer}(4)"
    made = nablac.compile(text.format(cut, *layers), backend=backend)
    found = made(s=np.ones((1, 1, 3), np.float32))
    assert [each.shape for each in found.values()] == [(0, 0 if "," in cut else 1, 4), (0, 4)]
    s = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    found = made(s=s)
    whole = nablac.compile(text.format("s", *layers))  # the same first values
    expected = whole(s=s[1:, 1:] if "," in cut else s[1:])
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


STOCK = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
assert len(session.run(None, {"s": numpy.ones((2, 1, 3), "float32")})) == 2
for shape in ((2, 0, 3), (0, 2, 3)):
    try:
        session.run(None, {"s": numpy.ones(shape, "float32")})
    except Exception as error:
        print(error)
"""


@pytest.mark.parametrize("cell", ["LSTMCell(4)", "GRUCell(4)"])
def test_an_exported_file_refuses_an_axis_that_is_empty_against_the_text(cell: str, tmp_path: Path) -> None:
    """onnxruntime's kernels would end the process, or give what stood in memory; its Scan refuses by itself."""
    file = tmp_path / "m.onnx"
    file.write_bytes(model(cell, False, "s", "numpy").onnx().SerializeToString())
    ended = subprocess.run([sys.executable, "-c", STOCK, str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("T and batch must be at least 1") == 2


def test_sizes_that_are_numbers_are_not_looked_at() -> None:
    made = nablac.compile("model M {\n    input s: [2, 3, 3]\n    output y = s -> GRU(4)\n}\n")
    assert not {"Gather", "Size"} & {node.op_type for node in made.onnx().graph.node}
