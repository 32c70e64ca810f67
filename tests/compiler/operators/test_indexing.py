"""Operators that look up elements by their places, and put them there."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.dims import Dim
from compiler.operators.indexing import GatherElements, GatherNd, Iota, OneHot, ScatterElements, ScatterNd, Take
from compiler.operators.leaves import SizeOf
from compiler.types import DType
from tests.compiler.operators.harness import OperatorCases, case, each, integers, refuses

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

n = Dim.named("n")
twice = np.array([2, 0, 2, -1])
pairs = np.array([[0, 1], [2, 3], [0, 1], [-1, -2]])
apart = np.array([[0, 1], [2, 3]])
columns = np.array([[2, 0, 1], [1, 1, -1]])
split = np.array([[2, 0, 1], [1, 3, 2]])


def index_add(x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    return x.index_put(tuple(indices.movedim(-1, 0)), updates, accumulate=True)


def index_put(x: torch.Tensor, indices: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    return x.index_put(tuple(indices.movedim(-1, 0)), updates)


CASES = (
    case("rows", Take(0), x=(5, 3), indices=twice, oracle=lambda x, i: x[i]),
    case("rows by a table of indices", Take(0), x=(5, 3), indices=integers((2, 4), 5, -5), oracle=lambda x, i: x[i]),
    case("rows by i32", Take(0), x=(5, 3), indices=integers((4,), 5, dtype="int32"), oracle=lambda x, i: x[i.long()]),
    case("columns", Take(-1), x=(2, 3, 5), indices=twice, oracle=lambda x, i: x[..., i]),
    case("an axis between", Take(1), x=(2, 5, 3), indices=integers((2, 2), 5), oracle=lambda x, i: x[:, i]),
    case("one row", Take(0), x=(5, 3), indices=np.array(-2), oracle=lambda x, i: x[i]),
    case("one column", Take(1), x=(5, 3), indices=np.array(1), oracle=lambda x, i: x[:, i]),
    case("an element of each row", GatherElements(1), x=(2, 4), indices=columns,
         oracle=lambda x, i: torch.gather(x, 1, i % 4)),
    case("an element of each column", GatherElements(0), x=(5, 3), indices=columns,
         oracle=lambda x, i: torch.gather(x, 0, i % 5)),
    case("elements at places of two axes", GatherNd(), x=(3, 4), indices=pairs, named={"n": 3, "m": 4},
         oracle=lambda x, i: x[tuple(i.movedim(-1, 0))]),
    case("parts at places of one axis", GatherNd(), x=(5, 3), indices=twice[:, None], named={"n": 5, "m": 3},
         oracle=lambda x, i: x[i[:, 0]]),
    case("elements put", ScatterElements(1), x=(2, 4), indices=split, updates=(2, 3),
         oracle=lambda x, i, u: x.scatter(1, i, u)),
    case("elements added", ScatterElements(1, "add"), x=(2, 4), indices=columns, updates=(2, 3),
         oracle=lambda x, i, u: x.scatter_add(1, i % 4, u)),
    case("elements added along the first axis", ScatterElements(0, "add"), x=(5, 3), indices=columns, updates=(2, 3),
         oracle=lambda x, i, u: x.scatter_add(0, i % 5, u)),
    case("put at places of two axes", ScatterNd(), x=(3, 4), indices=apart, updates=(2,), named={"n": 3, "m": 4},
         oracle=index_put),
    case("added at places of two axes", ScatterNd("add"), x=(3, 4), indices=pairs, updates=(4,), named={"n": 3},
         oracle=index_add),
    case("rows added", ScatterNd("add"), x=(5, 3), indices=twice[:, None], updates=(4, 3), named={"n": 5, "m": 3},
         oracle=index_add),
    case("nothing added", ScatterNd("add"), x=(5, 3), indices=np.zeros((0, 1), np.int64), updates=(0, 3),
         named={"n": 5, "m": 3}, oracle=index_add),
    case("one of five", OneHot(5, dtype=DType.F64), indices=integers((2, 3), 5),
         oracle=lambda i: torch.nn.functional.one_hot(i, 5).double()),
    case("one of none where the place is none", OneHot(3, dtype=DType.F32), indices=np.array([0, -1, 3, 2]),
         oracle=lambda i: torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]])),
    case("one of some along the first axis", OneHot(4, axis=0, dtype=DType.I64), symbolic=OneHot(n, 0, DType.I64),
         named={"n": 4}, indices=integers((2, 3), 4, dtype="int32"),
         oracle=lambda i: torch.nn.functional.one_hot(i.long(), 4).permute(2, 0, 1)),
    case("one of a scalar", OneHot(4, dtype=DType.BOOL), indices=np.array(2),
         oracle=lambda i: torch.tensor([False, False, True, False])),
    case("a size as a number", SizeOf(5), symbolic=SizeOf(n), named={"n": 5}, oracle=lambda: torch.tensor(5)),
    case("counted", Iota(5), oracle=lambda: torch.arange(5)),
    case("counted in floats", Iota(5, DType.F64), oracle=lambda: torch.arange(5).double()),
)  # fmt: skip


@each(CASES)
class TestIndexing(OperatorCases):
    pass


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (Take(0), ("f32[5, 3]", "f32[2]"), "the indices must be i32 or i64, not f32[2]"),
        (Take(2), ("f32[5, 3]", "i64[2]"), "f32[5, 3] has no axis 2"),
        (GatherElements(1), ("f32[5, 3]", "i64[4, 2]"), "indices i64[4, 2] do not fit f32[5, 3]"),
        (GatherElements(1), ("f32[5, 3]", "i64[5]"), "indices i64[5] do not fit f32[5, 3]"),
        (GatherNd(), ("f32[5, 3]", "i64[2, 3]"), "i64[2, 3] does not index f32[5, 3]"),
        (GatherNd(), ("f32[5, 3]", "i64[2, n]"), "i64[2, n] does not index f32[5, 3]"),
        (ScatterNd(), ("f32[5, 3]", "i64[2, 1]", "f32[2, 4]"),
         "indices i64[2, 1] into f32[5, 3] need updates f32[2, 3], not f32[2, 4]"),
        (ScatterElements(0), ("f32[5, 3]", "i64[2, 3]", "f32[3, 2]"),
         "updates f32[3, 2] for indices i64[2, 3]"),
        (ScatterNd("max"), ("f32[5]", "i64[2, 1]", "f32[2]"), "`max` is not a reduction of a scatter"),
        (OneHot(3), ("f32[2]",), "the indices must be integers, not f32[2]"),
        (OneHot(0), ("i64[2]",), "the depth must be at least 1, not 0"),
        (Iota(-1), (), "the size must be at least 0, not -1"),
        (Iota(3, DType.BOOL), (), "the dtype must be a number type, not bool"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: object, types: tuple[str, ...], message: str) -> None:
    assert str(refuses(op, *types)) == message  # type: ignore[arg-type]


def test_an_index_outside_of_its_axis_is_not_another_one() -> None:
    with pytest.raises(IndexError):
        ScatterNd("add").compute(np.zeros((2, 2)), np.array([[0, 2]]), np.ones(1))
