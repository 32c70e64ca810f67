"""What commands print: diagnostics to stderr, coloured where that is wanted, JSON to stdout."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from grammar.diagnostics import NablacError, render_all
from grammar.visible import shortened, visible

_COLORS = (
    (re.compile(r"^error\[\w+\]", re.MULTILINE), "\033[1;31m"),
    (re.compile(r"^ *(?:-->|:::)", re.MULTILINE), "\033[34m"),
    (re.compile(r"^ *\d* \|", re.MULTILINE), "\033[34m"),
    (re.compile(r"(?<=\| )( *)\^+", re.MULTILINE), "\033[31m"),
    (re.compile(r"^help:", re.MULTILINE), "\033[36m"),
)


def wants_color(stream: Any) -> bool:
    """`--color`, else NO_COLOR, else whether a person is looking."""
    if _color["choice"] != "auto":
        return _color["choice"] == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(stream.isatty())


_color = {"choice": "auto", "json": ""}
_talk = {"detail": False, "quiet": False}


def remember(
    color: str | None = None, as_json: bool | None = None, verbose: bool | None = None, quiet: bool | None = None
) -> None:
    """Keep what the options said: for errors that end the command, for `detail` and for `is_quiet`."""
    if verbose is not None:
        _talk["detail"] = verbose
    if quiet is not None:
        _talk["quiet"] = quiet
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
    click.echo(encodable(text, sys.stderr), err=True, color=True)


def printable(text: str, stream: Any) -> str:
    """A text for people: what a terminal would act on is escaped, and what the stream's encoding lacks is replaced."""
    return encodable(visible(text), stream)


def encodable(text: str, stream: Any) -> str:
    """The text with what the stream's encoding cannot print replaced."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def print_json(value: Any) -> None:
    """JSON on stdout, exactly: what its encoding lacks is escaped as JSON has it."""
    text = json_text(value)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json_text(value, ascii_only=True)
    click.echo(text)


def json_text(value: Any, indent: int | None = 2, *, ascii_only: bool = False) -> str:
    """JSON that every reader takes: it has no NaN and no infinities, which become texts of these names."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def detail(text: str) -> None:
    """A line that only `-v` asks for, on stderr."""
    if _talk["detail"]:
        note(text)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """A part of a command's work, whose time `-v` tells."""
    started = time.perf_counter()
    yield
    detail(f"{what} in {(time.perf_counter() - started) * 1000:,.0f} ms")


def is_verbose() -> bool:
    """Whether `-v` asks for details."""
    return _talk["detail"]


def is_quiet() -> bool:
    """Whether `-q` asks for nothing but results and errors."""
    return _talk["quiet"]


def note(text: str, quiet: bool = False) -> None:
    """A line of progress, for people, on stderr."""
    if not quiet:
        click.echo(printable(shortened(text), sys.stderr), err=True)


def note_untrained(quiet: bool, drawn: str = "--seed") -> None:
    """Say that results are those of first values, and what draws them."""
    note(f"note: untrained weights, drawn from {drawn}; --weights FILE loads trained ones", quiet)


@contextmanager
def unless_kernels_lack() -> Iterator[None]:
    """A comparison that is left with a note where onnxruntime lacks a kernel for one of the operators."""
    from runtime.onnx_session import KernelMissing

    try:
        yield
    except KernelMissing as error:
        what = f"{error.operator}, one of its operators" if error.operator else "one of its operators"
        place = error.diagnostics[0].place
        note(f"not verified: onnxruntime on this machine has no kernel for {what} ({place})")
