"""The options that say which runtime an ONNX file is written for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from compiler.targets import EXPORT_TARGETS, ORT_CPU

F = TypeVar("F", bound=Callable[..., Any])


def target_options(command: F) -> F:
    """Add --target, as `target_name`, and --opset."""
    target = click.option(
        "--target",
        "target_name",
        type=click.Choice(tuple(EXPORT_TARGETS)),
        default=ORT_CPU.name,
        show_default=True,
        help="Write the file for this runtime: its opset, and the operators that it has.",
    )
    opset = click.option(
        "--opset", type=int, metavar="N", help="Write this ONNX opset.  [default: the one of the fewest nodes]"
    )
    return target(opset(command))
