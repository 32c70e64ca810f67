"""Arithmetic, element by element."""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np
import pytest

from compiler.operators.activations import Erf, Relu, Sigmoid, Softplus, Tanh
from compiler.operators.arithmetic import (
    Abs,
    Add,
    Ceil,
    Clip,
    Div,
    Floor,
    FloorDiv,
    Maximum,
    Minimum,
    Mod,
    Mul,
    Neg,
    Reciprocal,
    Round,
    Sign,
    Sub,
)
from compiler.operators.powers import Exp, Expm1, Log, Log1p, Pow, Sqrt
from compiler.operators.trigonometry import Acos, Acosh, Asin, Asinh, Atan, Atanh, Cos, Cosh, Sin, Sinh, Tan
from compiler.types import DType
from tests.compiler.operators.harness import OperatorCases, case, distinct, each, integers, normal, refuses, uniform

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

positive = uniform((2, 3), 0.5, 3)
inside = uniform((2, 3), -0.9, 0.9)
nonzero = uniform((2, 3), 1, 3)


def powers(x: Any, y: Any) -> Any:
    """`x ** [0, 1, 2, 3, 4]` by multiplications: torch's own third derivative at 0 is NaN."""
    return torch.cat([x**0 + 0 * x, x, x * x, x * x * x, x * x * x * x], 1)


