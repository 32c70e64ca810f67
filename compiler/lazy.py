"""Modules that are imported on first use, and facts on classes that are computed once.

`check` needs no NumPy, whose import costs more than `check` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, TypeVar, cast

_C = TypeVar("_C")
_T = TypeVar("_T")


def once_for_each_class(function: Callable[[type[_C]], _T]) -> Callable[[type[_C]], _T]:
    """`functools.cache`, by whose types a class is not a key if its instances define `__hash__`."""
    return cast("Callable[[type[_C]], _T]", cache(function))


class LazyModule:
    """A proxy for a module, which is imported when one of its attributes is read."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self.__name__), attribute)
        setattr(self, attribute, value)
        return value
