"""Types of options: numbers and sizes in their ranges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from grammar.diagnostics import NablacError
from runtime.training.option_ranges import LEAST, MOST_COUNT


class Finite(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The number; `fail` if it is outside the range or not finite."""
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{number} is not finite (NaN or infinity)", parameter, context)
        return number


class ByteSize(click.ParamType):  # type: ignore[type-arg]  # no generic before click 8.3
    """A number of bytes, as 500MB or 2GiB."""

    name = "size"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """The bytes; `fail` if it is not a size."""
        from runtime.training.memory_budget import parse_bytes

        try:
            return parse_bytes(str(value))
        except NablacError as error:
            diagnostic = error.diagnostics[0]
            self.fail(f"{diagnostic.message}; {diagnostic.hint}", parameter, context)


class Count(click.IntRange):
    """A number of things, from a least one."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The number; `fail` if it is outside the range."""
        number = super().convert(value, parameter, context)
        if number > MOST_COUNT:
            self.fail(f"{number} is too large; the largest is {MOST_COUNT:,}", parameter, context)
        return number


class NamedPath(click.Path):
    """A path that has a name: an empty one would stand for the working folder."""

    def __init__(self, as_text: bool = False) -> None:
        super().__init__(path_type=None if as_text else Path, allow_dash=True, readable=not as_text)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The path; `fail` if it is empty."""
        if value == "":
            self.fail("a path is empty", parameter, context)
        return super().convert(value, parameter, context)


def whole_number(option: str) -> Count:
    """A whole number in the range of an option of a run."""
    return Count(LEAST[option])