CASES = (
    case("a sum", Add(), x=(2, 3), y=(2, 3), oracle=torch.add),
    case("a sum that broadcasts", Add(), x=(2, 1, 3), y=(4, 1), oracle=torch.add),
    case("a sum with a scalar", Add(), x=(2, 3), y=(), oracle=torch.add),
    case("a sum of scalars", Add(), x=(), y=(), oracle=torch.add),
    case("a difference", Sub(), x=(2, 3), y=(3,), oracle=torch.sub),
    case("a product", Mul(), x=(2, 3), y=(2, 1), oracle=torch.mul),
    case("a quotient", Div(), x=(2, 3), y=nonzero, oracle=torch.div),
    case("a quotient of scalars", Div(), x=(), y=uniform((), 1, 2), oracle=torch.div),
    case("a quotient rounded down", FloorDiv(), x=normal((2, 3), scale=5), y=nonzero, order=0,
         oracle=torch.floor_divide),
    case("a quotient by numbers below zero", FloorDiv(), x=normal((2, 3), scale=5), y=uniform((3,), -4, -1), order=0,
         oracle=torch.floor_divide, dtypes=(DType.F32, DType.F64, DType.I64, DType.I32, DType.I8)),
    case("what is left over", Mod(), x=normal((2, 3), scale=5), y=nonzero, oracle=torch.remainder),
    case("what is left over of numbers below zero", Mod(), x=normal((2, 3), scale=5), y=uniform((3,), -4, -1),
         oracle=torch.remainder, dtypes=(DType.F32, DType.F64, DType.I64, DType.I32, DType.I8)),
    case("what is left over of nothing", Mod(), x=np.array([0.0, -0.0, 6.0, -6.0]), y=np.array([3.0, -3.0, -3.0, 3.0]),
         oracle=torch.remainder, order=0, dtypes=(DType.F32, DType.I64)),
    case("a power", Pow(), x=positive, y=(2, 3), oracle=torch.pow),
    case("a power of a scalar exponent", Pow(), x=positive, y=uniform((), 1, 2), oracle=torch.pow),
    case("a power of integers", Pow(), x=(2, 3), y=integers((3,), 4, 1), oracle=torch.pow),
    case("a power of one integer", Pow(), x=(2, 3), y=integers((), 7, 5), oracle=torch.pow),
    case("a whole power", Pow(), x=(2, 3), y=np.array(5.0), oracle=lambda x, y: x**5 + 0 * y, order=0),
    case("a whole power below zero", Pow(), x=nonzero, y=np.array(-3.0), oracle=lambda x, y: x**-3 + 0 * y, order=0),
    case("a half power", Pow(), x=positive, y=np.array(0.5), oracle=lambda x, y: x**0.5 + 0 * y, order=0),
    case("a power of zero", Pow(), x=np.array([0.0, 0, 0, 2, 0]), y=np.array([1.0, 2, 3, 0, 0]), order=1,
         oracle=torch.pow),
    case("a power at the edges", Pow(), x=np.array([0.0, 0, -1, 2, -0.0, np.inf, np.inf, -np.inf, 0, 0, 2]),
         y=np.array([0.0, 1, 2, 0, 3, 2, -1, 2, 0.5, -1, 0.5]), order=1, oracle=torch.pow,
         dtypes=(DType.F32, DType.F64)),
    case("a power of zero by integers", Pow(), x=np.zeros((2, 1)), y=np.arange(5), order=3, oracle=powers),
    case("a power of zero with the exponent zero", Pow(), x=np.zeros(3), y=np.zeros(3), order=1, oracle=torch.pow),
    case("a power of numbers below zero by integers", Pow(), x=np.full((4, 1), -1.5), y=np.arange(5), order=3,
         oracle=powers),
    case("the opposite", Neg(), x=(2, 3), oracle=torch.neg),
    case("a distance from zero", Abs(), x=(2, 3), oracle=torch.abs),
    case("a sign", Sign(), x=(2, 3), oracle=torch.sign),
    case("a sign of zero", Sign(), x=np.zeros(3), oracle=torch.sign),
    case("exp", Exp(), x=(2, 3), oracle=torch.exp),
    case("log", Log(), x=positive, oracle=torch.log),
    case("log1p", Log1p(), x=uniform((2, 3), -0.5, 3), oracle=torch.log1p),
    case("log1p near zero", Log1p(), x=np.array([0.0, 1e-9, -1e-9, 1e-4]), oracle=torch.log1p),
    case("expm1", Expm1(), x=(2, 3), oracle=torch.expm1),
    case("expm1 near zero and far from it", Expm1(), x=np.array([0.0, 1e-9, -1e-9, 9.0, -9.0]), oracle=torch.expm1),
    case("a square root", Sqrt(), x=positive, oracle=torch.sqrt),
    case("a reciprocal", Reciprocal(), x=nonzero, oracle=torch.reciprocal),
    case("the larger", Maximum(), x=distinct((2, 3)), y=uniform((3,), -0.2, 0.2), oracle=torch.maximum),
    case("the smaller", Minimum(), x=distinct((2, 3)), y=uniform((), -0.2, 0.2), oracle=torch.minimum),
    case("the larger of equals", Maximum(), x=np.array([1.0, 2, 0, 0]), y=np.array([1.0, 1, 0, -0.0]),
         oracle=torch.maximum),
    case("the smaller of equals", Minimum(), x=np.array([[1.0], [2]]), y=np.array([1.0, 2]), oracle=torch.minimum),
    case("clipped at its bounds", Clip(-1, 1), x=np.array([-1.0, 1, 0, -2]), oracle=lambda x: torch.clip(x, -1, 1)),
    case("clipped", Clip(-1, 1), x=normal((4, 3), scale=2), oracle=lambda x: torch.clip(x, -1, 1)),
    case("clipped from below", Clip(low=0), x=(2, 3), oracle=lambda x: torch.clip(x, 0)),
    case("clipped from above", Clip(high=1), x=(2, 3), oracle=lambda x: torch.clip(x, max=1)),
    case("floor", Floor(), x=normal((2, 3), scale=3), oracle=torch.floor),
    case("ceil", Ceil(), x=normal((2, 3), scale=3), oracle=torch.ceil),
    case("round", Round(), x=np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.7]), oracle=torch.round),
    case("sin", Sin(), x=(2, 3), oracle=torch.sin),
    case("cos", Cos(), x=(2, 3), oracle=torch.cos),
    case("tan", Tan(), x=inside, oracle=torch.tan),
    case("asin", Asin(), x=inside, oracle=torch.asin),
    case("acos", Acos(), x=inside, oracle=torch.acos),
    case("atan", Atan(), x=(2, 3), oracle=torch.atan),
    case("sinh", Sinh(), x=(2, 3), oracle=torch.sinh),
    case("cosh", Cosh(), x=(2, 3), oracle=torch.cosh),
    case("asinh", Asinh(), x=(2, 3), oracle=torch.asinh),
    case("acosh", Acosh(), x=uniform((2, 3), 1.5, 3), oracle=torch.acosh),
    case("atanh", Atanh(), x=inside, oracle=torch.atanh),
    case("tanh", Tanh(), x=(2, 3), oracle=torch.tanh),
    case("tanh of a scalar", Tanh(), x=(), oracle=torch.tanh),
    case("sigmoid", Sigmoid(), x=normal((2, 3), scale=3), oracle=torch.sigmoid),
    case("sigmoid of a scalar", Sigmoid(), x=(), oracle=torch.sigmoid),
    case("sigmoid far out", Sigmoid(), x=np.array([-800.0, 800.0]), oracle=torch.sigmoid),
    case("softplus", Softplus(), x=normal((2, 3), scale=3), oracle=lambda x: torch.logaddexp(x, 0 * x.detach())),
    case("softplus far out", Softplus(), x=np.array([-800.0, 800.0]), oracle=torch.nn.functional.softplus),
    case("relu", Relu(), x=distinct((2, 3)), oracle=torch.relu),
    case("relu at zero", Relu(), x=np.zeros(2), oracle=torch.relu),
    case("erf", Erf(), x=normal((5, 7), scale=2), oracle=torch.erf),
    case("erf at its seams", Erf(), x=np.array([0.0, 0.46875, -0.46876, 4.0, 6.1, -30.0]), oracle=torch.erf),
)  # fmt: skip


