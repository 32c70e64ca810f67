"""The sessions of a run, facts in its `run.json`: when, by which command, with which versions, on which machine."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from runtime.memory import memory
from runtime.thread_limits import processors

_PACKAGES = ("nablac", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "numba")
_PASSWORD = re.compile(r"(\w://[^/:@?]*:).*(?=@)")  # up to the last @: the password may have one
_OPTION = re.compile(r"(://.*?[?&][^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE)


def begun_session() -> dict[str, Any]:
    """The facts of a session that begins now."""
    return {
        "started": _now(),
        "ended": None,  # until it ends by itself
        "command": shlex.join([Path(sys.argv[0]).name, *map(mask_passwords, sys.argv[1:])]),
        "folder": os.getcwd(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "name": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor_name(),
            "processors": processors(),
            "memory_bytes": memory(),
        },
    }


def mask_passwords(argument: str) -> str:
    """An argument of a command with `***` for the passwords of a URL, such as that of a database."""
    return _PASSWORD.sub(r"\1***", _OPTION.sub(r"\1***", argument))


def with_session(facts: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a run with one more session."""
    before = facts.get("sessions")
    return {**facts, "sessions": [*(before if isinstance(before, list) else []), dict(session)]}


def ended_session(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a run whose last session ends now."""
    sessions = facts.get("sessions") or []
    if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
        return dict(facts)
    return {**facts, "sessions": [*sessions[:-1], *({**session, "ended": _now()} for session in sessions[-1:])]}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _processor_name() -> str:
    """The model of the processor, as Linux says; elsewhere as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
