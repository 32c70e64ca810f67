"""What a compiled file says of itself in its metadata, read back: JSON that anybody may have written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of

CLASSES = "nablac.classes"  # the texts of the target's classes, in the order of their numbers
T = TypeVar("T")


def stored(metadata: Mapping[str, str], key: str, default: T, read: Callable[[Any], T]) -> T:
    """What `read` makes of the JSON under a key, `default` where there is none; NablacError for anything else."""
    if key not in metadata:
        return default
    try:
        return read(json.loads(metadata[key]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        message = f"the metadata `{key}` is not what nablac writes"
        hint = "compile the model again"
        raise NablacError(Diagnostic("E915", message, place=key, note=reason_of(error), hint=hint)) from None


def texts(value: Any) -> list[str]:
    """A list of texts; raises TypeError for anything else."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("it is no list of texts")
    return value


def sizes(value: Any) -> dict[str, int]:
    """Sizes by name; raises TypeError for anything else."""
    if not isinstance(value, dict) or not all(type(each) is int and each > 0 for each in value.values()):
        raise TypeError("it has no size above 0 for each name")
    return value
