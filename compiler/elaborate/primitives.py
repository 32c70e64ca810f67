"""Operators called by their names: operands first, then attributes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from compiler.attribute_kinds import DTYPE, Kind, kinds_of
from compiler.elaborate.binding import bind_names
from compiler.elaborate.interruptions import AlreadyReported
from compiler.elaborate.operands import as_tensor, build_checked
from compiler.elaborate.session import Session, calls
from compiler.elaborate.values import NONE, UNKNOWN, Argument, CompileTimeValue, Primitive, describe
from compiler.graph import Node, Operator, Value
from compiler.lazy import once_for_each_class
from compiler.types import DType
from grammar import codes
from grammar.source import Span


@once_for_each_class
def operand_names(operator: type[Operator]) -> tuple[str, ...] | None:
    """The names of an operator's operands; None where it takes a list of them."""
    named: tuple[str, ...] | None = getattr(operator, "operand_names", None)
    if named is not None:
        return named
    parameters = list(inspect.signature(operator.infer).parameters.values())[1:]
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)


@calls(Primitive)
def call_primitive(session: Session, callee: Primitive, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """An operator as a function of the language."""
    return call_operator(session, callee.operator, arguments, span)


def call_operator(
    session: Session, operator: type[Operator], arguments: list[Argument], span: Span
) -> CompileTimeValue:
    """An operator called by its name: operands first, then attributes."""
    operands = operand_names(operator)
    bound, kinds = bind_operator(session, operator, arguments, span), kinds_of(operator)
    if operands is None:
        tensors = _tensors(session, operator, bound, span)
    else:
        tensors = [bound[name] for name in operands]
    values = {
        field: _attribute(session, operator, argument_name(field), kind, bound[argument_name(field)])
        for field, kind in kinds.items()
        if argument_name(field) in bound
    }
    for field, kind in kinds.items():  # the default of a float dtype is the model's float type
        default = getattr(operator, field, None)
        if kind is DTYPE and field not in values and isinstance(default, DType) and default.is_float:
            values[field] = session.local_float_type
    return operate(session, operator, values, tensors, span)


@once_for_each_class
def _parameters(operator: type[Operator]) -> tuple[list[str], list[str]]:
    """The names of an operator's operands and attributes, and those of them that have no default."""
    operands = operand_names(operator)
    names = [*(("tensors",) if operands is None else operands), *map(argument_name, operator.fields)]
    needed = [*(operands or ()), *(argument_name(field) for field in operator.fields if not hasattr(operator, field))]
    return names, needed


def bind_operator(
    session: Session, operator: type[Operator], arguments: list[Argument], span: Span
) -> dict[str, Argument]:
    """The arguments of an operator by operand and attribute; those without a default are required."""
    names, needed = _parameters(operator)
    bound = bind_names(
        session, operator.name, names, [_renamed(argument, operator) for argument in arguments], span, None
    )
    for name in needed:
        if name not in bound:
            hint = f"as in `{operator.name}({', '.join(names)})`"
            raise session.fault(codes.E401, f"{operator.name} needs `{name}`", span, hint=hint)
    return bound


def _tensors(session: Session, operator: type[Operator], bound: dict[str, Argument], span: Span) -> list[Argument]:
    """The operands of an operator that takes a list of them."""
    argument = bound.get("tensors")
    if argument is None or not isinstance(argument.value, (list, tuple)) or not argument.value:
        raise session.fault(
            codes.E415,
            f"{operator.name} takes a list of tensors",
            span,
            hint=f"as in `{operator.name}([a, b], axis: -1)`",
        )
    return [Argument(None, item, argument.span) for item in argument.value]


def argument_name(field: str) -> str:
    """The name of the argument for an attribute: `axes` is passed as `axis`, one or a list."""
    return "axis" if field == "axes" else field


def _renamed(argument: Argument, operator: type[Operator]) -> Argument:
    """The argument, with `axes` accepted as another name of `axis` where several are allowed."""
    if argument.name == "axes" and "axes" in operator.fields:
        return Argument("axis", argument.value, argument.span, argument.named_at)
    return argument


def _attribute(session: Session, operator: type[Operator], name: str, kind: Kind, argument: Argument) -> Any:
    """An attribute's value in the form that the operator declares."""
    value = argument.value
    if value is UNKNOWN:
        raise AlreadyReported
    if value is NONE and kind.optional:
        return None
    items = value if kind.listed and isinstance(value, (list, tuple)) else [value]
    wrong = [item for item in items if not kind.fits(item)]
    if not wrong:
        return tuple(items) if kind.listed else kind.convert(value) if kind.convert else value
    actual = describe(value) if wrong[0] is value else f"a list with {describe(wrong[0])}"
    raise session.fault(codes.E404, f"`{name}` of {operator.name} must be {kind.noun}, got {actual}", argument.span)


def operate(
    session: Session,
    operator: type[Operator],
    attributes: dict[str, Any],
    operands: Sequence[Argument],
    span: Span,
    *,
    sign: str | None = None,
    at: Span | None = None,
) -> Value | tuple[Value, ...]:
    """Apply an operator; numbers are converted to the dtype of the tensor operands."""
    dtype = _common_dtype(session, operands)
    names = operand_names(operator) or ()
    values: list[Value] = []
    for index, operand in enumerate(operands):
        indexes = index < len(names) and names[index] in operator.index_operands
        values.append(as_tensor(session, operand.value, operand.span, DType.I64 if indexes else dtype))
    labelled = list(zip(values, operands, strict=True))
    return build_checked(
        session,
        lambda: _results((operator(**attributes) if attributes else operator.bare()).apply(*values)),
        span,
        labelled,
        what=f"`{sign}`" if sign else operator.name,
        at=at,
    )


def _results(node: Node) -> Value | tuple[Value, ...]:
    return node.result if len(node.results) == 1 else node.results


def _common_dtype(session: Session, operands: Sequence[Argument]) -> DType:
    dtypes = [operand.value.type.dtype for operand in operands if isinstance(operand.value, Value)]
    numeric = [dtype for dtype in dtypes if dtype is not DType.BOOL]
    if numeric:
        return numeric[0]
    if dtypes and all(isinstance(operand.value, (Value, bool)) for operand in operands):
        return DType.BOOL
    return session.local_float_type
