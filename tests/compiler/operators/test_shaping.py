"""Operators that move or repeat elements."""

from __future__ import annotations

import pytest

from compiler.dims import Dim
from compiler.operators.shaping import Concat, Expand, Flip, Reshape, Split, Squeeze, Transpose, Unsqueeze
from compiler.operators.tiling import Tile
from tests.compiler.operators.harness import OperatorCases, case, each, refuses

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

n, m = Dim.named("n"), Dim.named("m")

CASES = (
    case("axes in another order", Transpose((2, 0, 1)), x=(2, 3, 4), oracle=lambda x: x.permute(2, 0, 1)),
    case("no axes in order", Transpose(()), x=(), oracle=lambda x: x + 0),
    case("another shape", Reshape((3, 8)), x=(2, 3, 4), named={}, oracle=lambda x: x.reshape(3, 8)),
    case("a shape with what is left over", Reshape((2, -1)), x=(2, 3, 4), named={"n": 3, "m": 4},
         oracle=lambda x: x.reshape(2, -1)),
    case("axes joined", Reshape((6, 4)), symbolic=Reshape((n * m, 4)), named={"n": 2, "m": 3}, x=(2, 3, 4),
         oracle=lambda x: x.reshape(6, 4)),
    case("an axis split", Reshape((5, 3, 2, 4)), symbolic=Reshape((n, m, 2, 4)), named={"n": 5, "m": 3}, x=(5, 3, 8),
         oracle=lambda x: x.reshape(5, 3, 2, 4)),
    case("axes joined and exchanged", Reshape((4, 6, 7)), symbolic=Reshape((4, n * m, Dim.named("k"))),
         named={"n": 2, "m": 3, "k": 7}, x=(2, 3, 7, 4), oracle=lambda x: x.reshape(4, 6, 7)),
    case("nothing reshaped", Reshape((0, 3)), x=(3, 0), named={}, oracle=lambda x: x.reshape(0, 3)),
    case("a scalar from one element", Reshape(()), x=(1, 1), oracle=lambda x: x.reshape(())),
    case("repeated along an axis", Expand((2, 3, 4)), symbolic=Expand((n, 3, m)), named={"n": 2, "m": 4}, x=(3, 1),
         oracle=lambda x: x.expand(2, 3, 4)),
    case("a scalar repeated", Expand((2, 3)), x=(), oracle=lambda x: x.expand(2, 3)),
    case("an axis dropped", Squeeze((1,)), x=(2, 1, 3), oracle=lambda x: x.squeeze(1)),
    case("axes dropped from the end", Squeeze((-1, 0)), x=(1, 2, 1), oracle=lambda x: x.reshape(2)),
    case("axes added", Unsqueeze((0, -1)), x=(2, 3), oracle=lambda x: x[None, ..., None]),
    case("an axis for a scalar", Unsqueeze((0,)), x=(), oracle=lambda x: x[None]),
    case("one after the other", Concat(0), x=(2, 3), y=(4, 3), oracle=lambda *x: torch.cat(x, 0)),
    case("three beside each other", Concat(-1), x=(2, 3), y=(2, 1), z=(2, 4), oracle=lambda *x: torch.cat(x, -1)),
    case("one alone", Concat(1), x=(2, 3), oracle=lambda *x: torch.cat(x, 1)),
    case("parts", Split((1, 3, 2)), x=(6, 2), named={"n": 2}, oracle=lambda x: x.split([1, 3, 2])),
    case("parts of the last axis", Split((4, 1), -1), named={"n": 3}, x=(3, 5),
         oracle=lambda x: x.split([4, 1], -1)),
    case("reversed", Flip((0, -1)), x=(2, 3, 4), oracle=lambda x: x.flip(0, 2)),
    case("tiled", Tile((2, 1, 3)), x=(2, 3, 4), oracle=lambda x: x.tile(2, 1, 3)),
    case("tiled by a named dim", Tile((5, 1)), symbolic=Tile((n, 1)), named={"n": 5, "m": 3}, x=(2, 3),
         oracle=lambda x: x.tile(5, 1)),
)  # fmt: skip


@each(CASES)
class TestShaping(OperatorCases):
    pass


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (Transpose((0, 0)), ("f32[2, 3]",), "[0, 0] is not a permutation of the 2 axes of f32[2, 3]"),
        (Reshape((3, 3)), ("f32[2, 4]",), "f32[2, 4] does not reshape to [3, 3]: 8 elements are not 9"),
        (Reshape((m,)), ("f32[n]",), "f32[n] does not reshape to [m]: n elements are not known to be m"),
        (Reshape((4, -1)), ("f32[n]",), "f32[n] does not reshape to [4, -1]: n is not known to be a multiple of 4"),
        (Reshape((-1, -1)), ("f32[n]",), "[-1, -1] is not a shape"),
        (Expand((2, 3)), ("f32[2]",), "f32[2] does not expand to [2, 3]"),
        (Expand((-1,)), ("f32[1]",), "f32[1] does not expand to [-1]"),
        (Squeeze((0,)), ("f32[n, 1]",), "axis 0 of f32[n, 1] has length n"),
        (Squeeze((2,)), ("f32[n, 1]",), "f32[n, 1] has no axis 2"),
        (Unsqueeze((0, 0)), ("f32[n]",), "[0, 0] names an axis of f32[n] twice"),
        (Concat(0), (), "expected at least one tensor"),
        (Concat(0), ("f32[n, 2]", "f32[m, 3]"),
         "f32[n, 2] and f32[m, 3] cannot be concatenated along axis 0: axis 1 is 2 and 3"),
        (Concat(0), ("f32[n, 2]", "f32[m]"), "f32[n, 2] and f32[m] cannot be concatenated: they have 2 and 1 axes"),
        (Split((2, 1)), ("f32[4, 2]",), "the parts add up to 3, but axis 0 of f32[4, 2] has 4"),
        (Tile((2,)), ("f32[2, 3]",), "f32[2, 3] needs 2 counts of at least 0, not [2]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: object, types: tuple[str, ...], message: str) -> None:
    assert str(refuses(op, *types)) == message  # type: ignore[arg-type]
