"""Functions of numbers: conversions, choices for `tune`, and operators that are folded at compile time."""

from __future__ import annotations

import math
from collections.abc import Callable

from compiler.dims import Dim
from compiler.elaborate.builtins.declaring import binding_builtin, builtin
from compiler.elaborate.numbers import bounded
from compiler.elaborate.operands import as_tensor
from compiler.elaborate.primitives import bind_operator, call_operator, operand_names
from compiler.elaborate.search_ranges import search_range
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, Builtin, Choice, CompileTimeValue, Interval, describe, is_number
from compiler.operators import OPERATORS
from grammar import codes
from grammar.source import Span


@builtin("int", "x")
def _int(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    value = bound["x"].value
    if isinstance(value, Dim):
        return value
    if isinstance(value, bool) or not is_number(value):
        raise session.fault(
            codes.E404,
            f"int takes a number, got {describe(value)}",
            bound["x"].span,
            hint="convert a tensor with `cast(x, i64)`",
        )
    if not math.isfinite(value):
        raise session.fault(codes.E506, f"{describe(value)} has no integer value", span)
    return bounded(session, int(value), span)


@builtin("float", "x")
def _float(session: Session, bound: dict[str, Argument], span: Span) -> CompileTimeValue:
    value = bound["x"].value
    if not is_number(value):
        raise session.fault(
            codes.E404,
            f"float takes a number, got {describe(value)}",
            bound["x"].span,
            hint="convert a tensor with `cast(x, f32)`",
        )
    return float(value)


@binding_builtin("choice")
def _choice(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """`choice(25, 50, 100)`: values of a hyperparameter for `tune`; elsewhere the first is used."""
    named = next((argument for argument in arguments if argument.name is not None), None)
    if named is not None:
        at = named.named_at or named.span
        raise session.fault(
            codes.E402, f"choice has no argument `{named.name}`", at, hint="as in `choice(25, 50, 100)`"
        )
    if not arguments:
        raise session.fault(codes.E401, "choice needs values to choose from", span, hint="as in `choice(25, 50, 100)`")
    if len(arguments) == 1 and isinstance(arguments[0].value, list):
        inside = arguments[0].span.text.removeprefix("[").removesuffix("]")
        message = "choice takes each value as an argument, got a single list"
        raise session.fault(
            codes.E404, message, arguments[0].span, hint=f"write the values without the list: `choice({inside})`"
        )
    return Choice(tuple(argument.value for argument in arguments))


def _folding(name: str, function: Callable[..., float]) -> Builtin:
    """An operator that is computed at compile time if all its operands are numbers, and is a node otherwise."""
    operator = OPERATORS[name]

    def bind(session: Session, arguments: list[Argument], span: Span) -> dict[str, Argument]:
        return bind_operator(session, operator, arguments, span)

    def run(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
        bound = bind(session, arguments, span)
        values = [bound[operand].value for operand in operand_names(operator) or ()]
        if name == "log" and isinstance(values[0], Interval):
            return search_range(session, "log", values[0], span)
        if all(is_number(value) for value in values):
            try:
                number = function(*values)
                return bounded(session, number, span) if isinstance(number, int) else number
            except (ValueError, ZeroDivisionError):
                shown = ", ".join(str(value) for value in values)
                raise session.fault(codes.E505, f"{name}({shown}) is not a number", span) from None
            except OverflowError:
                raise session.fault(codes.E506, "float overflow: beyond 1.8e308", span) from None
        dtype = session.local_float_type
        arguments = [
            Argument(argument.name, as_tensor(session, argument.value, argument.span, dtype), argument.span)
            if isinstance(argument.value, Dim)
            else argument
            for argument in arguments
        ]
        return call_operator(session, operator, arguments, span)

    return Builtin(name, run, bind)


def folding_operators() -> dict[str, Builtin]:
    """The operators that are folded if all their operands are numbers, by name."""
    functions = {name: operator.number_function for name, operator in OPERATORS.items()}
    return {name: _folding(name, function) for name, function in functions.items() if function is not None}
