"""Writes `docs/operators.md` from the declarations of the operators: `python -m tests.operator_page`."""

from __future__ import annotations

import inspect
import sys
from itertools import groupby
from typing import Literal, get_args, get_origin

from compiler.attribute_kinds import DTYPE, Kind, format_attribute, kinds_of
from compiler.elaborate.primitives import argument_name, operand_names
from compiler.graph import Operator
from compiler.operators import OPERATORS
from compiler.types import DType
from tests.paths import ROOT

PAGE = ROOT / "docs" / "operators.md"
HEAD = """\
# Operators

Functions of the language that are operators of the graph, by file of `compiler/operators/`. `python -m
tests.operator_page` writes this page from their declarations. Tensors come first, in order, then the other arguments,
by name: `sum(x, axis: -1, keep: true)`. What has a default may be left out. `axis` may also be called `axes` where it
may be a list. Operands broadcast as in NumPy where an operator works element by element. `float` is the model's float
type, and an empty list of strides or dilations stands for 1, one of pads for 0, along each axis. Functions that are
made of these, such as `stack` and `split`, are in [language.md](language.md), layers and losses in
[library.md](library.md).
"""


def choices(operator: type[Operator], field: str) -> tuple[str, ...]:
    """The texts that an attribute may be, where its declaration lists them."""
    owner = next(base for base in operator.__mro__ if field in vars(base).get("__annotations__", {}))
    declared = get_args(eval(operator.fields[field], vars(sys.modules[owner.__module__])))
    return get_args(declared[0]) if declared and get_origin(declared[0]) is Literal else ()


def default(operator: type[Operator], field: str, kind: Kind) -> str:
    """` = VALUE`, as the language writes it; nothing for an argument that is required."""
    if not hasattr(operator, field):
        return ""
    value = getattr(operator, field)
    if kind is DTYPE and isinstance(value, DType) and value.is_float:
        return " = float"
    text = f'"{value}"' if isinstance(value, str) and not isinstance(value, DType) else format_attribute(value).lower()
    return f" = {text}"


def arguments(operator: type[Operator]) -> list[str]:
    """The arguments in order, operands first, with their defaults."""
    operands = operand_names(operator)
    named = [argument_name(field) + default(operator, field, kind) for field, kind in kinds_of(operator).items()]
    return [*(("tensors",) if operands is None else operands), *named]


def row(operator: type[Operator]) -> str:
    """The line of an operator: its call, what it computes, and what its arguments may be."""
    kinds = kinds_of(operator)
    call = f"{operator.name}({', '.join(arguments(operator))})"
    allowed = []
    for field, kind in kinds.items():
        texts = " or ".join(f'`"{text}"`' for text in choices(operator, field))
        allowed.append(f"`{argument_name(field)}`: {texts or kind.noun}{', or none' if kind.optional else ''}")
    about = " ".join((inspect.getdoc(operator) or "").split("\n\n")[0].split())
    return f"| `{call}` | {about} | {'; '.join(allowed)} |".replace("|  |", "| |")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    public = sorted((operator for operator in OPERATORS.values() if operator.public), key=lambda item: item.__module__)
    for module, family in groupby(public, key=lambda item: item.__module__):
        about = (sys.modules[module].__doc__ or "").split("\n")[0]
        title = module.rpartition(".")[2].replace("_", " ")
        rows = "\n".join(map(row, family))
        parts.append(f"## {title}\n\n{about}\n\n| call | result | arguments |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
