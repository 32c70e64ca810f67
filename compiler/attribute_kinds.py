"""The kinds of operator attributes: which values the language accepts for one, and how it is printed.

An operator declares an attribute by kind, as in `axis: Axis = -1`: to a type checker that is an `int`, and code that
reads attributes gets their kinds from `kinds_of`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from compiler.dims import Dim, Size
from compiler.lazy import once_for_each_class
from compiler.types import DType
from grammar.record import Record


class Kind(Record):
    """One kind of attribute; `noun` says what it is, `fits` whether a value, or an item of a list, is of it."""

    noun: str  # with its article
    fits: Callable[[Any], bool]
    listed: bool = False  # a list; a single value stands for a list of one
    optional: bool = False  # may be None: left out
    convert: Callable[[Any], Any] | None = None  # from an accepted value to the one that the operator holds


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, Dim)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_internal(value: Any) -> bool:
    return False  # no value of the language is one


INTEGER = Kind("a whole number", _is_whole)
INTEGERS = Kind("a whole number or a list of them", _is_whole, listed=True)
SIZE = Kind("a size", _is_size)
SIZES = Kind("a whole number or a list of them", _is_size, listed=True)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a number", _is_number, convert=float)
DTYPE = Kind("a dtype", lambda value: isinstance(value, DType))
TEXT = Kind("a text", _is_text)
AXIS = Kind("a whole number", _is_whole)
AXES = Kind("a whole number or a list of them", _is_whole, listed=True)
INTERNAL = Kind("an internal value of the compiler: a graph, a type, the bytes of a constant", _is_internal)

Integer = Annotated[int, INTEGER]
Integers = Annotated[tuple[int, ...], INTEGERS]
Axis = Annotated[int, AXIS]
Axes = Annotated[tuple[int, ...], AXES]
AnyAxes = Annotated[tuple[int, ...] | None, AXES.replace(optional=True)]
Extent = Annotated[Size, SIZE]
Extents = Annotated[tuple[Size, ...], SIZES]
Bounds = Annotated[tuple[Size | None, ...], SIZES]
Flag = Annotated[bool, FLAG]
Number = Annotated[float, NUMBER]
OptionalNumber = Annotated[float | None, NUMBER.replace(optional=True)]
ElementType = Annotated[DType, DTYPE]
Text = Annotated[str, TEXT]


@once_for_each_class
def kinds_of(operator: type[Record]) -> Mapping[str, Kind]:
    """The kind of each attribute of an operator class by name, in the order of its fields."""
    kinds: dict[str, Kind] = {}
    for base in reversed(operator.__mro__):
        for name, annotation in vars(base).get("__annotations__", {}).items():
            if name in operator.fields:
                declared = eval(annotation, vars(sys.modules[base.__module__]))
                for kind in getattr(declared, "__metadata__", ()):
                    kinds[name] = kind
    return {name: kinds[name] for name in operator.fields}


def format_attribute(value: Any) -> str:
    """An attribute as a graph dump prints it: `[0, 1]`, `true`, `f32`."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_attribute, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
