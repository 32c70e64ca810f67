"""Names of drafts, the files and folders that become an output when they are finished: they say which process writes.

A process that is killed leaves its drafts behind. The next one that writes to the folder removes them.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

_DRAFT = re.compile(
    r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<begin>[0-9a-f]{8})-[0-9a-f]{8}\.part", re.DOTALL
)
_KEPT = 50  # characters of a name, of up to 4 bytes each, where names have up to 255 bytes
_START = 19  # of the fields of /proc/PID/stat behind the name of the command: when the process began

_tidied: set[tuple[int, str]] = set()  # the folders that processes, by their number, have tidied


def draft_name(name: str) -> str:
    """A new name for a draft of a file of this name."""
    process = os.getpid()
    return f".{name[:_KEPT]}.{_machine()}-{process}-{_begin_of(process)}-{secrets.token_hex(4)}.part"


def remove_stale_drafts(folder: Path) -> None:
    """Remove the drafts in a folder of processes that are gone; once for a folder in each process.

    Those of processes on other machines, and in other containers, stay: whether they are gone cannot be seen from here.
    """
    key = os.getpid(), os.path.abspath(folder)
    if key in _tidied or not hasattr(os, "getuid"):  # on Windows no signal asks whether a process is there
        return
    _tidied.add(key)
    with suppress(OSError), os.scandir(folder) as files:
        for path in [Path(file.path) for file in files if file.name.endswith(".part")]:
            match = _DRAFT.fullmatch(path.name)
            if match is None or match["machine"] != _machine() or _runs(int(match["process"]), match["begin"]):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):  # another process has removed it, or owns it
                    path.unlink()


def _runs(process: int, begin: str) -> bool:
    """Whether a process still runs: another may have its number now."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return _begin_of(process) == begin


@cache
def _machine() -> str:
    """The machine, and on Linux what of its processes are seen from here."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return _short(f"{socket.gethostname()} {processes}")


def _begin_of(process: int) -> str:
    """When a process began, where the system tells it: the boot of the machine, and the time since."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8")
        fields = Path(f"/proc/{process}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return _short("")
    return _short(f"{boot} {fields[_START]}")


def _short(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()
