"""JSON as arrays: lists of numbers, however nested, or an object of such lists by name."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import decode, refuse_empty

if TYPE_CHECKING:
    from compiler.types import Array

_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # that JSON has no way to write
_SPACE = re.compile(r"[ \t\n\r]*")
_OPEN_STRING = re.compile(r'"(?:[^"\\]|\\.)*\\?\Z', re.DOTALL)  # a string without its closing quote
_MOST_AXES = 64  # that NumPy has
_MOST_DIGITS = 400  # of a whole number: those beyond are beyond f64, and Python reads no 4,300 of them


def read_json(content: bytes, location: str) -> Array | dict[str, Array]:
    """The array in a JSON file, or the arrays of an object by name.

    NablacError (E823) for nothing at all and for no rows, and (E807) for invalid JSON, a repeated name, a number beyond
    f64, lists of different lengths, and values other than numbers, or arrays of `true` and `false` alone.
    """
    refuse_empty(content, location)
    value = _parse(decode(content, location, "JSON", codes.E807), location)
    if value == []:
        raise NablacError(Diagnostic(codes.E823, f"{location} has no rows", place=location))
    if isinstance(value, dict):
        return {str(name): _array(part, f"{location}: {name}") for name, part in value.items()}
    return _array(value, location)


def _parse(text: str, location: str) -> Any:
    """The parsed JSON; integers that do not fit in 64 bits are floats."""

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
            raise _refusal(f"`{twice}` appears twice in an object", location)
        return result

    def number(digits: str) -> float:
        value = float(digits)
        if np.isinf(value):
            raise _refusal(f"{digits[:20]}{'..' if len(digits) > 20 else ''} is beyond f64", location)
        return value

    def whole(digits: str) -> int | float:
        value = int(digits) if len(digits) <= _MOST_DIGITS else None
        return value if value is not None and -(1 << 63) <= value < 1 << 64 else number(digits)

    decoder = json.JSONDecoder(object_pairs_hook=object_of, parse_float=number, parse_int=whole)
    try:
        value, end = decoder.raw_decode(text, _after_space(text, 0))
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or _OPEN_STRING.match(text, error.pos):
            raise _refusal("this is not JSON: it ends too early", f"{location}:{error.lineno}") from None
        raise _unexpected(error, location, "at") from None
    end = _after_space(text, end)
    if end < len(text):
        raise _unexpected(json.JSONDecodeError("", text, end), location, "there is more after its end, at")
    return value


def _after_space(text: str, index: int) -> int:
    space = _SPACE.match(text, index)
    return space.end() if space is not None else index


def _unexpected(error: json.JSONDecodeError, location: str, what: str) -> NablacError:
    message = f"this is not JSON: {what} column {error.colno}, `{error.doc[error.pos]}`"
    return _refusal(message, f"{location}:{error.lineno}")


def _array(value: Any, location: str) -> Array:
    """Nested lists as an array of numbers or of booleans."""
    kinds: set[type] = set()
    numbers = _with_numbers(value, location, kinds)
    if bool in kinds and len(kinds) > 1:
        hint = "write 1 and 0, or only `true` and `false`"
        raise _refusal("the JSON holds `true` or `false` among numbers", location, hint)
    return np.array(numbers)


def _with_numbers(value: Any, location: str, kinds: set[type], depth: int = 0) -> Any:
    """The lists with "NaN" and infinities as floats, checked to have equal lengths; `kinds` collects their types."""
    if not isinstance(value, list):
        number = _NUMBERS.get(value, value) if isinstance(value, str) else value
        if not isinstance(number, (int, float)):
            raise _refusal("the JSON holds something other than (nested) lists of numbers", location)
        kinds.add(bool if isinstance(number, bool) else float)
        return number
    if depth == _MOST_AXES:
        raise _refusal(f"the JSON is nested too deeply: an array has at most {_MOST_AXES} axes", location)
    items = [_with_numbers(item, location, kinds, depth + 1) for item in value]
    lengths = [len(item) if isinstance(item, list) else None for item in items]
    different = next((length for length in lengths if length != lengths[0]), lengths[0] if lengths else None)
    if lengths and different != lengths[0]:
        shown = ["a number" if length is None else f"a list of {length}" for length in (lengths[0], different)]
        message = f"the JSON holds lists of different lengths: {shown[0]}, and beside it {shown[1]}"
        raise _refusal(message, location, "rows of an array have the same length: pad the shorter ones")
    return items


def _refusal(message: str, location: str, hint: str | None = None) -> NablacError:
    return NablacError(Diagnostic(codes.E807, message, place=location, hint=hint))
