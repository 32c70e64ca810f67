"""Named locks of the workers of a study, each released when the process that has it ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from runtime.atomic_files import Unwritable

_CLAIMS = "claims"


class Locks(Protocol):
    """The locks of one process: that of claims, and one for each worker."""

    def acquire(self, name: str, wait: bool = True) -> bool:
        """Acquire a lock, waiting for it if `wait`; whether it is acquired."""

    def release(self, name: str, is_last: bool = False) -> None:
        """Release a lock; `is_last` if no process will need one of this name again."""


class FileLocks:
    """The operating system's locks on files in a folder, which is created if it does not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._acquired: dict[str, FileLock] = {}

    def acquire(self, name: str, wait: bool = True) -> bool:
        """Acquire the lock on a file of this name."""
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise Unwritable(self._folder, error) from error
        lock = FileLock(self._folder / name, thread_local=False)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return False
        self._acquired[name] = lock
        return True

    def release(self, name: str, is_last: bool = False) -> None:
        """Release the lock; the file is removed if this is the last time."""
        self._acquired.pop(name).release()
        if is_last:
            (self._folder / name).unlink(missing_ok=True)


@contextmanager
def hold_claims(locks: Locks) -> Iterator[None]:
    """Hold the lock of claims, so that only this process adds or claims trials."""
    locks.acquire(_CLAIMS)
    try:
        yield
    finally:
        locks.release(_CLAIMS)
