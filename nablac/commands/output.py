"""Printing: diagnostics and notes to stderr, coloured if wanted, and JSON to stdout."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import click

from grammar.diagnostics import ErrorsJson, NablacError, render_all
from grammar.visible import shortened, visible

_COLORS = (
    (re.compile(r"^error\[\w+\]", re.MULTILINE), "\033[1;31m"),
    (re.compile(r"^warning\[\w+\]", re.MULTILINE), "\033[1;33m"),
    (re.compile(r"^ *(?:-->|:::)", re.MULTILINE), "\033[34m"),
    (re.compile(r"^ *\d* \|", re.MULTILINE), "\033[34m"),
    (re.compile(r"(?<=\| )( *)\^+", re.MULTILINE), "\033[31m"),
    (re.compile(r"^help:", re.MULTILINE), "\033[36m"),
)


class TextJson(TypedDict):
    """A text that would be printed."""

    text: Annotated[str, "the text"]


class FileJson(TypedDict):
    """A file that was written."""

    output: Annotated[str, "the file"]


def wants_color(stream: Any) -> bool:
    """Whether to print colours: as `--color` says, else as NO_COLOR says, else on a terminal."""
    if _color["choice"] != "auto":
        return _color["choice"] == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(stream.isatty())


_color = {"choice": "auto", "json": ""}
_verbosity = {"detail": False, "quiet": False}


def remember(
    color: str | None = None, as_json: bool | None = None, verbose: bool | None = None, quiet: bool | None = None
) -> None:
    """Store the options of output, for errors that end the command and for `detail` and `is_quiet`."""
    if verbose is not None:
        _verbosity["detail"] = verbose
    if quiet is not None:
        _verbosity["quiet"] = quiet
    if color is not None:
        _color["choice"] = color
    if as_json is not None:
        _color["json"] = "yes" if as_json else ""


def show_error(error: NablacError) -> None:
    """Diagnostics on stderr; with `--json` as JSON on stdout."""
    if _color["json"]:
        print_json(ErrorsJson(errors=[diagnostic.to_json() for diagnostic in error.diagnostics]))
        return
    text = render_all(error.diagnostics)
    if wants_color(sys.stderr):
        for pattern, color in _COLORS:
            text = pattern.sub(rf"{color}\g<0>\033[0m", text)
    click.echo(encodable(text, sys.stderr), err=True, color=True)


def printable(text: str, stream: Any) -> str:
    """The text for people: control characters are escaped, and characters that the encoding lacks are replaced."""
    return encodable(visible(text), stream)


def encodable(text: str, stream: Any) -> str:
    """The text with characters that the stream's encoding lacks replaced."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def print_json(value: Any) -> None:
    """Print JSON on stdout; if its encoding lacks a character, all non-ASCII characters are escaped."""
    text = json_text(value)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json_text(value, ascii_only=True)
    click.echo(text)


def json_text(value: Any, indent: int | None = 2, *, ascii_only: bool = False) -> str:
    """Valid JSON: NaN and infinities, which it lacks, become strings."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def detail(text: str) -> None:
    """Print a line on stderr with `-v`."""
    if _verbosity["detail"]:
        note(text)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """A stage of a command, whose duration `-v` prints."""
    started = time.perf_counter()
    yield
    detail(f"{what} in {(time.perf_counter() - started) * 1000:,.0f} ms")


def is_verbose() -> bool:
    """Whether the command runs with `-v`."""
    return _verbosity["detail"]


def wants_json() -> bool:
    """Whether the command runs with `--json`."""
    return bool(_color["json"])


def is_quiet() -> bool:
    """Whether the command runs with `-q`."""
    return _verbosity["quiet"]


def note(text: str, quiet: bool = False) -> None:
    """Print a line for people on stderr."""
    if not quiet:
        click.echo(printable(shortened(text), sys.stderr), err=True)


def note_untrained(quiet: bool, drawn: str = "--seed") -> None:
    """Note that the weights are initial values, drawn from a seed."""
    note(f"note: untrained weights, drawn from {drawn}; --weights FILE loads trained ones", quiet)


@contextmanager
def skip_without_kernels(draft: Path | None = None) -> Iterator[None]:
    """End the block with a note if onnxruntime has no kernel for an operator; `draft` is a file not yet at its name."""
    from runtime.onnx_session import KernelMissing

    try:
        yield
    except KernelMissing as error:
        what = f"{error.operator}, one of its operators" if error.operator else "one of its operators"
        location = error.diagnostics[0].place
        where = f" ({location})" if location != str(draft) else ""
        note(f"not verified: onnxruntime on this machine has no kernel for {what}{where}")
