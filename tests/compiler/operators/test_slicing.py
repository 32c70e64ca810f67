"""Slices and padding."""

from __future__ import annotations

import pytest

from compiler.dims import Dim
from compiler.operators.slicing import Pad, Slice
from tests.compiler.operators.harness import OperatorCases, case, each, refuses, tensor_type

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

n = Dim.named("n")
pad = torch.nn.functional.pad

CASES = (
    case("a part", Slice((0,), (1,), (3,)), x=(5, 3), named={"m": 3}, oracle=lambda x: x[1:3]),
    case("all but the first", Slice((1,), (1,), (None,)), x=(2, 5), oracle=lambda x: x[:, 1:]),
    case("all but the last", Slice((1,), (None,), (-1,)), x=(2, 5), oracle=lambda x: x[:, :-1]),
    case("the last", Slice((1,), (-1,), (None,)), x=(2, 5), oracle=lambda x: x[:, -1:]),
    case("every other", Slice((0,), (None,), (None,), (2,)), x=(5, 3), oracle=lambda x: x[::2]),
    case("every third from the second", Slice((1,), (1,), (None,), (3,)), x=(2, 9), oracle=lambda x: x[:, 1::3]),
    case("two axes", Slice((0, -1), (1, 0), (None, 2), (1, 1)), x=(3, 4, 5), named={"a": 3, "b": 4},
         oracle=lambda x: x[1:, :, :2]),
    case("up to a named dim", Slice((0,), (0,), (3,)), symbolic=Slice((0,), (0,), (n,)), named={"n": 3}, x=(8, 3),
         oracle=lambda x: x[:3]),
    case("from the end by a named dim", Slice((0,), (-3,), (None,)), symbolic=Slice((0,), (-n,), (None,)),
         named={"n": 3, "m": 8}, x=(8, 3), oracle=lambda x: x[-3:]),
    case("nothing cut", Slice((), (), ()), x=(2, 3), oracle=lambda x: x + 0),
    case("an empty part", Slice((0,), (2,), (2,)), x=(3, 2), named={}, oracle=lambda x: x[2:2]),
    case("zeros around", Pad((1, 0), (2, 3)), x=(2, 3), oracle=lambda x: pad(x, (0, 3, 1, 2))),
    case("a number around", Pad((0, 1), (0, 1), value=7), x=(2, 3), oracle=lambda x: pad(x, (1, 1), value=7)),
    case("as many zeros as a named dim", Pad((0, 0), (4, 0)), symbolic=Pad((0, 0), (n, 0)), named={"n": 4, "m": 3},
         x=(2, 3), oracle=lambda x: pad(x, (0, 0, 0, 4))),
    case("reflected", Pad((0, 0, 2), (0, 0, 3), mode="reflect"), x=(2, 3, 5),
         oracle=lambda x: pad(x, (2, 3), mode="reflect")),
    case("reflected on two axes", Pad((0, 0, 1, 2), (0, 0, 2, 0), mode="reflect"), x=(1, 2, 4, 3),
         oracle=lambda x: pad(x, (2, 0, 1, 2), mode="reflect")),
    case("its edge repeated", Pad((0, 0, 2), (0, 0, 3), mode="edge"), x=(2, 3, 5),
         oracle=lambda x: pad(x, (2, 3), mode="replicate")),
    case("no axis to pad", Pad((), ()), x=(), oracle=lambda x: x + 0),
)  # fmt: skip


@each(CASES)
class TestSlicing(OperatorCases):
    pass


@pytest.mark.parametrize(
    ("op", "type", "result"),
    [
        (Slice((0,), (1,), (None,)), "f32[n]", "f32[n - 1]"),
        (Slice((0,), (None,), (None,), (2,)), "f32[n]", "f32[(n + 1) // 2]"),
        (Slice((0,), (0,), (n,)), "f32[m]", "f32[n]"),
        (Slice((0,), (-2,), (None,)), "f32[n]", "f32[2]"),
        (Pad((1,), (n,)), "f32[n]", "f32[2*n + 1]"),
    ],
)  # fmt: skip
def test_sizes_stay_named(op: Slice | Pad, type: str, result: str) -> None:
    assert str(op.infer(tensor_type(type))) == result


@pytest.mark.parametrize(
    ("op", "type", "message"),
    [
        (Slice((0,), (0,), (6,)), "f32[5]", "`0:6` is out of range for axis 0 of f32[5]"),
        (Slice((0,), (0,), (n + 1,)), "f32[n]", "`0:n + 1` is out of range for axis 0 of f32[n]"),
        (Slice((0,), (3,), (2,)), "f32[5]", "`3:2` is out of range for axis 0 of f32[5]"),
        (Slice((0,), (-6,), (None,)), "f32[5]", "`-6:` is out of range for axis 0 of f32[5]"),
        (Slice((1,), (0,), (1,)), "f32[5]", "f32[5] has no axis 1"),
        (Slice((0,), (None,), (None,), (-1,)), "f32[5]", "a slice cannot step by -1"),
        (Slice((0,), (None, 1), (None,)), "f32[5]", "a slice of 1 axes needs as many starts, stops and steps"),
        (Pad((1,), (1,)), "f32[2, 3]", "f32[2, 3] has 2 axes, but there are 1 sizes before and 1 after"),
        (Pad((-1,), (1,)), "f32[3]", "axis 0 of f32[3] cannot be padded by -1 and 1"),
        (Pad((3,), (0,), mode="reflect"), "f32[3]", "axis 0 of f32[3] is too short to reflect 3 before and 0 after it"),
        (Pad((1,), (1,), 0.5), "i64[3]", "i64[3] cannot be padded with 0.5"),
        (Pad((3,), (0,), mode="wrap"), "f32[3]", "`wrap` is not a padding mode"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: Slice | Pad, type: str, message: str) -> None:
    assert str(refuses(op, type)) == message
