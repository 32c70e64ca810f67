"""Casts, and what changes no value."""

from __future__ import annotations

import pytest

from compiler.operators.all_reduce import AllReduce
from compiler.operators.barrier import Barrier
from compiler.operators.casting import Cast, StopGradient
from compiler.types import DType
from tests.compiler.operators.harness import OperatorCases, booleans, case, each, integers, normal

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

CASES = (
    case("to f64", Cast(DType.F64), x=(2, 3), oracle=lambda x: x.double()),
    case("to f32", Cast(DType.F32), x=(2, 3)),
    case("to f16", Cast(DType.F16), x=(2, 3), rtol=1e-3),
    case("to i64", Cast(DType.I64), x=normal((2, 3), scale=5), oracle=lambda x: x.long()),
    case("to i32", Cast(DType.I32), x=normal((2, 3), scale=5), oracle=lambda x: x.int()),
    case("to i8", Cast(DType.I8), x=normal((2, 3), scale=5), oracle=lambda x: x.to(torch.int8)),
    case("to u8", Cast(DType.U8), x=normal((2, 3), mean=9), oracle=lambda x: x.to(torch.uint8)),
    case("to bool", Cast(DType.BOOL), x=integers((2, 3), 2, -1), oracle=lambda x: x.bool()),
    case("from bool", Cast(DType.F64), x=booleans((2, 3)), oracle=lambda x: x.double()),
    case("of a scalar", Cast(DType.F64), x=integers((), 9), oracle=lambda x: x.double()),
    case("a barrier", Barrier(), x=(2, 3), after=(4,), oracle=lambda x, after: x + 0 * after.sum()),
    case("a barrier before a scalar", Barrier(), x=(), after=(), oracle=lambda x, after: x + 0 * after),
    case("over one worker", AllReduce(), x=(2, 3), oracle=lambda x: x + 0),
    case("over one worker, alike", AllReduce(alike=True), x=(), oracle=lambda x: x + 0),
    case("no gradient", StopGradient(), x=(2, 3), oracle=lambda x: x.detach()),
)


@each(CASES)
class TestCasting(OperatorCases):
    pass
