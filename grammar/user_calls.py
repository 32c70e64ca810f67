"""The calls of the user, among those of nablac, of Python's own library and of the notebook that runs a cell."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Any

_PACKAGES = frozenset(("grammar", "compiler", "runtime", "nablac"))
_NOTEBOOKS = frozenset(("IPython", "ipykernel"))
_LIBRARY = str(PurePath(os.__file__).parent)
_ROOT = str(PurePath(__file__).parents[1])  # of the packages in a checkout, and of `nablac` in an installation


def is_call_of_user(frame: FrameType) -> bool:
    """Whether a call is in a file of the user, or of a package that is neither nablac nor Python's own library."""
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    file = frame.f_code.co_filename
    if package in _NOTEBOOKS or (package in sys.stdlib_module_names and file.startswith((_LIBRARY, "<frozen"))):
        return False
    return package not in _PACKAGES or not file.startswith(_ROOT)


def format_calls(trace: TracebackType | None) -> str:
    """The calls of the user as a traceback shows them; a cell of a notebook has its number instead of a file."""
    from traceback import StackSummary, walk_tb

    calls = StackSummary.extract(call for call in walk_tb(trace) if is_call_of_user(call[0]))
    lines = calls.format()
    if len(lines) != len(calls):  # calls that repeat are counted, not shown
        return "".join(lines)
    return "".join(_with_cell(line, call.filename) for line, call in zip(lines, calls, strict=True))


def _with_cell(line: str, file: str) -> str:
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    try:
        cell = " ".join(shell.compile.format_code_name(file))
    except (AttributeError, TypeError):  # outside of IPython, or of a cell
        return line
    return line.replace(f'File "{file}"', cell, 1)


def level_of_user() -> int:
    """The `stacklevel` of a warning that the caller is about to give, at which it names the call of the user."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and not is_call_of_user(frame):
        level, frame = level + 1, frame.f_back
    return level
