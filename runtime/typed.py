"""Converting JSON values to the dataclasses that they were written from, with checked types."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_NAMES = {  # for messages
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def read_as(kind: Any, value: Any) -> Any:
    """`value` as a `kind`: a dataclass by its fields, or a type of JSON; raises TypeError or ValueError."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = get_type_hints(kind)
        optional = {field.name for field in fields(kind) if field.default is not MISSING} - value.keys()
        wrong = value.keys() ^ ({field.name for field in fields(kind)} - optional)
        if wrong:
            raise TypeError(f"`{min(wrong)}` is missing, or not known")
        return kind(**{name: read_as(hints[name], item) for name, item in value.items()})
    if origin in (Union, UnionType):
        for choice in arguments:
            try:
                return read_as(choice, value)
            except TypeError:
                continue
    elif origin is list and isinstance(value, list):
        return [read_as(arguments[0], item) for item in value]
    elif origin is dict and isinstance(value, dict):
        return {read_as(arguments[0], key): read_as(arguments[1], item) for key, item in value.items()}
    elif kind is Any or type(value) is kind or (kind is float and type(value) is int):
        if isinstance(value, str):
            value.encode()  # UnicodeEncodeError for lone surrogates, which JSON may hold
        return value
    raise TypeError(f"{str(value)[:40]} is not {_NAMES.get(origin or kind, 'of the form that is expected')}")
