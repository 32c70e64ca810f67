"""Converting numbers, sizes and lists to tensors, and errors for values that cannot be converted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compiler.dims import Dim, DimError
from compiler.elaborate.bounded import bounded_list
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.session import Built, Session
from compiler.elaborate.values import (
    NONE,
    UNKNOWN,
    Argument,
    Builtin,
    CompileTimeValue,
    Defined,
    Instance,
    Primitive,
    ScanOf,
    describe,
    is_number,
)
from compiler.graph import Value
from compiler.operators.leaves import Constant, constant, size_of
from compiler.operators.making import cast
from compiler.types import DType, TypeMismatch
from grammar import codes
from grammar.diagnostics import Label, NablacError
from grammar.source import Span


def as_tensor(session: Session, value: CompileTimeValue, span: Span, dtype: DType) -> Value:
    """A tensor unchanged, a number as a constant of `dtype`, a size as a scalar, a list of numbers as a vector."""
    match value:
        case Value():
            return value
        case bool() if dtype is DType.BOOL:
            pass
        case bool():
            raise session.fault(
                codes.E305,
                f"{describe(value)} cannot be combined with a tensor of {dtype}",
                span,
                hint=f"convert: `cast(x, {dtype})`, or write 1 or 0",
            )
        case int() | float() if dtype is DType.BOOL:
            raise session.fault(
                codes.E305,
                f"{describe(value)} cannot be combined with a tensor of bool",
                span,
                hint="convert the tensor: `cast(x, f32)`",
            )
        case float() if dtype.is_integer:
            raise session.fault(
                codes.E305,
                f"{describe(value)} cannot be represented in {dtype}; there are no implicit conversions",
                span,
                hint="convert the tensor: `cast(x, f32)`",
            )
        case int() if dtype.is_integer and not dtype.holds(value):
            raise session.fault(codes.E305, f"{describe(value)} does not fit in {dtype}", span)
        case int() | float():
            pass
        case Dim():
            return session.make(lambda: cast(size_of(value), dtype), span)
        case list():
            return _array(session, value, span, dtype)
        case _:
            raise not_a_tensor(session, value, span)
    try:
        scalar = session.make(lambda: constant(value, dtype), span)
    except OverflowError:
        raise session.fault(codes.E305, f"{describe(value)} does not fit in {dtype}", span) from None
    op = scalar.node.op
    if dtype.is_float and value and isinstance(op, Constant) and op.scalar() == 0:
        wider = DType.F32 if dtype.is_half else DType.F64
        hint = f"convert the tensor: `cast(x, {wider})`, or write a larger number"
        raise session.fault(codes.E305, f"{describe(value)} would round to 0 in {dtype}", span, hint=hint)
    return scalar


def tensor_argument(session: Session, argument: Argument) -> Value:
    """The tensor of an argument; NablacError if it is not one."""
    if isinstance(argument.value, Value):
        return argument.value
    if is_number(argument.value):
        return as_tensor(session, argument.value, argument.span, session.local_float_type)
    raise not_a_tensor(session, argument.value, argument.span)


def not_a_tensor(session: Session, value: CompileTimeValue, span: Span) -> NablacError:
    """The error for a value that is not a tensor; raises AlreadyReported for UNKNOWN."""
    if value is UNKNOWN:
        raise AlreadyReported
    hint = None
    if isinstance(value, Instance):
        hint = "apply it to a tensor: `x -> " + value.defined.name + "(...)`"
    elif isinstance(value, Defined) and value.kind != "fn":
        hint = f"make an instance and apply it: `x -> {value.name}(...)`"
    elif isinstance(value, (Defined, Builtin, Primitive)):
        hint = "call it: `f(x)`"
    elif value is NONE:
        hint = "check first with `given(x)` that the optional input is there"
    elif isinstance(value, ScanOf):
        hint = "pass it the sequences: `scan(cell)(xs, axis: 1)`"
    elif isinstance(value, tuple):
        hint = "unpack it: `a, b = ...`"
    return session.fault(codes.E421, f"expected a tensor, got {describe(value)}", span, hint=hint)


def _array(session: Session, value: list[CompileTimeValue], span: Span, dtype: DType) -> Value:
    """A (nested) list of numbers as a tensor."""
    import numpy as np

    bounded_list(session, value, span)

    if not value or not _holds_numbers(value):
        hint = "combine tensors with `stack([a, b], axis: 0)` or `concat([a, b], axis: 0)`" if value else None
        raise session.fault(codes.E415, f"expected a tensor, got {describe(value)}", span, hint=hint)
    try:
        exact = np.array(value)
        with np.errstate(all="ignore"):
            array = exact.astype(dtype.numpy)
    except (ValueError, OverflowError):
        raise session.fault(codes.E415, "the lists in this list have different lengths", span) from None
    if not _keeps(exact, array):
        raise session.fault(
            codes.E305, f"these numbers cannot be represented in {dtype}; there are no implicit conversions", span
        )
    return session.make(lambda: Constant.of(array)(), span)


def _holds_numbers(items: list[CompileTimeValue]) -> bool:
    """Whether a list holds only numbers, or lists of them; compares the set of types, which is small."""
    kinds = set(map(type, items))
    if not all(issubclass(kind, (int, float, list)) for kind in kinds):
        return False
    return list not in kinds or all(_holds_numbers(item) for item in items if isinstance(item, list))


def _keeps(exact: Any, array: Any) -> bool:
    """Whether numbers keep their values in another dtype, except for the rounding of floats."""
    import numpy as np

    if (exact.dtype.kind == "b") != (array.dtype.kind == "b"):
        return False
    if array.dtype.kind in "iu":
        return bool((exact == array).all()) and exact.dtype.kind != "f"
    return array.dtype.kind == "b" or bool((np.isfinite(exact) == np.isfinite(array.astype(np.float64))).all())


def build_checked(
    session: Session,
    build: Callable[[], Built],
    span: Span,
    operands: Sequence[tuple[Value, Argument]],
    *,
    what: str = "this",
    at: Span | None = None,
) -> Built:
    """The result of `build`; a TypeMismatch becomes a NablacError that shows where each operand comes from."""
    try:
        return session.make(build, span)
    except TypeMismatch as mismatch:
        labels: list[Label] = []
        for value, argument in operands:
            if argument.span.source is span.source and argument.span != span:
                labels.append(Label(argument.span, f"this is {value.type}"))
            origin = value.node.origin.span
            if origin is not None and origin != argument.span and not isinstance(value.node.op, Constant):
                labels.append(Label(origin, f"{value.type} comes from here"))
        raise session.fault(
            codes.E301, f"{what}: {mismatch}", at or span, labels=tuple(labels), hint=mismatch.hint
        ) from None
    except DimError as error:
        raise session.fault(codes.E307, f"{what}: {error}", at or span) from None
