"""Reading the metadata of a compiled file: untrusted JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of
from runtime.typed import read_as

CLASSES = "nablac.classes"  # the texts of the target's classes, in the order of their numbers
UNITS = "nablac.units"  # of each output: "raw" `of` which data, "computed" from raw numbers, or the "model"'s own
COLUMNS = "nablac.columns"  # those of a table that each input was trained on
T = TypeVar("T")


def read_entry(metadata: Mapping[str, str], key: str, default: T, read: Callable[[Any], T]) -> T:
    """The JSON under a key, converted by `read`; `default` without that key. NablacError where `read` fails."""
    if key not in metadata:
        return default
    try:
        return read(json.loads(metadata[key]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        message = f"the metadata `{key}` is not what nablac writes"
        hint = "compile the model again"
        raise NablacError(Diagnostic(codes.E915, message, place=key, note=reason_of(error), hint=hint)) from None


def texts(value: Any) -> list[str]:
    """A list of texts; raises TypeError or ValueError for anything else."""
    listed: list[str] = read_as(list[str], value)
    return listed


def sizes(value: Any) -> dict[str, int]:
    """Sizes by name; raises TypeError for anything else."""
    if not isinstance(value, dict) or not all(type(size) is int and size > 0 for size in value.values()):
        raise TypeError("it does not have a size above 0 for each name")
    return value


def unit_kinds(value: Any) -> dict[str, str]:
    """The kind of unit of each output by its name; raises TypeError or KeyError for anything else."""
    kinds: dict[str, str] = read_as(dict[str, str], {name: unit["units"] for name, unit in value.items()})
    return kinds


def text_lists(value: Any) -> dict[str, tuple[str, ...]]:
    """Lists of texts by name; raises TypeError or ValueError for anything else."""
    return {name: tuple(columns) for name, columns in read_as(dict[str, list[str]], value).items()}
