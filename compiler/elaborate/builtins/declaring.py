"""Registering functions of the language, and checking their arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.dims import Size
from compiler.elaborate.binding import bind_names
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, Builtin, CompileTimeValue, describe, is_size
from compiler.graph import Value
from compiler.types import DType, TypeMismatch
from grammar import codes
from grammar.source import Span

Bind = Callable[["Session", list[Argument], Span], CompileTimeValue]
Function = Callable[["Session", dict[str, Argument], Span], CompileTimeValue]


def builtin(name: str, *parameters: str, optional: tuple[str, ...] = ()) -> Callable[[Function], Builtin]:
    """Register a Python function as one of the language; it gets its arguments by name."""

    def wrap(function: Function) -> Builtin:
        def bind(session: Session, arguments: list[Argument], span: Span) -> dict[str, Argument]:
            bound = bind_names(session, name, [*parameters, *optional], arguments, span, None)
            for parameter in parameters:
                if parameter not in bound:
                    shown = ", ".join([*parameters, *(f"{option}: ..." for option in optional)])
                    raise session.fault(
                        codes.E401, f"{name} needs `{parameter}`", span, hint=f"as in `{name}({shown})`"
                    )
            return bound

        def run(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
            return function(session, bind(session, arguments, span), span)

        BUILTINS[name] = Builtin(name, run, bind)
        return BUILTINS[name]

    return wrap


BUILTINS: dict[str, Builtin] = {}


def binding_builtin(name: str) -> Callable[[Bind], Bind]:
    """Register a Python function as one of the language; it binds its arguments itself."""

    def register(function: Bind) -> Bind:
        BUILTINS[name] = Builtin(name, function)
        return function

    return register


def whole_argument(session: Session, argument: Argument, what: str) -> int:
    """The value of an argument; NablacError if it is not a whole number."""
    if not isinstance(argument.value, int) or isinstance(argument.value, bool):
        raise session.fault(codes.E404, f"{what} takes a whole number, got {describe(argument.value)}", argument.span)
    return argument.value


def list_argument(session: Session, argument: Argument, what: str) -> Sequence[CompileTimeValue]:
    """The value of an argument; NablacError if it is not a list."""
    if not isinstance(argument.value, (list, tuple)):
        raise session.fault(codes.E404, f"{what} takes a list, got {describe(argument.value)}", argument.span)
    items: Sequence[CompileTimeValue] = argument.value
    return items


def sizes_argument(session: Session, argument: Argument, what: str, *, inferred: bool = False) -> tuple[Size, ...]:
    """The value of an argument that is a size or a list of sizes; with `inferred`, -1 is allowed. Else NablacError."""
    items = argument.value if isinstance(argument.value, (list, tuple)) else [argument.value]
    sizes: list[Size] = []
    for item in items:
        if not is_size(item):
            raise session.fault(
                codes.E404, f"{what} takes a list of sizes, got a list with {describe(item)}", argument.span
            )
        if isinstance(item, int) and (item < 0 and not (inferred and item == -1)):
            raise session.fault(codes.E307, f"an axis cannot have size {item}", argument.span)
        sizes.append(item)
    return tuple(sizes)


def dtype_option(session: Session, bound: dict[str, Argument]) -> DType:
    """The argument `dtype`; by default the float type of the current frame."""
    if "dtype" not in bound:
        return session.local_float_type
    value = bound["dtype"].value
    if not isinstance(value, DType):
        raise session.fault(codes.E404, f"`dtype` must be a dtype, got {describe(value)}", bound["dtype"].span)
    return value


def axis_of(session: Session, tensor: Value, axis: int, span: Span, among: int | None = None) -> int:
    """An axis of a tensor, or of one with `among` axes, counted from 0; NablacError if it is out of range."""
    try:
        return tensor.type.axis(axis, among)
    except TypeMismatch as mismatch:
        raise session.fault(codes.E314, str(mismatch), span, hint=mismatch.hint) from None
