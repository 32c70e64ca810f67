"""Cells of a user's own: names of states, inputs and cells may be anything, and cells may stand in cells."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.graph_checks import verify
from compiler.passes.pipeline import optimize
from runtime.initialization import initialize
from runtime.numpy_executor import run
from tests.models import elaborate

XS = np.arange(1.0, 13.0).reshape(2, 6, 1)  # [batch, time, features]

SUM = """
cell Sum() {
    input x: [batch, features]
    state s: [batch, features] = 0
    s' = s + x
    output s'
}
"""
# Name, text of the cells, the cell to walk by, what NumPy makes of the sequence.
CASES = [
    (
        "a state called as the step's item",
        "cell C() {\n input u: [batch, f]\n state x: [batch, f] = 0\n x' = x + u\n output x'\n}",
        "C()",
        np.cumsum(XS, axis=1),
    ),
    (
        "a state called as a captured value",
        "cell C() {\n input u: [batch, f]\n state captured_0: [batch, f] = 0\n param W: [f] = 2\n"
        " captured_0' = captured_0 + u * W\n output captured_0'\n}",
        "C()",
        2 * np.cumsum(XS, axis=1),
    ),
    (
        "names that end in numbers",
        "cell C() {\n input x: [batch, f]\n state x_1, x1: [batch, f] = 0\n x_1' = x_1 + x\n x1' = x1 + 10 * x\n"
        " output x_1' + x1'\n}",
        "C()",
        11 * np.cumsum(XS, axis=1),
    ),
    (
        "a cell in a cell, twice",
        f"{SUM}\ncell C() {{\n input x: [batch, f]\n output x -> Sum() -> Sum()\n}}",
        "C()",
        np.cumsum(np.cumsum(XS, axis=1), axis=1),
    ),
    (
        "cells in a loop",
        f"{SUM}\ncell C() {{\n input x: [batch, f]\n for i in 0..3 {{ x = x -> Sum() }}\n output x\n}}",
        "C()",
        np.cumsum(np.cumsum(np.cumsum(XS, axis=1), axis=1), axis=1),
    ),
    (
        "a scan in a cell",
        f"{SUM}\ncell C() {{\n input x: [batch, f]\n state s: [batch, f] = 0\n s' = s + x\n"
        " twice = stack([s', s'], axis: 1)\n output scan(Sum())(twice, axis: 1)[:, -1]\n}",
        "C()",
        2 * np.cumsum(XS, axis=1),
    ),
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("cells", "cell", "expected"), [each[1:] for each in CASES], ids=[each[0] for each in CASES])
def test_a_walk_is_what_its_equations_say(cells: str, cell: str, expected: np.ndarray, reverse: bool) -> None:
    walk = f"scan({cell})(xs, axis: 1, reverse: {str(reverse).lower()})"
    model = f"model M {{\n input xs: [batch, time, 1]\n output y = {walk}\n}}\n"
    graph = elaborate(f"{cells}\n{model}")
    weights = initialize(graph, 0)
    xs = XS[:, ::-1] if reverse else XS
    for each in (graph, optimize(graph)):
        verify(each)
        found = run(each, {"xs": xs.astype(np.float32)}, weights)["y"]
        np.testing.assert_array_equal(found[:, ::-1] if reverse else found, expected)
