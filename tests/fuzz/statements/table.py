"""The table of the kinds of statements: a weight, and a function that picks operands and builds one."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.generator import Generator
from tests.fuzz.program import Statement

Template = Callable[[Generator], Statement | None]
TEMPLATES: dict[str, tuple[float, Template]] = {}


def template(weight: float = 1.0) -> Callable[[Template], Template]:
    """Register a function by its name; it raises Rejected if nothing fits."""

    def enter(function: Template) -> Template:
        TEMPLATES[function.__name__] = (weight, function)
        return function

    return enter