@each(CASES)
class TestArithmetic(OperatorCases):
    pass


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-15), ("float32", 5e-7), ("float16", 1e-3)])
def test_erf_is_exact_to_the_last_bits(dtype: str, rtol: float) -> None:
    x = np.linspace(-7, 7, 20_001).astype(dtype)
    found = Erf().compute(x)
    np.testing.assert_allclose(found, [erf(each) for each in x.tolist()], rtol=rtol, atol=1e-300)
    assert np.abs(found).max() == 1


def test_erf_keeps_what_is_no_number() -> None:
    assert np.isnan(Erf().compute(np.array([np.nan]))).all()
    assert np.isnan(Erf().compute(np.array([np.nan], np.float32))).all()


@pytest.mark.parametrize("op", [FloorDiv(), Mod()], ids=str)
def test_integers_are_not_divided_by_zero(op: FloorDiv | Mod) -> None:
    with pytest.raises(ZeroDivisionError):
        op.compute(np.array([1, 2]), np.array([1, 0]))


def test_a_quotient_of_integers_suggests_the_other_division() -> None:
    refused = refuses(Div(), "i64[n]", "i64[n]")
    assert str(refused) == "expected floats, got i64[n]"
    assert refused.hint == "`//` divides integers, and `cast(x, f32)` makes floats"


@pytest.mark.parametrize(
    ("op", "types", "message"),
    [
        (Add(), ("f32[n, 3]", "f32[m, 3]"),
         "f32[n, 3] and f32[m, 3] do not broadcast: axis -2 is n on one side and m on the other, "
         "which are not known to be equal"),
        (Add(), ("f32[2]", "f32[3]"),
         "f32[2] and f32[3] do not broadcast: axis -1 is 2 on one side and 3 on the other"),
        (Add(), ("f32[2]", "i64[2]"), "f32[2] and i64[2] have different dtypes"),
        (Add(), ("bool[2]", "bool[2]"), "expected float or int tensors, got bool[2]"),
        (Exp(), ("i64[2]",), "expected float tensors, got i64[2]"),
        (Neg(), ("u8[2]",), "u8[2] is unsigned and cannot be negated"),
        (Pow(), ("i64[2]", "i64[2]"), "expected float tensors, got i64[2]"),
        (Clip(2, 1), ("f32[2]",), "the lower bound 2 is above the upper bound 1"),
        (Clip(0.5), ("i64[2]",), "0.5 is not a valid bound for i64[2]"),
        (Clip(-1), ("u8[2]",), "-1 is not a valid bound for u8[2]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: object, types: tuple[str, ...], message: str) -> None:
    assert str(refuses(op, *types)) == message  # type: ignore[arg-type]
