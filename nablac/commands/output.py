"""What commands print: diagnostics to stderr, coloured where that is wanted, JSON to stdout."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from grammar.diagnostics import NablacError, render_all

_COLORS = (
    (re.compile(r"^error\[\w+\]", re.MULTILINE), "\033[1;31m"),
    (re.compile(r"^ *(?:-->|:::)", re.MULTILINE), "\033[34m"),
    (re.compile(r"^ *\d* \|", re.MULTILINE), "\033[34m"),
    (re.compile(r"(?<=\| )( *)\^+", re.MULTILINE), "\033[31m"),
    (re.compile(r"^help:", re.MULTILINE), "\033[36m"),
)


def wants_color(stream: Any) -> bool:
    """`--color`, else NO_COLOR, else whether a person is looking."""
    context = click.get_current_context(silent=True)
    chosen = context.find_root().meta.get("nablac.color", "auto") if context is not None else _color["choice"]
    if chosen != "auto":
        return bool(chosen == "always")
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(stream.isatty())


_color = {"choice": "auto", "json": ""}
_verbose = {"detail": False}


def remember(color: str | None = None, as_json: bool | None = None, verbose: bool | None = None) -> None:
    """Keep what the options said: for errors that end the command, and for `detail`."""
    if verbose is not None:
        _verbose["detail"] = verbose
    if color is not None:
        _color["choice"] = color
    if as_json is not None:
        _color["json"] = "yes" if as_json else ""


def show_error(error: NablacError) -> None:
    """Diagnostics on stderr; with `--json` as JSON on stdout."""
    if _color["json"]:
        print_json({"errors": [each.to_json() for each in error.diagnostics]})
        return
    text = render_all(error.diagnostics)
    if wants_color(sys.stderr):
        for pattern, color in _COLORS:
            text = pattern.sub(rf"{color}\g<0>\033[0m", text)
    click.echo(printable(text, sys.stderr), err=True, color=True)


def printable(text: str, stream: Any) -> str:
    """The text with what the stream's encoding cannot print replaced."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def detail(text: str) -> None:
    """A line that only `-v` asks for, on stderr."""
    if _verbose["detail"]:
        note(text)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """A part of a command's work, whose time `-v` tells."""
    started = time.perf_counter()
    yield
    detail(f"{what} in {(time.perf_counter() - started) * 1000:,.0f} ms")


def note(text: str, quiet: bool = False) -> None:
    """A line of progress, for people, on stderr."""
    if not quiet:
        click.echo(printable(text, sys.stderr), err=True)


@contextmanager
def unless_kernels_lack() -> Iterator[None]:
    """A comparison that is left with a note where onnxruntime lacks a kernel for one of the operators."""
    try:
        yield
    except NablacError as error:
        first = error.diagnostics[0]
        if "NOT_IMPLEMENTED" not in (first.note or "") and "no kernel" not in (first.hint or ""):
            raise
        note(f"not verified: onnxruntime on this machine has no kernel for one of its operators ({first.place})")
